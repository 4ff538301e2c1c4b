//! Whether a picture's file is whole, and nothing but a picture. Pure.
//!
//! Decoders stop where the picture ends, and some fill up what is missing with grey. A file that goes on behind its
//! picture is a picture to one program and something else to another, an archive or a script: it is refused. Zeros are
//! padding, as encoders and file systems write it. Behind a JPEG, cameras write what they also announce in it: further
//! pictures (the CIPA's Multi-Picture Format, which gain maps use as well), and Samsung's telephones a list of notes.

mod trailer;

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

    let length = more.len();
    Err(Refusal::malformed(format!(
        "{length} bytes of something else follow the picture; open it in a picture program and save it anew"
    )))
}

fn is_padding(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Behind the chunk IEND; none where the chunks do not lead to one.
fn end_of_png(bytes: &[u8]) -> Option<usize> {
    PngChunks { bytes, at: 8 }
        .find(|chunk| chunk.kind == *b"IEND")
        .map(|chunk| chunk.end)
}

/// What the first chunk of a PNG of this kind says.
pub(super) fn png_chunk<'a>(bytes: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    PngChunks { bytes, at: 8 }
        .find(|chunk| chunk.kind == *kind)
        .map(|chunk| chunk.content)
}

/// The chunks of a PNG, until one is not whole.
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

        // A checksum follows.
        self.at = Some(start + length + 4).filter(|end| *end <= self.bytes.len())?;
        Some(PngChunk {
            kind: *header.last_chunk()?,
            content,
            end: self.at,
        })
    }
}

/// Where the RIFF header says; a byte that makes the length even is padding.
fn end_of_webp(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    length.checked_add(8).filter(|end| *end <= bytes.len())
}

/// Behind the trailer, past all blocks.
fn end_of_gif(bytes: &[u8]) -> Option<usize> {
    const EXTENSION: u8 = 0x21;
    const IMAGE: u8 = 0x2c;
    const TRAILER: u8 = 0x3b;

    let mut at = 13 + colour_table(*bytes.get(10)?);
    loop {
        at = match *bytes.get(at)? {
            TRAILER => return Some(at + 1),
            EXTENSION => end_of_blocks(bytes, at + 2)?,
            // A descriptor of 10 bytes, perhaps colours, and the size of the codes.
            IMAGE => end_of_blocks(bytes, at + 11 + colour_table(*bytes.get(at + 9)?))?,
            _ => return None,
        };
    }
}

/// The length of the table of colours that these flags announce.
fn colour_table(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Behind blocks that begin with their lengths, and the empty one that ends them.
fn end_of_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at);
        }
    }
}

/// Behind the marker EOI, past all segments and scans.
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

/// The next marker that is none of the coded picture's: there FF is followed by 00 or by the number of a restart.
fn end_of_scan(bytes: &[u8], from: usize) -> Option<usize> {
    let is_end = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    bytes
        .get(from..)?
        .windows(2)
        .position(is_end)
        .map(|found| from + found)
}
