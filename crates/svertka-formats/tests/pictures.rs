//! What decoding and scaling make of pixels.

use std::io::Cursor;

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, RgbaImage,
};
use svertka_formats::picture::{self, EXTENSIONS, Picture};
use svertka_formats::{Format, Limits};

fn write(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn read(bytes: &[u8]) -> Picture {
    picture::decode(bytes, &Limits::default()).unwrap()
}

fn grey(width: usize, height: usize, data: &[u8]) -> Picture {
    Picture::new(width, height, 1, data.to_vec()).unwrap()
}

#[test]
fn every_format_is_read_and_detected() {
    let image = RgbImage::from_pixel(5, 3, Rgb([200, 100, 50]));
    let formats = [
        (ImageFormat::Png, Format::Png),
        (ImageFormat::Jpeg, Format::Jpeg),
        (ImageFormat::WebP, Format::WebP),
        (ImageFormat::Gif, Format::Gif),
        (ImageFormat::Bmp, Format::Bmp),
    ];
    let mut endings = 0;
    for (format, detected) in formats {
        let bytes = write(image.clone(), format);
        assert_eq!(Format::detect(&bytes), Some(detected));
        let picture = read(&bytes);
        assert_eq!((picture.width, picture.height, picture.channels), (5, 3, 3), "{format:?}");
        let close = |pixel: &[u8]| pixel.iter().zip([200, 100, 50]).all(|(a, b)| a.abs_diff(b) <= 3);
        assert!(picture.data.chunks(3).all(close), "{format:?}: {:?}", &picture.data[..3]);
        endings +=
            EXTENSIONS.iter().filter(|ending| ImageFormat::from_extension(ending) == Some(format)).count();
    }
    assert_eq!(endings, EXTENSIONS.len(), "every ending belongs to a format that is read");
}

#[test]
fn exif_orientation_is_applied() {
    // Left half white, right half black, 32 x 16.
    let image = GrayImage::from_fn(32, 16, |x, _| Luma([if x < 16 { 255 } else { 0 }]));
    let jpeg = write(image, ImageFormat::Jpeg);
    // Orientation 6: to be turned clockwise by a quarter, so that the left half comes to the top.
    let picture = read(&with_orientation(&jpeg, 6));
    assert_eq!((picture.width, picture.height, picture.channels), (16, 32, 1));
    assert!(picture.data[..16 * 16].iter().all(|&sample| sample > 250));
    assert!(picture.data[16 * 16..].iter().all(|&sample| sample < 5));
    // Without, and with a value that the standard does not know, it stays as it is.
    for bytes in [jpeg.clone(), with_orientation(&jpeg, 77)] {
        assert_eq!((read(&bytes).width, read(&bytes).height), (32, 16));
    }
}

/// The JPEG with an EXIF segment behind its first marker.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0".to_vec();
    // One entry: tag 0x0112, type 3 (u16), count 1, the value; then no further directory.
    exif.extend([1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn transparency_lets_white_through() {
    let colour = RgbaImage::from_raw(3, 1, vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 200, 51]).unwrap();
    let picture = read(&write(colour, ImageFormat::Png));
    // 51 / 255 is a fifth: 255 * 4/5 + 0, 100 and 200 / 5.
    assert_eq!((picture.channels, &*picture.data), (3, &[10, 20, 30, 255, 255, 255, 204, 224, 244][..]));

    let shades = GrayAlphaImage::from_raw(3, 1, vec![10, 255, 10, 0, 100, 51]).unwrap();
    assert_eq!(read(&write(shades, ImageFormat::Png)), grey(3, 1, &[10, 255, 224]));
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    let deep = vec![0_u16, 65535, 257 * 100, 257 * 100 + 200];
    let deep = ImageBuffer::<Luma<u16>, _>::from_raw(4, 1, deep).unwrap();
    assert_eq!(read(&write(deep, ImageFormat::Png)), grey(4, 1, &[0, 255, 100, 101]));
    let deep = ImageBuffer::<Rgb<u16>, _>::from_raw(1, 1, vec![257_u16, 257 * 2, 257 * 3 + 100]).unwrap();
    assert_eq!(read(&write(deep, ImageFormat::Png)), Picture::new(1, 1, 3, vec![1, 2, 3]).unwrap());
}

#[test]
fn tall_pictures_are_read() {
    let tall = GrayImage::from_fn(3, 10_000, |_, y| Luma([(y / 40) as u8]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let picture = read(&write(tall.clone(), format));
        assert_eq!((picture.width, picture.height), (3, 10_000));
        assert!(picture.data[29_999].abs_diff(249) <= 3, "{format:?}");
    }
}

#[test]
fn limits_are_those_that_were_given() {
    let bytes = grey(30, 20, &[7; 600]).encode_png().unwrap();
    let cases = [
        (
            Limits { picture_width: 29, ..Limits::default() },
            "picture: width: expected at most 29, received 30",
        ),
        (
            Limits { picture_height: 19, ..Limits::default() },
            "picture: height: expected at most 19, received 20",
        ),
        (
            Limits { picture_bytes: 599, ..Limits::default() },
            "picture: decoded bytes: expected at most 599, received 600",
        ),
    ];
    for (limits, message) in cases {
        assert_eq!(picture::decode(&bytes, &limits).unwrap_err().to_string(), message);
    }
}

#[test]
fn colours_become_grey_by_rec_601() {
    let picture = Picture::new(4, 1, 3, vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]).unwrap();
    assert_eq!(picture.to_grey(), grey(4, 1, &[76, 150, 29, 9]));
    assert_eq!(grey(2, 1, &[5, 6]).to_rgb(), Picture::new(2, 1, 3, vec![5, 5, 5, 6, 6, 6]).unwrap());
}

#[test]
fn reducing_averages_and_enlarging_interpolates() {
    // A chequerboard of single pixels: any filter that skips pixels gives black or white.
    let chequers: Vec<u8> =
        (0..8 * 12).map(|at| if (at / 12 + at % 12) % 2 == 0 { 255 } else { 0 }).collect();
    let small = grey(12, 8, &chequers).resize(3, 2).unwrap();
    assert!(small.data.iter().all(|&sample| sample.abs_diff(128) <= 10), "{:?}", small.data);

    let ramp = grey(2, 1, &[0, 200]).resize(4, 1).unwrap();
    assert_eq!(ramp, grey(4, 1, &[0, 50, 150, 200]));
    for extents in [(0, 1), (1, 0), (32_769, 1)] {
        assert!(ramp.resize(extents.0, extents.1).is_err());
    }
}

#[test]
fn crops_lie_inside() {
    let picture = grey(4, 3, &[0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]);
    assert_eq!(picture.crop(1, 1, 2, 2).unwrap(), grey(2, 2, &[11, 12, 21, 22]));
    let colours = Picture::new(2, 1, 3, vec![1, 2, 3, 4, 5, 6]).unwrap();
    assert_eq!(colours.crop(1, 0, 1, 1).unwrap().data, [4, 5, 6]);
    for (x, y, width, height) in [(3, 0, 2, 1), (0, 2, 1, 2), (0, 0, 0, 1), (usize::MAX, 0, 2, 1)] {
        assert!(picture.crop(x, y, width, height).is_err(), "{x} {y} {width} {height}");
    }
    assert_eq!(
        picture.crop(3, 0, 2, 1).unwrap_err().to_string(),
        "picture: crop: expected a part of 4x3 pixels, received 2x1 at (3, 0)"
    );
}

#[test]
fn covering_keeps_the_centre_and_the_proportions() {
    let picture = grey(4, 2, &[0, 1, 2, 3, 10, 11, 12, 13]);
    assert_eq!(picture.resize_cover(2, 2).unwrap(), grey(2, 2, &[1, 2, 11, 12]));
    let tall = grey(2, 4, &[0, 1, 10, 11, 20, 21, 30, 31]);
    assert_eq!(tall.resize_cover(2, 1).unwrap(), grey(2, 1, &[10, 11]));
    // A line: scaling it whole would take 32,768 times the memory of the result.
    let line = grey(32_768, 1, &[9; 32_768]).resize_cover(50, 40).unwrap();
    assert_eq!((line.width, line.height), (50, 40));
    assert!(line.data.iter().all(|&sample| sample == 9));
    assert!(picture.resize_cover(0, 2).is_err());
}
