//! Reads pictures: their format and size. Makes a thumbnail from their pixels alone.
//!
//! A picture is decoded only after its header has been checked against the memory limits. The
//! thumbnail is encoded anew, so it contains only visible pixels: no EXIF, no location, no second
//! file after the first. The thumbnail of an animation is its first frame. Colours are converted from
//! the picture's profile to sRGB ([`colour`]). Transparent pixels do not tint visible ones ([`small`]).

mod colour;
mod small;
mod whole;

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::error::LimitErrorKind;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use serde_json::json;

use crate::finding::{Finding, Refusal};
use crate::kind::Format;

/// Size limit of a file, in bytes, because it is held in memory.
pub const MAX_BYTES: u64 = 16 << 20;
/// Largest number of pixels: slightly more than a camera's 24 million.
const MAX_PIXELS: u64 = 25_000_000;
/// Largest width and height, in pixels.
const MAX_SIDE: u32 = 20_000;
/// Size limit of the decoded picture, in bytes.
const MAX_DECODED_BYTES: u64 = 100 << 20;
/// The longest side of a thumbnail, in pixels.
const THUMBNAIL_SIDE: u32 = 320;
const JPEG_QUALITY: u8 = 80;

/// The result of reading a picture.
#[derive(Debug)]
pub struct Seen {
    /// The finding.
    pub finding: Finding,
    /// The thumbnail.
    pub thumbnail: Thumbnail,
}

/// A small picture.
#[derive(Debug)]
pub struct Thumbnail {
    /// The content of the file.
    pub bytes: Vec<u8>,
    /// The file name extension: `jpg`, or `png` for a picture with transparency.
    pub ending: &'static str,
    width: u32,
    height: u32,
}

impl Thumbnail {
    /// Returns the entry for the metadata, for a thumbnail that is stored under `key`.
    pub fn summary(&self, key: &str) -> serde_json::Value {
        json!({"key": key, "width": self.width, "height": self.height, "size_bytes": self.bytes.len()})
    }
}

/// Reads a picture of the format that its first bytes indicate.
///
/// # Errors
/// [`Refusal`] when it is too large, broken, cut off, or followed by something else.
pub fn read(bytes: &[u8], format: Format) -> Result<Seen, Refusal> {
    whole::check(bytes, format)?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), named(format));
    reader.limits(limits());

    let mut decoder = reader.into_decoder().map_err(|error| explain(&error))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(too_many_pixels(width, height));
    }
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(too_many_bytes());
    }

    let orientation = decoder.orientation().map_err(|error| explain(&error))?;
    // An unreadable profile counts as none.
    let profile = decoder.icc_profile().ok().flatten();
    let picture = DynamicImage::from_decoder(decoder).map_err(|error| explain(&error))?;

    let mut small = colour::in_srgb(
        small::of(picture, THUMBNAIL_SIDE),
        colour::profile(bytes, format, profile.as_deref()),
    );
    small.apply_orientation(orientation);

    let summary = json!({"format": format.name(), "width": width, "height": height});
    Ok(Seen {
        finding: Finding {
            kind: "image",
            summary,
        },
        thumbnail: encoded(&small)?,
    })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits
}

fn named(format: Format) -> ImageFormat {
    match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Gif => ImageFormat::Gif,
        Format::Webp => ImageFormat::WebP,
    }
}

fn encoded(small: &DynamicImage) -> Result<Thumbnail, Refusal> {
    let width = small.width();
    let height = small.height();
    let mut bytes = Vec::new();

    let (written, ending) = if small.color().has_alpha() {
        (
            small
                .to_rgba8()
                .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png),
            "png",
        )
    } else {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        (small.to_rgb8().write_with_encoder(encoder), "jpg")
    };
    written.map_err(|error| explain(&error))?;

    Ok(Thumbnail {
        bytes,
        ending,
        width,
        height,
    })
}

fn too_many_pixels(width: u32, height: u32) -> Refusal {
    Refusal::too_large(format!(
        "{width} × {height} pixels are more than the limit of 25 million"
    ))
}

fn too_many_bytes() -> Refusal {
    Refusal::too_large("it takes more than 100 MiB to decode")
}

/// Converts an error of the decoder to a refusal for people.
fn explain(error: &ImageError) -> Refusal {
    match error {
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::DimensionError => {
            Refusal::too_large(format!("it is wider or higher than {MAX_SIDE} pixels"))
        }
        ImageError::Limits(_) => too_many_bytes(),
        error => Refusal::malformed(format!("the picture cannot be decoded: {error}")),
    }
}

#[cfg(test)]
mod tests;
