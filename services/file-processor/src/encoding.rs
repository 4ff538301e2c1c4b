//! Determines the encoding of a text and converts it to UTF-8.
//!
//! [`of`] decides by the beginning of the file: by a byte order mark, by the zero bytes of UTF-16,
//! or else by the first byte that is not ASCII. UTF-8 and UTF-16 are detected with certainty.
//! Windows-1252, which spreadsheets write in western Europe, is assumed if nothing indicates
//! another encoding. Any other encoding is named and refused, because a wrong guess would import
//! wrong names. A text whose parts are in different encodings is refused, too. [`Utf8`] converts
//! piece by piece, so memory is bounded by the piece.

use bytes::Bytes;
use chardetng::EncodingDetector;
use encoding_rs::{DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};

use crate::chunks::{BYTE_ORDER_MARK, Chunk};
use crate::finding::{Reason, Refusal};

/// Largest number of bytes that one step of a conversion writes.
const STEP_BYTES: usize = 64 << 10;
/// Number of bytes that are searched for the zero bytes of UTF-16.
const ZEROS_LOOKED_AT: usize = 4096;
/// Number of bytes, from the first one that is not UTF-8, that suffice to determine the encoding.
const EVIDENCE_BYTES: usize = 4096;
/// Smallest number of bytes beyond ASCII from which the encoding is judged.
const LEAST_TELLING: usize = 4;
/// Bytes without a character in Windows-1252.
const NOT_WINDOWS_1252: [u8; 5] = [0x81, 0x8d, 0x8f, 0x90, 0x9d];

/// A supported encoding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// UTF-8, which includes ASCII.
    Utf8,
    /// UTF-16 with the lower byte first.
    Utf16Le,
    /// UTF-16 with the higher byte first.
    Utf16Be,
    /// Windows-1252, which includes the characters of ISO 8859-1.
    Windows1252,
}

impl Encoding {
    /// Returns its name in the IANA registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Windows1252 => "windows-1252",
        }
    }
}

/// Determines the encoding of a text that begins with `head`.
///
/// # Errors
/// [`Refusal`] when the encoding is not supported.
pub fn of(head: &[u8]) -> Result<Encoding, Refusal> {
    if is_utf32(head) {
        return Err(unread("UTF-32"));
    }
    if let Some(encoding) = utf16(head) {
        return Ok(encoding);
    }

    match first_fault(head) {
        Some(fault) if head[..fault].is_ascii() => single_byte(&head[fault..]),
        _ => Ok(Encoding::Utf8),
    }
}

/// Returns the head of a file as UTF-8, without a character that is cut off at its end.
pub fn decoded_head(encoding: Encoding, head: &[u8]) -> Vec<u8> {
    let piece = Ok(Bytes::copy_from_slice(head));
    let mut pieces = Utf8::new(std::iter::once(piece), encoding);
    let mut text = Vec::with_capacity(head.len());

    while let Some(Ok(piece)) = pieces.next() {
        text.extend_from_slice(&piece);
    }

    text
}

fn is_utf32(head: &[u8]) -> bool {
    const MARKS: [&[u8]; 2] = [b"\xff\xfe\0\0", b"\0\0\xfe\xff"];
    let is_ascii = |unit: &[u8]| matches!(unit, [1..=127, 0, 0, 0] | [0, 0, 0, 1..=127]);
    let mut units = head[..head.len().min(64)].chunks_exact(4);
    MARKS.iter().any(|mark| head.starts_with(mark)) || (units.len() > 1 && units.all(is_ascii))
}

/// Detects UTF-16 by its byte order mark, or by zero bytes that are all at odd or all at even
/// positions.
fn utf16(head: &[u8]) -> Option<Encoding> {
    match head {
        [0xff, 0xfe, ..] => return Some(Encoding::Utf16Le),
        [0xfe, 0xff, ..] => return Some(Encoding::Utf16Be),
        _ => {}
    }

    let pairs = head[..head.len().min(ZEROS_LOOKED_AT)].chunks_exact(2);
    let count = pairs.len();
    let low = pairs.clone().filter(|pair| pair[0] == 0).count();
    let high = pairs.filter(|pair| pair[1] == 0).count();

    match (low, high) {
        (0, high) if high > 1 && high * 2 > count => Some(Encoding::Utf16Le),
        (low, 0) if low > 1 && low * 2 > count => Some(Encoding::Utf16Be),
        _ => None,
    }
}

/// Returns the offset of the first byte that is not UTF-8. A character that is cut off at the end
/// does not count.
fn first_fault(bytes: &[u8]) -> Option<usize> {
    let error = std::str::from_utf8(bytes).err()?;
    error.error_len().map(|_| error.valid_up_to())
}

