//! Checks that a picture's file is complete and contains nothing but the picture. Pure.
//!
//! Decoders stop at the end of the picture, and some fill missing parts with grey. A file with
//! further content after its picture is refused: one program sees a picture in it, another an archive
//! or a script. Zeros and line ends are accepted as padding, which encoders, file systems and transfers
//! as text add. After a JPEG, three kinds of content are accepted: further pictures that the file
//! announces (the CIPA's Multi-Picture Format, also used for gain maps), the video of a motion photo that the
//! file announces, and the notes of Samsung's phones. Only the picture is used.

mod trailer;

use crate::finding::Refusal;
use crate::kind::Format;

/// Checks that the file ends where its picture does.
///
/// # Errors
/// [`Refusal`] when the file is cut off, or continues after the picture.
pub(super) fn check(bytes: &[u8], format: Format) -> Result<(), Refusal> {
    let end = match format {
        Format::Png => end_of_png(bytes),
        Format::Webp => end_of_webp(bytes),
        Format::Gif => end_of_gif(bytes),
        Format::Jpeg => end_of_jpeg(bytes),
    };

    let Some(end) = end else {
        return Err(Refusal::malformed(
            "the picture is cut off; upload all of it",
        ));
    };

    let picture = &bytes[..end];
    let more = &bytes[end..];
    if is_padding(more) || (format == Format::Jpeg && trailer::is_announced(picture, more)) {
        return Ok(());
    }

    if trailer::is_video(more) {
        return Err(Refusal::malformed(
            "a video follows the picture, which does not announce one as a motion photo does; export the still picture and upload that",
        ));
    }

    let length = more.len();
    Err(Refusal::malformed(format!(
        "{length} bytes of something else follow the picture; open it in a picture program and save it anew"
    )))
}

fn is_padding(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, 0 | b'\n' | b'\r'))
}

/// Returns the offset behind the chunk IEND, or `None` if there is none.
fn end_of_png(bytes: &[u8]) -> Option<usize> {
    PngChunks { bytes, at: 8 }
        .find(|chunk| chunk.kind == *b"IEND")
        .map(|chunk| chunk.end)
}

/// Returns the content of the first chunk of this kind in a PNG.
pub(super) fn png_chunk<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    PngChunks { bytes, at: 8 }
        .find(|chunk| chunk.kind == *kind)
        .map(|chunk| chunk.content)
}

/// The chunks of a PNG, up to the first incomplete one.
struct PngChunks<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct PngChunk<'a> {
    kind: [u8; 4],
    content: &'a [u8],
    end: usize,
}

impl<'a> Iterator for PngChunks<'a> {
    type Item = PngChunk<'a>;

    fn next(&mut self) -> Option<PngChunk<'a>> {
        let header = self.bytes.get(self.at..self.at.checked_add(8)?)?;
        let length = u32::from_be_bytes(*header.first_chunk()?) as usize;
        let start = self.at + 8;
        let content = self.bytes.get(start..start.checked_add(length)?)?;

        // A checksum of four bytes follows the content.
        self.at = Some(start + length + 4).filter(|end| *end <= self.bytes.len())?;
        Some(PngChunk {
            kind: *header.last_chunk()?,
            content,
            end: self.at,
        })
    }
}

/// Returns the end according to the RIFF header. A byte that makes the length even counts as
/// padding.
fn end_of_webp(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    length.checked_add(8).filter(|end| *end <= bytes.len())
}

/// Returns the offset behind the trailer, after all blocks.
fn end_of_gif(bytes: &[u8]) -> Option<usize> {
    const EXTENSION: u8 = 0x21;
    const IMAGE: u8 = 0x2c;
    const TRAILER: u8 = 0x3b;

    let mut at = 13 + colour_table(*bytes.get(10)?);
    loop {
        at = match *bytes.get(at)? {
            TRAILER => return Some(at + 1),
            EXTENSION => end_of_blocks(bytes, at + 2)?,
            // A descriptor of 10 bytes, an optional colour table, and the code size.
            IMAGE => end_of_blocks(bytes, at + 11 + colour_table(*bytes.get(at + 9)?))?,
            _ => return None,
        };
    }
}

/// Returns the length of the colour table that these flags announce, in bytes.
fn colour_table(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Returns the offset behind a series of blocks, each with its length first, and the empty block
/// that ends it.
fn end_of_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

/// Returns the offset behind the marker EOI, after all segments and scans.
fn end_of_jpeg(bytes: &[u8]) -> Option<usize> {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;
    const STANDALONE: u8 = 0x01;

    let mut at = 2;
    loop {
        let [0xff, code] = *bytes.get(at..at + 2)? else {
            return None;
        };
        match code {
            0xff => at += 1,
            STANDALONE | 0xd0..=0xd7 => at += 2,
            END_OF_IMAGE => return Some(at + 2),
            _ => {
                let length = u16::from_be_bytes(*bytes.get(at + 2..at + 4)?.first_chunk()?);
                at += 2 + usize::from(length);
                if code == START_OF_SCAN {
                    at = end_of_scan(bytes, at)?;
                }
            }
        }
    }
}

/// Returns the offset of the next marker outside the coded picture. Inside it, FF is followed by 00
/// or by the number of a restart.
fn end_of_scan(bytes: &[u8], from: usize) -> Option<usize> {
    let is_end = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    bytes
        .get(from..)?
        .windows(2)
        .position(is_end)
        .map(|found| from + found)
}
