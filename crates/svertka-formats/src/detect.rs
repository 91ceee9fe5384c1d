//! Which format a file has, told by its first bytes.

/// A format that can be told by its first bytes. ONNX cannot: protobuf has no magic number, so an ONNX file
/// is what [`onnx::decode`](crate::onnx::decode) accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One array ([`npy`](crate::npy)).
    Npy,
    /// A zip archive of npy files ([`npz`](crate::npz)).
    Npz,
    /// A gzip stream, as [`idx`](crate::idx) files are published.
    Gzip,
    /// Bytes with a shape ([`idx`](crate::idx)).
    Idx,
    /// Named arrays ([`safetensors`](crate::safetensors)).
    Safetensors,
    /// A [`picture`](crate::picture), as the following.
    Png,
    /// A picture.
    Jpeg,
    /// A picture.
    WebP,
    /// A picture.
    Gif,
    /// A picture.
    Bmp,
}

/// Format, name, and bytes that must stand at the given offsets.
type Row = (Format, &'static str, &'static [(usize, &'static [u8])]);

/// The first row that fits wins.
const TABLE: &[Row] = &[
    (Format::Npy, "npy", &[(0, b"\x93NUMPY")]),
    (Format::Npz, "npz", &[(0, b"PK\x03\x04")]),
    (Format::Gzip, "gzip", &[(0, b"\x1f\x8b")]),
    (Format::Png, "PNG", &[(0, b"\x89PNG\r\n\x1a\n")]),
    (Format::Jpeg, "JPEG", &[(0, b"\xff\xd8\xff")]),
    (Format::WebP, "WebP", &[(0, b"RIFF"), (8, b"WEBP")]),
    (Format::Gif, "GIF", &[(0, b"GIF8")]),
    // Bytes 6 to 9 of a BMP are reserved and zero: "BM" alone begins many a text.
    (Format::Bmp, "BMP", &[(0, b"BM"), (6, b"\0\0\0\0")]),
    // The length of the JSON header, below 4 GiB, then the header.
    (Format::Safetensors, "safetensors", &[(4, b"\0\0\0\0{")]),
    (Format::Idx, "IDX", &[(0, b"\0\0\x08")]),
];

impl Format {
    /// The format of `bytes`, if its magic number is known. Says nothing about the rest of the file.
    ///
    /// ```
    /// use svertka_formats::Format;
    ///
    /// assert_eq!(Format::detect(b"GIF89a"), Some(Format::Gif));
    /// assert_eq!(Format::detect(b"# Read me"), None);
    /// ```
    pub fn detect(bytes: &[u8]) -> Option<Self> {
        let row = TABLE.iter().find(|(_, _, magic)| {
            magic.iter().all(|&(at, magic)| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic)))
        });
        row.map(|&(format, _, _)| format)
    }

    /// Its usual name, as in "PNG".
    pub fn name(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).expect("the table has a row for every format").1
    }
}

/// What `bytes` look like, for the "received" of an error.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let size = bytes.len();
    if size == 0 {
        return "0 bytes".to_owned();
    }
    if let Some(format) = Format::detect(bytes) {
        return format!("{size} bytes of {}", format.name());
    }
    let head = &bytes[..size.min(24)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character cut by the end of the head.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => "",
    };
    if !text.is_empty() && text.chars().all(|c| !c.is_control() || c.is_ascii_whitespace()) {
        return format!("{size} bytes of text that starts {text:?}");
    }
    let hex: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{size} bytes that start {}", hex.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_detects_its_own_format() {
        for &(format, name, magic) in TABLE {
            let mut bytes = vec![0; 16];
            for &(at, magic) in magic {
                bytes[at..at + magic.len()].copy_from_slice(magic);
            }
            assert_eq!(Format::detect(&bytes), Some(format));
            assert_eq!(format.name(), name);
            let shortest = magic.iter().map(|(at, magic)| at + magic.len()).max().unwrap();
            assert_eq!(Format::detect(&bytes[..shortest]), Some(format));
            assert_eq!(Format::detect(&bytes[..shortest - 1]), None);
        }
    }

    #[test]
    fn descriptions_name_what_was_received() {
        assert_eq!(describe(b""), "0 bytes");
        assert_eq!(describe(b"# Svertka\nfast"), "14 bytes of text that starts \"# Svertka\\nfast\"");
        let cut = "aaaaaaaaaaaaaaaaaaaaaa\u{20ac}";
        assert_eq!(describe(cut.as_bytes()), "25 bytes of text that starts \"aaaaaaaaaaaaaaaaaaaaaa\"");
        assert_eq!(describe(b"\x08\x07\xff"), "3 bytes that start 08 07 ff");
        assert_eq!(describe(b"GIF89a"), "6 bytes of GIF");
    }
}
