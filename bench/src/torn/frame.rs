//! Frames of Kafka's protocol, as far as a proxy reads them: lengths, headers of requests, and the code of an answer to
//! EndTxn.

use std::io::{self, ErrorKind, Read};

/// The keys of the requests of a transaction.
pub const PRODUCE: i16 = 0;
pub const INIT_PRODUCER_ID: i16 = 22;
pub const ADD_PARTITIONS: i16 = 24;
pub const END_TXN: i16 = 26;

/// The largest frame that is passed on.
const MOST_BYTES: usize = 64 << 20;
/// The first version of InitProducerId with the identity of a publisher that has one.
const INIT_NAMED: i16 = 3;
/// The end of an InitProducerId without an identity: producer id -1, epoch -1, and no tagged fields.
const UNNAMED: [u8; 11] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,
];
/// The first version of EndTxn with tagged fields in its headers.
const END_TXN_TAGGED: i16 = 3;

/// A request, with its length in front.
#[derive(Debug)]
pub struct Request {
    pub bytes: Vec<u8>,
    pub key: i16,
    pub version: i16,
    pub correlation: i32,
    /// The name of the client (`client.id`).
    pub client: String,
}

impl Request {
    /// Reads the header of a frame.
    ///
    /// # Errors
    /// If the frame is too short for one.
    pub fn parse(bytes: Vec<u8>) -> io::Result<Self> {
        let too_short = || io::Error::new(ErrorKind::InvalidData, "a request without a header");
        let short = |at| i16_at(&bytes, at).ok_or_else(too_short);
        let length = usize::try_from(short(12)?).unwrap_or(0);
        let client = bytes.get(14..14 + length).ok_or_else(too_short)?;

        Ok(Self {
            key: short(4)?,
            version: short(6)?,
            correlation: correlation_of(&bytes).ok_or_else(too_short)?,
            client: String::from_utf8_lossy(client).into_owned(),
            bytes,
        })
    }

    /// Returns `true` if it is an InitProducerId that names no identity, and so fences the holder of the transactional
    /// id.
    pub fn is_fencing(&self) -> bool {
        let is_named = self.version >= INIT_NAMED && !self.bytes.ends_with(&UNNAMED);
        self.key == INIT_PRODUCER_ID && !is_named
    }
}

/// Reads a frame with its length; none at the end of the stream.
///
/// # Errors
/// If the stream fails, ends inside a frame, or names an absurd length.
pub fn read(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; 4];
    match from.read_exact(&mut frame) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }

    let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
    if length > MOST_BYTES {
        let reason = format!("a frame of {length} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }

    frame.resize(4 + length, 0);
    from.read_exact(&mut frame[4..])?;
    Ok(Some(frame))
}

/// Returns the correlation id of an answer: the four bytes after its length.
pub fn answered(frame: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(frame.get(4..8)?.try_into().ok()?))
}

/// Returns the error code in an answer to EndTxn of this version.
pub fn end_code(frame: &[u8], version: i16) -> Option<i16> {
    // Length, correlation id, tagged fields, throttle time.
    let tagged = usize::from(version >= END_TXN_TAGGED);
    i16_at(frame, 4 + 4 + tagged + 4)
}

fn correlation_of(request: &[u8]) -> Option<i32> {
    Some(i32::from_be_bytes(request.get(8..12)?.try_into().ok()?))
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EndTxn version 1 of client "ab", without its body.
    const HEADER: [u8; 16] = [0, 0, 0, 12, 0, 26, 0, 1, 0, 0, 0, 7, 0, 2, b'a', b'b'];

    #[test]
    fn a_frame_is_read_whole_and_its_header_parsed() {
        let twice = [HEADER, HEADER].concat();
        let mut stream = &twice[..];
        for _ in 0..2 {
            let request = Request::parse(read(&mut stream).unwrap().unwrap()).unwrap();
            assert_eq!(
                (request.key, request.version, request.correlation),
                (END_TXN, 1, 7)
            );
            assert_eq!((&*request.client, &*request.bytes), ("ab", &HEADER[..]));
        }
        assert!(read(&mut stream).unwrap().is_none());
    }

    #[test]
    fn a_client_without_a_name_has_the_empty_one() {
        let mut nameless = HEADER[..14].to_vec();
        nameless[12..14].fill(0xff);
        assert_eq!(Request::parse(nameless).unwrap().client, "");
    }

    #[test]
    fn an_init_producer_id_without_an_identity_is_fencing() {
        let request = |key: u8, version: u8, id: [u8; 8], epoch: [u8; 2]| {
            let mut bytes = HEADER.to_vec();
            bytes[5] = key;
            bytes[7] = version;
            // No tags, a transactional id "ab", a time-out.
            bytes.extend([0, 3, b'a', b'b', 0, 0, 0xea, 0x60]);
            bytes.extend(id);
            bytes.extend(epoch);
            bytes.push(0);
            Request::parse(bytes).unwrap().is_fencing()
        };

        assert!(request(22, 4, [0xff; 8], [0xff; 2]));
        assert!(request(22, 2, [0; 8], [0; 2]), "it has no such fields");
        assert!(!request(22, 4, [0; 8], [0, 1]));
        assert!(!request(22, 4, [0; 8], [0xff; 2]));
        assert!(!request(26, 4, [0xff; 8], [0xff; 2]));
    }

    #[test]
    fn a_torn_frame_and_an_absurd_length_are_errors() {
        for bytes in [&HEADER[..15], &[0x7f, 0, 0, 0, 1], &HEADER[..6]] {
            assert!(read(&mut &*bytes).is_err(), "{bytes:?}");
        }
        for shorter in [4, 8, 12, 15] {
            assert!(Request::parse(HEADER[..shorter].to_vec()).is_err());
        }
    }

    #[test]
    fn the_code_of_an_end_is_behind_the_tags_of_newer_versions() {
        let answer = [0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 0, 0, 47, 0, 0];
        assert_eq!(end_code(&answer, 1), Some(47));
        let tagged = [0, 0, 0, 11, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 90, 0];
        assert_eq!(end_code(&tagged, 5), Some(90));
        assert_eq!(end_code(&answer[..12], 1), None);
        assert_eq!(answered(&answer), Some(9));
    }
}
