//! Pictures: PNG, JPEG, WebP, GIF (first frame) and BMP to 8-bit grey or RGB.
//!
//! The format is told from the content. EXIF orientation is applied, transparency is composited over white,
//! 16-bit samples are rounded to 8 bits. Colour profiles are ignored.

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder, ImageEncoder, ImageError,
    ImageReader, Luma, Pixel, Rgb,
};

use crate::array::volume;
use crate::detect::describe;
use crate::limits::at_most;
use crate::{Error, Limits, Result};

const FORMAT: &str = "picture";

/// Endings of file names worth trying in a folder of pictures, in lower case.
pub const EXTENSIONS: &[&str] = &["png", "jpg", "jpeg", "webp", "gif", "bmp"];

/// An 8-bit picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// In pixels, at least 1.
    pub width: usize,
    /// In pixels, at least 1.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Row-major, height x width x channels.
    pub data: Vec<u8>,
}

/// Reads a picture.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let format = image::guess_format(bytes)
        .map_err(|_| Error::malformed(FORMAT, "file", "PNG, JPEG, WebP, GIF or BMP", describe(bytes)))?;
    if !format.reading_enabled() {
        return Err(Error::unsupported(FORMAT, format!("{format:?}")));
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_alloc = Some(limits.picture_bytes);
    reader.limits(decoder_limits);
    let refused = |error| refused(error, format, limits);

    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    at_most(FORMAT, "width", limits.picture_width.into(), width.into())?;
    at_most(FORMAT, "height", limits.picture_height.into(), height.into())?;
    at_most(FORMAT, "decoded bytes", limits.picture_bytes, decoder.total_bytes())?;
    // Broken EXIF data is no reason to refuse a whole picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    image.apply_orientation(orientation);
    from_dynamic(image)
}

impl Picture {
    /// A picture whose `data` is checked against its extents.
    pub fn new(width: usize, height: usize, channels: usize, data: Vec<u8>) -> Result<Self> {
        let picture = Self { width, height, channels, data };
        picture.check()?;
        Ok(picture)
    }

    /// With three channels; grey is repeated.
    pub fn to_rgb(&self) -> Self {
        if self.channels == 3 {
            return self.clone();
        }
        Self { channels: 3, data: self.data.iter().flat_map(|&grey| [grey; 3]).collect(), ..*self }
    }

    /// With one channel: the luma of ITU-R Rec. 601, 0.299 red + 0.587 green + 0.114 blue, rounded.
    pub fn to_grey(&self) -> Self {
        if self.channels == 1 {
            return self.clone();
        }
        let luma = |&[r, g, b]: &[u8; 3]| {
            let thousandths = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
            ((thousandths + 500) / 1000) as u8
        };
        Self { channels: 1, data: self.data.as_chunks().0.iter().map(luma).collect(), ..*self }
    }

    /// Scaled to `width` x `height` with a triangle filter: bilinear when enlarging, and averaging over all
    /// covered pixels when reducing. Extents are 1 to 32,768.
    pub fn resize(&self, width: usize, height: usize) -> Result<Self> {
        let (new_width, new_height) = (extent("new width", width)?, extent("new height", height)?);
        let data = match self.channels {
            1 => image::imageops::resize(
                &self.view::<Luma<u8>>()?,
                new_width,
                new_height,
                FilterType::Triangle,
            )
            .into_raw(),
            _ => {
                image::imageops::resize(&self.view::<Rgb<u8>>()?, new_width, new_height, FilterType::Triangle)
                    .into_raw()
            }
        };
        Ok(Self { width, height, data, ..*self })
    }

    /// The part of `width` x `height` pixels whose upper left corner is column `x`, row `y`.
    pub fn crop(&self, x: usize, y: usize, width: usize, height: usize) -> Result<Self> {
        self.check()?;
        let inside = |at: usize, size: usize, whole: usize| {
            size > 0 && at.checked_add(size).is_some_and(|end| end <= whole)
        };
        if !inside(x, width, self.width) || !inside(y, height, self.height) {
            let expected = format!("a part of {}x{} pixels", self.width, self.height);
            return Err(Error::malformed(
                FORMAT,
                "crop",
                expected,
                format!("{width}x{height} at ({x}, {y})"),
            ));
        }
        let rows = self.data.chunks_exact(self.width * self.channels).skip(y).take(height);
        let data =
            rows.flat_map(|row| &row[x * self.channels..(x + width) * self.channels]).copied().collect();
        Ok(Self { width, height, data, ..*self })
    }

