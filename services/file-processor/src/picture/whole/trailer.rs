//! The content that cameras write behind a JPEG and announce in it. Pure.

use super::{end_of_jpeg, is_padding};

/// Announces further pictures, in an APP2 segment.
const MULTI_PICTURE: &[u8] = b"MPF\0";
/// Ends the trailer of Samsung's phones.
const SAMSUNG_END: &[u8] = b"SEFT";
/// Begins the list of notes in that trailer.
const SAMSUNG_LIST: &[u8] = b"SEFH";

/// Returns `true` if `more` consists entirely of content that `picture` announces.
pub(super) fn is_announced(picture: &[u8], more: &[u8]) -> bool {
    let has_pictures = picture
        .windows(MULTI_PICTURE.len())
        .any(|part| part == MULTI_PICTURE);

    let rest = if has_pictures {
        behind_pictures(more)
    } else {
        more
    };
    is_padding(rest) || is_samsung(rest)
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

/// Returns the number of bytes that the list accounts for, including its own.
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