/// Distinguishes Windows-1252 from other encodings with one or two bytes per character.
fn single_byte(bytes: &[u8]) -> Result<Encoding, Refusal> {
    let (guess, is_likely) = guess(bytes);
    let has_unknown = bytes.iter().any(|byte| NOT_WINDOWS_1252.contains(byte));

    // Without letters, Windows-1252 cannot be distinguished from the other Windows code pages. It is
    // assumed then, because quotation marks are the same in all of them.
    let has_signs_only = guess.name().starts_with("windows-125") && !bytes.iter().any(is_letter);
    if (guess == WINDOWS_1252 || has_signs_only) && !has_unknown {
        return Ok(Encoding::Windows1252);
    }
    if guess != WINDOWS_1252 && is_likely {
        return Err(unread(guess.name()));
    }

    Err(unknown())
}

/// Checks a text in which the first byte beyond ASCII came late and is not UTF-8. Refuses it if it is
/// not Windows-1252 either. A text with very few bytes beyond ASCII counts as Windows-1252.
fn check_late(bytes: &[u8]) -> Result<(), Refusal> {
    let beyond_ascii = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    match single_byte(bytes) {
        Err(refusal) if beyond_ascii >= LEAST_TELLING => Err(refusal),
        _ => Ok(()),
    }
}

/// Returns the most likely encoding, and whether it is likely.
fn guess(bytes: &[u8]) -> (&'static encoding_rs::Encoding, bool) {
    let mut detector = EncodingDetector::new();
    detector.feed(bytes, true);
    detector.guess_assess(None, false)
}

/// Refuses a piece of Windows-1252 that has bytes or words of another encoding.
fn check_windows_1252(piece: &[u8]) -> Result<(), Refusal> {
    if piece.iter().any(|byte| NOT_WINDOWS_1252.contains(byte)) {
        return Err(unknown());
    }
    if is_of_dos(piece) {
        return Err(unread("a code page of DOS"));
    }
    if piece.windows(2).any(is_utf8_letter) {
        return Err(Refusal::malformed(
            "its text is Windows-1252 in one part and UTF-8 in another; save all of it as UTF-8",
        ));
    }
    Ok(())
}

/// Returns `true` if a letter of the code pages 437 and 850, such as `ä`, stands between letters. In
/// Windows-1252 its byte is a quotation mark or a dagger, which stands at the beginning or the end of
/// a word.
fn is_of_dos(piece: &[u8]) -> bool {
    let has_opening_quote = piece.contains(&0x93);
    let is_dos_letter = |byte: u8| match byte {
        0x82 | 0x84 | 0x87 | 0x88 | 0x89 => true,
        0x94 => !has_opening_quote,
        _ => false,
    };

    piece.windows(3).any(|three| {
        three[0].is_ascii_lowercase() && is_dos_letter(three[1]) && three[2].is_ascii_lowercase()
    })
}

/// Returns `true` for a lower-case letter of western Europe in UTF-8. Read as Windows-1252, its bytes
/// are `Ã` and a sign, which occur together in no language. `Ã` before a space or a quotation mark
/// does occur, so those pairs are left out.
fn is_utf8_letter(pair: &[u8]) -> bool {
    matches!(pair, [0xc3, 0xa1..=0xaa | 0xac..=0xba | 0xbc..=0xbf])
}

/// Returns `true` if the byte is a letter of Windows-1252 beyond ASCII.
fn is_letter(byte: &u8) -> bool {
    matches!(
        byte,
        0xc0..|0x83| 0x8a | 0x8c | 0x8e | 0x9a | 0x9c | 0x9e | 0x9f
    )
}

fn unread(name: &str) -> Refusal {
    let detail = format!("its text is encoded as {name}; save it as UTF-8");
    Refusal::new(Reason::UnknownKind, detail)
}

fn unknown() -> Refusal {
    Refusal::malformed("its text is neither UTF-8 nor Windows-1252; save it as UTF-8")
}

/// The pieces of a text as UTF-8, without a byte order mark.
///
/// A text that counts as UTF-8 because its beginning is ASCII may still turn out to be Windows-1252
/// at the first byte beyond ASCII. After the first UTF-8 character, invalid bytes are passed on,
/// and the reader reports their line.
pub struct Utf8<I> {
    pieces: I,
    encoding: Encoding,
    state: State,
    waiting: Bytes,
}

enum State {
    /// The beginning: its bytes so far are too few to decide whether they are a byte order mark.
    Begin(Vec<u8>),
    /// ASCII so far, with the bytes of an incomplete character.
    Ascii(Vec<u8>),
    /// Bytes that are not UTF-8, too few so far to determine their encoding.
    Undecided(Vec<u8>),
    /// UTF-8, passed on unchanged.
    Utf8,
    /// Another encoding, to be converted.
    Convert(Box<encoding_rs::Decoder>),
    /// The end of the text, or a refusal.
    Ended,
}

impl<I: Iterator<Item = Chunk>> Utf8<I> {
    /// Creates a converter of these pieces from this encoding, which [`of`] returned.
    pub fn new(pieces: I, encoding: Encoding) -> Self {
        let state = match encoding {
            Encoding::Utf8 => State::Begin(Vec::new()),
            Encoding::Utf16Le => convert(UTF_16LE),
            Encoding::Utf16Be => convert(UTF_16BE),
            Encoding::Windows1252 => convert(WINDOWS_1252),
        };

        Self {
            pieces,
            encoding,
            state,
            waiting: Bytes::new(),
        }
    }