    /// The largest centred part with the proportions of `width` x `height`, scaled to that size: what scaling
    /// the shorter side and a centre crop give, without the memory for the part that is cut off.
    pub fn resize_cover(&self, width: usize, height: usize) -> Result<Self> {
        self.check()?;
        let (target_w, target_h) =
            (u128::from(extent("new width", width)?), u128::from(extent("new height", height)?));
        let (own_w, own_h) = (self.width as u128, self.height as u128);
        // Rounded to the nearest pixel, and never beyond the side that it divides.
        let part = |side: u128, numerator: u128, denominator: u128, whole: usize| {
            usize::try_from((side * numerator + denominator / 2) / denominator)
                .unwrap_or(whole)
                .clamp(1, whole)
        };
        let (part_w, part_h) = if own_w * target_h > own_h * target_w {
            (part(own_h, target_w, target_h, self.width), self.height)
        } else {
            (self.width, part(own_w, target_h, target_w, self.height))
        };
        self.crop((self.width - part_w) / 2, (self.height - part_h) / 2, part_w, part_h)?
            .resize(width, height)
    }

    /// The picture as a PNG file.
    pub fn encode_png(&self) -> Result<Vec<u8>> {
        self.check()?;
        let color = if self.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(&self.data, extent("width", self.width)?, extent("height", self.height)?, color)
            .map_err(|error| {
                Error::malformed(FORMAT, "PNG", "a picture that can be written", error.to_string())
            })?;
        Ok(bytes)
    }

    /// Refuses extents that do not match the data: the fields are public.
    fn check(&self) -> Result<()> {
        let Self { width, height, channels, .. } = *self;
        let size = self.data.len();
        if matches!(channels, 1 | 3) && size > 0 && volume(&[width, height, channels]) == Some(size) {
            return Ok(());
        }
        let received = format!("{size} bytes for {width}x{height} with {channels} channels");
        Err(Error::malformed(
            FORMAT,
            "data",
            "width x height x channels bytes, with 1 or 3 channels",
            received,
        ))
    }

    fn view<P: Pixel<Subpixel = u8>>(&self) -> Result<ImageBuffer<P, &[u8]>> {
        self.check()?;
        let (width, height) = (extent("width", self.width)?, extent("height", self.height)?);
        Ok(ImageBuffer::from_raw(width, height, &self.data[..]).expect("the check above compared the sizes"))
    }
}

/// Drops alpha over white and reduces everything to 8 bits per sample.
fn from_dynamic(image: DynamicImage) -> Result<Picture> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let over_white = |sample: u8, alpha: u8| {
        let (sample, alpha) = (u32::from(sample), u32::from(alpha));
        ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    match image.color() {
        ColorType::L8 | ColorType::L16 => Picture::new(width, height, 1, image.into_luma8().into_raw()),
        ColorType::La8 | ColorType::La16 => {
            let pixels = image.into_luma_alpha8().into_raw();
            let data = pixels.as_chunks().0.iter().map(|&[grey, alpha]| over_white(grey, alpha)).collect();
            Picture::new(width, height, 1, data)
        }
        color if color.has_alpha() => {
            let pixels = image.into_rgba8().into_raw();
            let pixels = pixels.as_chunks().0.iter();
            let data = pixels
                .flat_map(|&[r, g, b, alpha]| [r, g, b].map(|sample| over_white(sample, alpha)))
                .collect();
            Picture::new(width, height, 3, data)
        }
        _ => Picture::new(width, height, 3, image.into_rgb8().into_raw()),
    }
}

/// An extent of a picture to be made, 1 to 32,768.
fn extent(what: &'static str, pixels: usize) -> Result<u32> {
    let limit = Limits::default().picture_width;
    u32::try_from(pixels)
        .ok()
        .filter(|pixels| (1..=limit).contains(pixels))
        .ok_or_else(|| Error::malformed(FORMAT, what, format!("1 to {limit} pixels"), pixels.to_string()))
}

fn refused(error: ImageError, format: image::ImageFormat, limits: &Limits) -> Error {
    match error {
        ImageError::Unsupported(error) => Error::unsupported(FORMAT, error.to_string()),
        ImageError::Limits(_) => {
            let expected = format!("at most {} bytes", limits.picture_bytes);
            Error::malformed(FORMAT, "memory for decoding", expected, "a picture that needs more")
        }
        error => {
            Error::malformed(FORMAT, format!("{format:?} data"), "a whole valid file", error.to_string())
        }
    }
}
