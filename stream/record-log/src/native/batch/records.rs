//! The records of a batch, walked in place.
//!
//! ```text
//! length varint │ attributes i8 │ time delta varlong │ offset delta varint │ key length varint, key │
//! value length varint, value │ number of headers varint │ (name length varint, name, value length varint, value)…
//! ```

use super::Header;
use crate::native::codec::{Input, Malformed};
use crate::{Headers, LogTimeType};

/// A record that borrows from the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub offset: i64,
    pub time_ms: i64,
    pub time_type: LogTimeType,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: RawHeaders<'a>,
}

/// The headers of a record, whose structure was checked when the record was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawHeaders<'a>(&'a [u8]);

/// A walk over the records of a batch. It can be interrupted, and continued from its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a> {
    header: Header,
    input: Input<'a>,
    length: usize,
    place: Place,
}

/// The place of a walk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place {
    at_byte: usize,
    read: i32,
    last_delta: Option<i32>,
}

impl<'a> Records<'a> {
    /// Returns a walk over the records in `unpacked` from the place of an earlier walk.
    pub fn resume(header: Header, unpacked: &'a [u8], place: Place) -> Result<Self, Malformed> {
        let mut input = Input::new(unpacked);
        input.take(place.at_byte)?;
        Ok(Self {
            header,
            input,
            length: unpacked.len(),
            place,
        })
    }

    pub fn place(&self) -> Place {
        Place {
            at_byte: self.length - self.input.rest().len(),
            ..self.place
        }
    }

    /// Returns `true` if the record read last is the last of the batch.
    pub fn is_at_last(&self) -> bool {
        self.place.read == self.header.records && self.input.is_empty()
    }

    /// Returns the next record; none behind the last. It is inlined so that no record is copied.
    #[inline(always)]
    pub fn next(&mut self) -> Result<Option<RawRecord<'a>>, Malformed> {
        if self.place.read == self.header.records {
            return if self.input.is_empty() {
                Ok(None)
            } else {
                Err(Malformed("there are bytes after its last record"))
            };
        }

        let length = length(&mut self.input)?.ok_or(Malformed("a record has no length"))?;
        let mut record = Input::new(self.input.take(length)?);
        record.i8()?;

        let time_delta_ms = record.signed_long()?;
        let delta = record.signed()?;
        let is_next = self.place.last_delta.is_none_or(|last| delta > last);

        if !is_next || delta < 0 || delta > self.header.last_offset_delta {
            return Err(Malformed("the offsets of its records are out of order"));
        }

        let key = bytes(&mut record)?;
        let value = bytes(&mut record)?;
        let headers = RawHeaders(record.rest());
        headers.check()?;

        self.place.read += 1;
        self.place.last_delta = Some(delta);
        Ok(Some(RawRecord {
            offset: self.header.base_offset + i64::from(delta),
            time_ms: self.header.time_ms(time_delta_ms),
            time_type: self.header.time_type(),
            key,
            value,
            headers,
        }))
    }
}

impl<'a> RawHeaders<'a> {
    #[inline]
    fn check(self) -> Result<(), Malformed> {
        // Most records have no headers.
        if let [0] = *self.0 {
            return Ok(());
        }

        let rest = self.visit(|_, _| ())?;
        if rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed("there are bytes after a record's headers"))
        }
    }

    /// Passes each header to `each`, and returns the bytes after them.
    #[inline]
    fn visit(self, mut each: impl FnMut(&'a [u8], &'a [u8])) -> Result<Input<'a>, Malformed> {
        let mut input = Input::new(self.0);
        for _ in 0..length(&mut input)?.unwrap_or(0) {
            let name = bytes(&mut input)?.ok_or(Malformed("a header has no name"))?;
            let value = bytes(&mut input)?.unwrap_or_default();
            each(name, value);
        }

        Ok(input)
    }
}

impl Headers for RawHeaders<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&str, &[u8])) {
        let visited = self.visit(|name, value| each(&String::from_utf8_lossy(name), value));
        visited.expect("the headers were checked when the record was read");
    }
}

/// Reads a length; none for -1, which means null.
#[inline(always)]
fn length(input: &mut Input<'_>) -> Result<Option<usize>, Malformed> {
    // A zigzag varint is even if the number is not negative. It is 1 for -1.
    let zigzag = input.unsigned()?;
    if zigzag % 2 == 0 {
        Ok(Some((zigzag / 2) as usize))
    } else if zigzag == 1 {
        Ok(None)
    } else {
        Err(Malformed("a length is negative"))
    }
}

#[inline(always)]
fn bytes<'a>(input: &mut Input<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match length(input)? {
        Some(length) => input.take(length).map(Some),
        None => Ok(None),
    }
}
