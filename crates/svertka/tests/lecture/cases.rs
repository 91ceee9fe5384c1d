//! The cases of the lecture, for those who check them: through the library and through the binary.

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What a case holds, its numbers as `V`; other keys make its kind unknown.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Kind<V> {
    Numbers {
        input: V,
        kernel: V,
        stride: Option<usize>,
        dilation: Option<usize>,
        padding: Option<usize>,
        padding_mode: Option<String>,
        pads_begin: Option<Vec<usize>>,
        pads_end: Option<Vec<usize>>,
        expect: V,
    },
    Shape {
        input_shape: Vec<usize>,
        out_channels: usize,
        kernel_size: Vec<usize>,
        stride: Vec<usize>,
        padding: Vec<usize>,
        dilation: Vec<usize>,
        expect_shape: Vec<usize>,
    },
    Separable {
        kernel: V,
        column: V,
        row: V,
    },
    Cost {
        size: usize,
        kernel_size: usize,
        in_channels: usize,
        out_channels: usize,
        expect_parameters: u64,
        expect_macs: u64,
    },
}

/// Gives each case with its name to `check`; fails with all those that fail.
pub(crate) fn check_every<V: DeserializeOwned>(check: impl Fn(&str, Kind<V>) -> Result) {
    let file: toml::Table = toml::from_str(include_str!("cases.toml")).unwrap();
    let cases = file["case"].as_array().unwrap();
    assert_eq!(cases.len(), 15);
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let mut case = case.as_table().unwrap().clone();
            let name = case.remove("name").unwrap().as_str().unwrap().to_owned();
            case.remove("erratum");
            let kind = case.try_into().map_err(|_| "a case of an unknown kind".into());
            kind.and_then(|kind| check(&name, kind)).err().map(|error| format!("{name}: {error}"))
        })
        .collect();
    assert!(failed.is_empty(), "{} of {} cases:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
