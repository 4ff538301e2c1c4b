//! Pictures made here, whole, cut off, and pretending.

use image::{Rgb, RgbImage, Rgba, RgbaImage};

use super::*;
use crate::finding::Reason;

const FORMATS: [Format; 4] = [Format::Png, Format::Jpeg, Format::Gif, Format::Webp];

fn picture(width: u32, height: u32, format: Format) -> Vec<u8> {
    let pixels = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let mut bytes = Vec::new();
    DynamicImage::from(pixels)
        .write_to(&mut Cursor::new(&mut bytes), named(format))
        .unwrap();
    bytes
}

fn reason(bytes: &[u8], format: Format) -> Reason {
    read(bytes, format).unwrap_err().reason
}

#[test]
fn every_format_is_measured_and_has_a_thumbnail() {
    for format in FORMATS {
        let seen = read(&picture(640, 480, format), format).unwrap();
        let expected = json!({"format": format.name(), "width": 640, "height": 480});
        assert_eq!(seen.finding.summary, expected);
        let small = image::load_from_memory(&seen.thumbnail.bytes).unwrap();
        assert_eq!((small.width(), small.height()), (320, 240), "{format:?}");
    }
}

#[test]
fn what_shines_through_stays_so_and_small_pictures_stay_small() {
    let pixels = RgbaImage::from_pixel(10, 20, Rgba([1, 2, 3, 128]));
    let mut bytes = Vec::new();
    pixels
        .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
        .unwrap();
    let thumbnail = read(&bytes, Format::Png).unwrap().thumbnail;
    assert_eq!(
        (thumbnail.ending, thumbnail.width, thumbnail.height),
        ("png", 10, 20)
    );
    assert_eq!(
        image::load_from_memory(&thumbnail.bytes)
            .unwrap()
            .to_rgba8()
            .get_pixel(3, 3),
        &Rgba([1, 2, 3, 128])
    );
}

/// A segment of EXIF that says: turned by a right angle, taken with a `SecretCamera`.
fn exif() -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    tiff.extend(b"\x0f\x01\x02\0\x0d\0\0\0\x26\0\0\0"); // Make, 13 bytes of text at 38
    tiff.extend(b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"); // Orientation, 6
    tiff.extend(b"\0\0\0\0SecretCamera\0");
    let mut segment = b"\xff\xe1".to_vec();
    segment.extend(u16::try_from(2 + 6 + tiff.len()).unwrap().to_be_bytes());
    segment.extend(b"Exif\0\0");
    segment.extend(tiff);
    segment
}

#[test]
fn a_thumbnail_is_turned_as_the_camera_was_held_and_keeps_nothing_of_what_it_said() {
    let plain = picture(640, 480, Format::Jpeg);
    let bytes = [&plain[..2], &exif(), &plain[2..]].concat();
    let seen = read(&bytes, Format::Jpeg).unwrap();
    assert_eq!((seen.thumbnail.width, seen.thumbnail.height), (240, 320));
    let text = String::from_utf8_lossy(&seen.thumbnail.bytes);
    assert!(!text.contains("Exif") && !text.contains("SecretCamera"));
}

#[test]
fn a_picture_that_is_cut_off_is_refused_wherever_it_was_cut() {
    for format in FORMATS {
        let bytes = picture(64, 48, format);
        for kept in [20, bytes.len() / 2, bytes.len() - 1] {
            assert_eq!(
                reason(&bytes[..kept], format),
                Reason::Malformed,
                "{format:?} cut to {kept}"
            );
        }
    }
}

#[test]
fn something_else_behind_a_picture_is_refused_but_for_jpeg() {
    for format in [Format::Png, Format::Gif, Format::Webp] {
        let bytes = [picture(64, 48, format), b"PK\x03\x04 an archive".to_vec()].concat();
        assert_eq!(reason(&bytes, format), Reason::Malformed, "{format:?}");
    }
    let bytes = [
        picture(64, 48, Format::Jpeg),
        b"what a telephone appends".to_vec(),
    ]
    .concat();
    assert!(read(&bytes, Format::Jpeg).is_ok());
}

/// A PNG that claims `side` × `side` pixels in a few bytes.
fn bomb(side: u32) -> Vec<u8> {
    let mut bytes = picture(1, 1, Format::Png);
    bytes[16..20].copy_from_slice(&side.to_be_bytes());
    bytes[20..24].copy_from_slice(&side.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    })
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    assert_eq!(
        read(&bomb(60_000), Format::Png).unwrap_err().detail,
        "it is wider or higher than 20000 pixels"
    );
    assert_eq!(reason(&bomb(10_000), Format::Png), Reason::TooLarge);
}