    /// Returns the encoding by the text that was read so far.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Processes a piece of the text. Returns `None` when there is no output yet.
    fn take(&mut self, piece: Bytes) -> Option<Chunk> {
        match &mut self.state {
            State::Begin(kept) => {
                let whole = joined(kept, piece);
                if whole.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&whole) {
                    *kept = whole.to_vec();
                    return None;
                }

                let text = match whole.strip_prefix(BYTE_ORDER_MARK) {
                    Some(text) => whole.slice_ref(text),
                    None => whole,
                };

                self.state = State::Ascii(Vec::new());
                self.take(text)
            }
            State::Ascii(kept) => {
                let whole = joined(kept, piece);
                self.decide(whole)
            }
            State::Undecided(kept) => {
                let whole = joined(kept, piece);
                if whole.len() < EVIDENCE_BYTES {
                    *kept = whole.to_vec();
                    return None;
                }
                self.convert_late(whole)
            }
            State::Convert(_) => self.keep(piece),
            State::Utf8 | State::Ended => Some(Ok(piece)),
        }
    }

    /// Decides between UTF-8 and Windows-1252 at the first bytes beyond ASCII.
    fn decide(&mut self, piece: Bytes) -> Option<Chunk> {
        let Some(first) = piece.iter().position(|byte| !byte.is_ascii()) else {
            return Some(Ok(piece));
        };

        match std::str::from_utf8(&piece[first..]) {
            Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => {
                self.state = State::Ascii(piece[first..].to_vec());
                Some(Ok(piece.slice(..first)))
            }
            Err(error) if error.valid_up_to() == 0 => {
                self.state = State::Undecided(piece[first..].to_vec());
                Some(Ok(piece.slice(..first)))
            }
            _ => {
                self.state = State::Utf8;
                Some(Ok(piece))
            }
        }
    }

    /// Converts a text that turned out not to be UTF-8, from the first such byte on.
    fn convert_late(&mut self, rest: Bytes) -> Option<Chunk> {
        if let Err(refusal) = check_late(&rest) {
            return Some(self.refuse(refusal));
        }
        self.encoding = Encoding::Windows1252;
        self.state = convert(WINDOWS_1252);
        self.keep(rest)
    }

    /// Stores a piece for conversion.
    fn keep(&mut self, piece: Bytes) -> Option<Chunk> {
        if self.encoding == Encoding::Windows1252
            && let Err(refusal) = check_windows_1252(&piece)
        {
            return Some(self.refuse(refusal));
        }
        self.waiting = piece;
        None
    }

    fn refuse(&mut self, refusal: Refusal) -> Chunk {
        self.state = State::Ended;
        self.waiting = Bytes::new();
        Err(refusal.into())
    }

    /// Performs the next step of a conversion.
    fn convert(&mut self, is_last: bool) -> Option<Chunk> {
        let State::Convert(decoder) = &mut self.state else {
            return None;
        };

        let mut text = vec![0; STEP_BYTES];
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(&self.waiting, &mut text, is_last);
        self.waiting = self.waiting.slice(read..);

        if let DecoderResult::Malformed(..) = result {
            let detail = format!("its {} is broken; save it as UTF-8", self.encoding.name());
            return Some(self.refuse(Refusal::malformed(detail)));
        }

        text.truncate(written);
        (written > 0).then(|| Ok(text.into()))
    }

    /// Returns the remaining output after the last piece.
    fn end(&mut self) -> Option<Chunk> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Convert(decoder) => {
                self.state = State::Convert(decoder);
                let last = self.convert(true);
                self.state = State::Ended;
                last
            }
            State::Undecided(kept) => self.convert_late(kept.into()),
            State::Ascii(kept) | State::Begin(kept) if !kept.is_empty() => Some(Ok(kept.into())),
            _ => None,
        }
    }
}

impl<I: Iterator<Item = Chunk>> Iterator for Utf8<I> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        loop {
            let text = if !self.waiting.is_empty() {
                self.convert(false)
            } else if matches!(self.state, State::Ended) {
                return None;
            } else {
                match self.pieces.next() {
                    None => match self.end() {
                        None if !self.waiting.is_empty() => None,
                        last => return last,
                    },
                    Some(Err(stop)) => return Some(Err(stop)),
                    Some(Ok(piece)) => self.take(piece),
                }
            };
            match text {
                Some(Ok(piece)) if piece.is_empty() => {}
                None => {}
                text => return text,
            }
        }
    }
}

fn convert(encoding: &'static encoding_rs::Encoding) -> State {
    State::Convert(Box::new(encoding.new_decoder_with_bom_removal()))
}

fn joined(kept: &mut Vec<u8>, piece: Bytes) -> Bytes {
    if kept.is_empty() {
        return piece;
    }
    let mut whole = std::mem::take(kept);
    whole.extend_from_slice(&piece);
    whole.into()
}

#[cfg(test)]
mod tests;
