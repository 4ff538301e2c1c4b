//! The content that cameras write after a JPEG. Pure.

use super::{end_of_jpeg, is_padding};

/// Announces further pictures, in an APP2 segment.
const MULTI_PICTURE: &[u8] = b"MPF\0";
/// Name the video after a motion photo, in the XMP of Google's camera and in its earlier form.
/// See <https://developer.android.com/media/platform/motion-photo-format>.
const MOTION_PHOTO: [&[u8]; 2] = [b"Camera:MotionPhoto=\"1\"", b"Camera:MicroVideo=\"1\""];
/// Begins a video in the ISO base media file format, behind the length of this box.
const VIDEO_START: &[u8] = b"ftyp";
/// The boxes of such a video.
const VIDEO_BOXES: [&[u8; 4]; 9] = [
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"uuid",
];
/// Ends the trailer of Samsung's phones.
const SAMSUNG_END: &[u8] = b"SEFT";
/// Begins the list of notes in that trailer.
const SAMSUNG_LIST: &[u8] = b"SEFH";

/// Returns `true` if `more` consists entirely of pictures and a video that `picture` announces, padding,
/// and a Samsung trailer.
pub(super) fn is_announced(picture: &[u8], more: &[u8]) -> bool {
    let mut rest = more;
    if contains(picture, MULTI_PICTURE) {
        rest = behind_pictures(rest);
    }
    if MOTION_PHOTO.iter().any(|mark| contains(picture, mark)) {
        rest = behind_video(rest);
    }
    is_padding(rest) || is_samsung(rest)
}

/// Returns `true` if a video begins at once or after zeros.
pub(super) fn is_video(more: &[u8]) -> bool {
    video_at(more).is_some()
}

/// Returns the offset of a video behind any number of zeros. The length in front of its name begins with zeros, too.
fn video_at(bytes: &[u8]) -> Option<usize> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let begins_at = |at: &usize| bytes.get(at + 4..at + 8) == Some(VIDEO_START);
    (zeros.saturating_sub(4)..=zeros).find(begins_at)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|found| found == part)
}

/// Skips the boxes of a video at the beginning, and returns the rest.
fn behind_video(bytes: &[u8]) -> &[u8] {
    let Some(mut at) = video_at(bytes) else {
        return bytes;
    };
    while let Some(length) = video_box(&bytes[at..]) {
        at += length;
    }
    &bytes[at..]
}

/// Returns the length of the box at the beginning, or `None` if there is no whole box of a video.
fn video_box(bytes: &[u8]) -> Option<usize> {
    let kind = bytes.get(4..8)?;
    if !VIDEO_BOXES.iter().any(|known| *known == kind) {
        return None;
    }

    let length = match u32::from_be_bytes(*bytes.first_chunk()?) {
        // The length follows in 64 bits.
        1 => usize::try_from(u64::from_be_bytes(*bytes.get(8..)?.first_chunk()?)).ok()?,
        length => length as usize,
    };
    (8..=bytes.len()).contains(&length).then_some(length)
}

/// Skips the pictures at the beginning, and the zeros between them, and returns the rest.
fn behind_pictures(mut bytes: &[u8]) -> &[u8] {
    loop {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let Some(end) = picture_at(&bytes[zeros..]) else {
            return bytes;
        };
        bytes = &bytes[zeros + end..];
    }
}

fn picture_at(bytes: &[u8]) -> Option<usize> {
    end_of_jpeg(bytes).filter(|_| bytes.starts_with(b"\xff\xd8\xff"))
}

/// Returns `true` if the bytes are a Samsung trailer: notes, each with its name, and a list of
/// their positions. The first note must be at the beginning.
fn is_samsung(bytes: &[u8]) -> bool {
    samsung_notes(bytes).is_some_and(|notes| notes == bytes.len())
}

/// Returns the number of bytes of the notes in the list, and of the list itself.
fn samsung_notes(bytes: &[u8]) -> Option<usize> {
    let before_end = bytes.strip_suffix(SAMSUNG_END)?;
    let (rest, length) = before_end.split_last_chunk::<4>()?;
    let list_at = rest
        .len()
        .checked_sub(u32::from_le_bytes(*length) as usize)?;
    let list = rest[list_at..].strip_prefix(SAMSUNG_LIST)?;
    let count = u32::from_le_bytes(*list.get(4..)?.first_chunk()?) as usize;
    let entries = list.get(8..)?;

    if entries.len() != count.checked_mul(12)? {
        return None;
    }

    let notes = entries
        .chunks_exact(12)
        .map(|entry| note(&rest[..list_at], entry));
    let described = notes.sum::<Option<usize>>()?;
    Some(described + bytes.len() - list_at)
}

/// Returns the length of a note, which begins with its type and its name.
fn note(notes: &[u8], entry: &[u8]) -> Option<usize> {
    let number = |at: usize| Some(u32::from_le_bytes(*entry.get(at..)?.first_chunk()?) as usize);
    let start = notes.len().checked_sub(number(4)?)?;
    let note = notes.get(start..start.checked_add(number(8)?)?)?;
    let name = u32::from_le_bytes(*note.get(4..)?.first_chunk()?) as usize;
    let has_its_type = note.get(..4) == entry.get(..4);

    let is_named = note
        .get(8..8_usize.checked_add(name)?)?
        .iter()
        .all(u8::is_ascii_graphic);
    (has_its_type && is_named && name > 0).then_some(note.len())
}
