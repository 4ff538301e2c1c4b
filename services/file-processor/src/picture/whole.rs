//! Whether a picture's file is whole, and nothing but a picture. Pure.
//!
//! Decoders stop where the picture ends, and some fill up what is missing with grey. A file that goes on behind its
//! picture is a picture to one program and something else to another, an archive or a script: it is refused. JPEG is the
//! exception, for cameras and telephones append data of their own.

use crate::finding::Refusal;
use crate::kind::Format;

/// The file ends where its picture does.
///
/// # Errors
/// [`Refusal`] when it is cut off or goes on.
pub(super) fn check(bytes: &[u8], format: Format) -> Result<(), Refusal> {
    let end = match format {
        Format::Png => end_of_png(bytes),
        Format::Webp => end_of_webp(bytes),
        Format::Gif => Some(bytes.len()).filter(|_| bytes.last() == Some(&b';')),
        Format::Jpeg => end_of_jpeg(bytes).map(|_| bytes.len()),
    };
    match end {
        None => Err(Refusal::malformed(
            "the picture is cut off, or something else follows it",
        )),
        Some(end) if end < bytes.len() => {
            let more = bytes.len() - end;
            Err(Refusal::malformed(format!(
                "{more} bytes of something else follow the picture"
            )))
        }
        Some(_) => Ok(()),
    }
}

/// Behind the chunk IEND; none where the chunks do not lead to one.
fn end_of_png(bytes: &[u8]) -> Option<usize> {
    let mut at = 8;
    loop {
        let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        let kind = bytes.get(at + 4..at + 8)?;
        at = at
            .checked_add(12)?
            .checked_add(length)
            .filter(|end| *end <= bytes.len())?;
        if kind == b"IEND" {
            return Some(at);
        }
    }
}

/// What the RIFF header says, to the next even byte.
fn end_of_webp(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    let end = length.checked_add(8)?;
    let padded = end + end % 2;
    if end == bytes.len() {
        Some(end)
    } else {
        Some(padded).filter(|end| *end <= bytes.len())
    }
}

/// Behind the marker EOI, which cannot be within the coded picture: there a byte FF is followed by 00 or by a marker that
/// is another.
fn end_of_jpeg(bytes: &[u8]) -> Option<usize> {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    loop {
        let [marker, code, high, low] = *bytes.get(at..at + 4)?.first_chunk()?;
        if marker != 0xff {
            return None;
        }
        if code == 0xff {
            at += 1;
            continue;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if code == START_OF_SCAN {
            let found = bytes
                .get(at..)?
                .windows(2)
                .position(|pair| pair == END_OF_IMAGE)?;
            return Some(at + found + 2);
        }
    }
}
