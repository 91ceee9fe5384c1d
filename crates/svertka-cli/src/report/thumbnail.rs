//! Pictures inside the page, as data URIs.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder as _};
use maud::{Markup, html};
use svertka::formats::Picture;

/// Longest side in pixels; larger pictures are reduced to it.
const MAX_SIDE: usize = 96;

/// Pictures up to this side are stored exactly and shown with sharp pixels.
const MAX_EXACT_SIDE: usize = 48;

/// A picture of the data.
pub(super) fn photo(picture: &Picture, alt: &str) -> Result<Markup> {
    let picture = reduced(picture)?;
    if picture.width.max(picture.height) <= MAX_EXACT_SIDE {
        return Ok(element("px", &png(&picture)?, alt));
    }
    let colour = if picture.channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 80).write_image(
        &picture.data,
        u32::try_from(picture.width)?,
        u32::try_from(picture.height)?,
        colour,
    )?;
    Ok(element("", &format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes)), alt))
}

/// A drawing of numbers: never through a lossy format.
pub(super) fn drawing(picture: &Picture, alt: &str) -> Result<Markup> {
    Ok(element("px", &png(&reduced(picture)?)?, alt))
}

/// Numbers as colours: blue below zero, white at zero, orange above; full colour at `largest`.
pub(super) fn diverging(values: &[f32], height: usize, width: usize, largest: f32) -> Result<Picture> {
    const BELOW: [f32; 3] = [33.0, 102.0, 172.0];
    const ABOVE: [f32; 3] = [179.0, 88.0, 6.0];
    let pixel = |value: &f32| {
        let share = if largest > 0.0 { (value / largest).clamp(-1.0, 1.0) } else { 0.0 };
        let end = if share < 0.0 { BELOW } else { ABOVE };
        end.map(|end| (255.0 + (end - 255.0) * share.abs()).round() as u8)
    };
    Ok(Picture::new(width, height, 3, values.iter().flat_map(pixel).collect())?)
}

fn reduced(picture: &Picture) -> Result<Picture> {
    let longest = picture.width.max(picture.height);
    if longest <= MAX_SIDE {
        return Ok(picture.clone());
    }
    let side = |side: usize| (side * MAX_SIDE / longest).max(1);
    Ok(picture.resize(side(picture.width), side(picture.height))?)
}

fn png(picture: &Picture) -> Result<String> {
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(picture.encode_png()?)))
}

fn element(class: &str, source: &str, alt: &str) -> Markup {
    html! { img class=(class) src=(source) alt=(alt); }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_numbers() {
        let picture = diverging(&[-2.0, 0.0, 1.0, 9.0], 2, 2, 2.0).unwrap();
        assert_eq!(picture.data[..6], [33, 102, 172, 255, 255, 255]);
        assert_eq!(picture.data[6..], [217, 172, 131, 179, 88, 6]);
        assert_eq!(diverging(&[0.0, f32::NAN], 1, 2, 0.0).unwrap().data[..3], [255; 3]);
    }

    #[test]
    fn large_pictures_are_reduced_in_proportion() {
        let large = Picture::new(400, 100, 3, vec![7; 400 * 100 * 3]).unwrap();
        let small = reduced(&large).unwrap();
        assert_eq!((small.width, small.height), (96, 24));
        assert!(photo(&large, "").unwrap().into_string().contains("data:image/jpeg;base64,"));
        let exact = Picture::new(5, 4, 1, vec![7; 20]).unwrap();
        assert!(
            photo(&exact, "a")
                .unwrap()
                .into_string()
                .starts_with("<img class=\"px\" src=\"data:image/png;base64,")
        );
    }
}
