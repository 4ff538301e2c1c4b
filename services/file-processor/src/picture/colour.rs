//! Converts colours to sRGB, which browsers assume for a picture without a profile.
//!
//! Phones take pictures in Display P3 and cameras in Adobe RGB; shown as sRGB without conversion
//! they look pale. The profile is embedded in the picture's file (ICC) or, in a PNG, identified by
//! four numbers (`cICP`, ITU-T H.273).

use image::{ColorType, DynamicImage};
use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, DataColorSpace, Layout};
use moxcms::{MatrixCoefficients, TransferCharacteristics, TransformOptions};

use super::whole::png_chunk;
use crate::kind::Format;

/// Returns the profile of a picture, or `None` if it has none that can be read.
pub(super) fn profile(bytes: &[u8], format: Format, icc: Option<&[u8]>) -> Option<ColorProfile> {
    let named = if format == Format::Png {
        cicp(bytes)
    } else {
        None
    };
    named.or_else(|| ColorProfile::new_from_slice(icc?).ok())
}

/// Converts the picture to sRGB. Returns it unchanged without a profile, or with a profile for
/// other channels, such as that of a CMYK picture that was decoded to RGB.
pub(super) fn in_srgb(picture: DynamicImage, profile: Option<ColorProfile>) -> DynamicImage {
    let Some(profile) = profile else {
        return picture;
    };

    let has_alpha = picture.color().has_alpha();
    let is_grey = matches!(
        picture.color(),
        ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16
    );

    match (profile.color_space, is_grey) {
        (DataColorSpace::Rgb, false) | (DataColorSpace::Gray, true) => {}
        _ => return picture,
    }

    // Grey pixels remain grey, because a grey profile converts the three channels alike.
    let pixels = picture.to_rgba8();
    let source = if is_grey {
        Layout::GrayAlpha
    } else {
        Layout::Rgba
    };

    let samples = if is_grey {
        picture.to_luma_alpha8().into_raw()
    } else {
        pixels.as_raw().clone()
    };

    let mut converted = pixels;
    let transform = profile.create_transform_8bit(
        source,
        &ColorProfile::new_srgb(),
        Layout::Rgba,
        TransformOptions::default(),
    );
    let is_done =
        transform.is_ok_and(|transform| transform.transform(&samples, &mut converted).is_ok());

    match (is_done, has_alpha) {
        (false, _) => picture,
        (true, true) => converted.into(),
        (true, false) => DynamicImage::from(converted).into_rgb8().into(),
    }
}

/// Returns the profile that a PNG identifies by numbers. Returns `None` for the profiles of HDR (PQ
/// and HLG), whose white is brighter than that of sRGB.
fn cicp(bytes: &[u8]) -> Option<ColorProfile> {
    let [primaries, transfer, _, _] = *png_chunk(bytes, b"cICP")?.first_chunk()?;
    let transfer = TransferCharacteristics::try_from(transfer).ok()?;
    if matches!(
        transfer,
        TransferCharacteristics::Smpte2084 | TransferCharacteristics::Hlg
    ) {
        return None;
    }

    let mut profile = ColorProfile::new_srgb();
    profile.update_rgb_colorimetry_from_cicp(CicpProfile {
        color_primaries: CicpColorPrimaries::try_from(primaries).ok()?,
        transfer_characteristics: transfer,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });

    // The profile keeps the numbers only if it supports them.
    profile.cicp.is_some().then_some(profile)
}
