//! What cameras write behind a JPEG and announce in it. Pure.

use super::{end_of_jpeg, is_padding};

/// Announces further pictures, in a segment APP2.
const MULTI_PICTURE: &[u8] = b"MPF\0";
/// Ends the trailer of Samsung's telephones.
const SAMSUNG_END: &[u8] = b"SEFT";
/// Begins the list of its notes.
const SAMSUNG_LIST: &[u8] = b"SEFH";

/// Whether `more` is what `picture` announces, and all of it is that.
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

/// What follows the pictures at the beginning, and the zeros between them.
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

/// Notes, each with its name, and then a list that says where each of them is: the first is at the beginning.
fn is_samsung(bytes: &[u8]) -> bool {
    samsung_notes(bytes).is_some_and(|notes| notes == bytes.len())
}

/// How many bytes the list accounts for, its own included.
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

/// The length of a note, which begins with its type and its name.
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
