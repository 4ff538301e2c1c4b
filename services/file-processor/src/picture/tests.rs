//! Generated pictures: whole, cut off, and disguised.

use image::{ImageEncoder, Rgb, RgbImage, Rgba, RgbaImage};

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

/// Returns an EXIF segment with a rotation by a right angle and the camera name `SecretCamera`.
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
fn a_thumbnail_is_turned_upright_and_has_no_metadata() {
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
fn something_else_behind_a_picture_is_refused_and_padding_is_not() {
    for format in FORMATS {
        let whole = picture(64, 48, format);
        for zeros in [1, 2, 512, 4096] {
            assert!(
                read(&[&whole[..], &vec![0; zeros]].concat(), format).is_ok(),
                "{format:?}, {zeros} zeros"
            );
        }

        for line_end in [&b"\n"[..], b"\r\n", b"\n\n", b"\0\0\n"] {
            let ended = [&whole, line_end].concat();
            assert!(read(&ended, format).is_ok(), "{format:?}, {line_end:?}");
        }

        let others: [&[u8]; 8] = [
            b" ",
            b"\nhidden",
            b"PK\x03\x04 an archive",
            b"<script>",
            b";",
            b"\0\0\0\0hidden",
            b"\xff\xd9",
            &whole,
        ];

        for more in others {
            let refusal = read(&[&whole, more].concat(), format).unwrap_err();
            assert!(
                refusal.detail.contains("something else"),
                "{format:?}: {more:?}: {}",
                refusal.detail
            );
        }
    }
}

/// Returns a JPEG that announces further pictures after it.
fn with_pictures() -> Vec<u8> {
    let plain = picture(64, 48, Format::Jpeg);
    [&plain[..2], b"\xff\xe2\0\x0aMPF\0MM\0*", &plain[2..]].concat()
}

/// Returns the trailer that Samsung's phones write after a JPEG: one note, the list of notes, and the
/// end marker.
fn samsung_notes() -> Vec<u8> {
    let note = [
        &b"\0\0\x01\x0a"[..],
        &14_u32.to_le_bytes(),
        b"Image_UTC_Data1700000000000",
    ]
    .concat();
    let length = u32::try_from(note.len()).unwrap().to_le_bytes();

    let list = [
        &b"SEFH"[..],
        &106_u32.to_le_bytes(),
        &1_u32.to_le_bytes(),
        &note[..4],
        &length,
        &length,
    ]
    .concat();
    let list_length = u32::try_from(list.len()).unwrap().to_le_bytes();

    [&note[..], &list, &list_length, b"SEFT"].concat()
}

#[test]
fn what_a_camera_announces_behind_a_jpeg_is_accepted() {
    let plain = picture(64, 48, Format::Jpeg);
    let accepted = [
        [with_pictures(), plain.clone()].concat(),
        [
            with_pictures(),
            vec![0; 100],
            plain.clone(),
            vec![0; 3],
            plain.clone(),
            vec![0; 9],
        ]
        .concat(),
        [plain.clone(), samsung_notes()].concat(),
        [with_pictures(), plain.clone(), samsung_notes()].concat(),
    ];

    for (at, bytes) in accepted.iter().enumerate() {
        assert!(read(bytes, Format::Jpeg).is_ok(), "{at}");
    }

    let archive = b"PK\x03\x04 an archive".to_vec();
    let refused = [
        [with_pictures(), plain.clone(), archive.clone()].concat(),
        [with_pictures(), archive.clone(), plain.clone()].concat(),
        [with_pictures(), archive.clone()].concat(),
        [plain.clone(), archive, samsung_notes()].concat(),
        [plain.clone(), samsung_notes(), b"x".to_vec()].concat(),
        [plain, b"SEFHSEFT".to_vec()].concat(),
    ];

    for (at, bytes) in refused.iter().enumerate() {
        assert_eq!(reason(bytes, Format::Jpeg), Reason::Malformed, "{at}");
    }
}

/// Returns a JPEG whose XMP announces a video, as the cameras of phones write it.
fn with_motion(mark: &str) -> Vec<u8> {
    let plain = picture(64, 48, Format::Jpeg);
    let xmp = format!("http://ns.adobe.com/xap/1.0/\0<rdf:Description {mark}/>");
    let length = u16::try_from(xmp.len() + 2).unwrap().to_be_bytes();
    [
        &plain[..2],
        b"\xff\xe1",
        &length,
        xmp.as_bytes(),
        &plain[2..],
    ]
    .concat()
}

/// Returns a video of three boxes, the last with a length of 64 bits.
fn video() -> Vec<u8> {
    let start = b"\0\0\0\x18ftypmp42\0\0\0\0isommp42";
    let moov = b"\0\0\0\x0cmoovabcd";
    let mdat = b"\0\0\0\x01mdat\0\0\0\0\0\0\0\x14wxyz";
    [&start[..], moov, mdat].concat()
}

#[test]
fn the_video_of_a_motion_photo_is_left_out_if_it_is_announced() {
    let announced = with_motion("GCamera:MotionPhoto=\"1\" GCamera:MotionPhotoVersion=\"1\"");
    let earlier = with_motion("GCamera:MicroVideo=\"1\" GCamera:MicroVideoOffset=\"56\"");
    let accepted = [
        [announced.clone(), video()].concat(),
        [earlier, video(), vec![0; 40]].concat(),
        [announced.clone(), vec![0; 9], video(), samsung_notes()].concat(),
    ];
    for (at, bytes) in accepted.iter().enumerate() {
        let found = read(bytes, Format::Jpeg).map(|seen| seen.finding.summary["width"].clone());
        assert_eq!(found.unwrap(), 64, "{at}");
    }

    let plain = picture(64, 48, Format::Jpeg);
    let never = with_motion("GCamera:MotionPhoto=\"0\"");
    for bytes in [
        [plain, video()].concat(),
        [never.clone(), vec![0; 5], video()].concat(),
    ] {
        let refusal = read(&bytes, Format::Jpeg).unwrap_err();
        assert!(refusal.detail.contains("a video follows"), "{refusal}");
    }

    let archive = b"PK\x03\x04 an archive".to_vec();
    let refused = [
        [announced.clone(), archive.clone()].concat(),
        [announced.clone(), video(), archive.clone()].concat(),
        [announced.clone(), archive, video()].concat(),
        [announced.clone(), video()[..40].to_vec()].concat(),
        [announced, video()[24..].to_vec()].concat(),
    ];
    for (at, bytes) in refused.iter().enumerate() {
        assert_eq!(reason(bytes, Format::Jpeg), Reason::Malformed, "{at}");
    }
}

#[test]
fn the_end_of_a_jpeg_is_found_past_every_scan_and_segment() {
    let plain = picture(64, 48, Format::Jpeg);
    let comment = b"\xff\xfe\0\x06\xff\xd9\xff\xd9";
    let bytes = [&plain[..2], comment, &plain[2..]].concat();

    assert!(
        read(&bytes, Format::Jpeg).is_ok(),
        "an end within a comment"
    );

    let end = plain.len() - 2;
    let bytes = [&plain[..end], comment, &plain[end..]].concat();
    assert!(
        whole::check(&bytes, Format::Jpeg).is_ok(),
        "a comment behind a scan"
    );
    assert!(whole::check(&[&bytes[..], b"x"].concat(), Format::Jpeg).is_err());
}

#[test]
fn transparent_pixels_have_no_colour_to_give() {
    for hidden in [[0, 0, 0], [255, 0, 0]] {
        let [red, green, blue] = hidden;
        let pixels = RgbaImage::from_fn(1280, 960, |x, _| match x % 2 {
            0 => Rgba([255, 255, 255, 255]),
            _ => Rgba([red, green, blue, 0]),
        });

        for format in [Format::Png, Format::Webp] {
            let mut bytes = Vec::new();
            pixels
                .write_to(&mut Cursor::new(&mut bytes), named(format))
                .unwrap();

            let small =
                image::load_from_memory(&read(&bytes, format).unwrap().thumbnail.bytes).unwrap();
            assert_eq!(
                small.to_rgba8().get_pixel(50, 50),
                &Rgba([255, 255, 255, 128]),
                "{format:?}"
            );
        }
    }
}

#[test]
fn an_odd_shape_with_transparency_keeps_its_shape() {
    for (width, height, small) in [
        (20_000, 1, (320, 1)),
        (641, 479, (320, 240)),
        (300, 1000, (96, 320)),
    ] {
        let pixels = RgbaImage::from_pixel(width, height, Rgba([9, 99, 199, 77]));
        let mut bytes = Vec::new();
        pixels
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();

        let thumbnail = read(&bytes, Format::Png).unwrap().thumbnail;
        assert_eq!((thumbnail.width, thumbnail.height), small);
        let shown = image::load_from_memory(&thumbnail.bytes)
            .unwrap()
            .to_rgba8();
        assert!(shown.pixels().all(|pixel| *pixel == Rgba([9, 99, 199, 77])));
    }
}

/// Returns the picture in this format, with this profile.
fn profiled(picture: &DynamicImage, format: Format, profile: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let target = Cursor::new(&mut bytes);
    match format {
        Format::Png => {
            let mut encoder = image::codecs::png::PngEncoder::new(target);
            encoder.set_icc_profile(profile).unwrap();
            picture.write_with_encoder(encoder).unwrap();
        }
        Format::Webp => {
            let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(target);
            encoder.set_icc_profile(profile).unwrap();
            picture.write_with_encoder(encoder).unwrap();
        }
        _ => {
            let mut encoder = JpegEncoder::new_with_quality(target, 95);
            encoder.set_icc_profile(profile).unwrap();
            picture.write_with_encoder(encoder).unwrap();
        }
    }

    bytes
}

fn assert_near(bytes: &[u8], format: Format, expected: [u8; 3], what: &str) {
    let shown = image::load_from_memory(&read(bytes, format).unwrap().thumbnail.bytes)
        .unwrap()
        .to_rgb8();
    let Rgb(pixel) = *shown.get_pixel(5, 5);

    let is_near = pixel
        .iter()
        .zip(expected)
        .all(|(shown, wanted)| shown.abs_diff(wanted) < 6);

    assert!(
        is_near,
        "{what}, {format:?}: {pixel:?} and not {expected:?}"
    );
}

#[test]
fn colours_are_those_of_the_profile() {
    use moxcms::ColorProfile;

    // The expected colours were computed independently, from the primaries and curves of each profile.
    let profiles = [
        ("Display P3", ColorProfile::new_display_p3(), [0, 203, 11]),
        ("Adobe RGB", ColorProfile::new_adobe_rgb(), [0, 201, 37]),
        ("sRGB", ColorProfile::new_srgb(), [60, 200, 60]),
    ];

    for (what, profile, expected) in profiles {
        for side in [100, 640] {
            let green = DynamicImage::from(RgbImage::from_pixel(side, side, Rgb([60, 200, 60])));
            for format in [Format::Png, Format::Jpeg, Format::Webp] {
                let bytes = profiled(&green, format, profile.encode().unwrap());
                assert_near(&bytes, format, expected, what);
            }
        }
    }

    let grey = DynamicImage::from(image::GrayImage::from_pixel(400, 400, image::Luma([100])));
    let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    assert_near(
        &profiled(&grey, Format::Png, linear),
        Format::Png,
        [168, 168, 168],
        "linear grey",
    );
}

#[test]
fn a_profile_that_cannot_be_used_changes_nothing() {
    let green = DynamicImage::from(RgbImage::from_pixel(400, 400, Rgb([60, 200, 60])));
    let grey = moxcms::ColorProfile::new_gray_with_gamma(1.0)
        .encode()
        .unwrap();

    for profile in [b"no profile".to_vec(), grey] {
        assert_near(
            &profiled(&green, Format::Png, profile),
            Format::Png,
            [60, 200, 60],
            "unusable",
        );
    }
}

/// Returns a PNG whose colours are identified by these numbers.
fn numbered(numbers: [u8; 4]) -> Vec<u8> {
    let green = DynamicImage::from(RgbImage::from_pixel(400, 400, Rgb([60, 200, 60])));
    let mut plain = Vec::new();
    green
        .write_to(&mut Cursor::new(&mut plain), ImageFormat::Png)
        .unwrap();

    let named = [&b"cICP"[..], &numbers].concat();
    [
        &plain[..33],
        &4_u32.to_be_bytes(),
        &named,
        &crc32(&named).to_be_bytes(),
        &plain[33..],
    ]
    .concat()
}

#[test]
fn colours_that_a_png_names_by_numbers_are_converted() {
    assert_near(
        &numbered([12, 13, 0, 1]),
        Format::Png,
        [0, 203, 11],
        "Display P3",
    );

    assert_near(&numbered([1, 13, 0, 1]), Format::Png, [60, 200, 60], "sRGB");
    assert_near(
        &numbered([9, 16, 0, 1]),
        Format::Png,
        [60, 200, 60],
        "brighter than sRGB",
    );
}

/// Returns a PNG of a few bytes that claims `side` × `side` pixels.
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
