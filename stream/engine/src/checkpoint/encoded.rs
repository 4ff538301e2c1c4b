//! The encoding of keys and aggregates, in parts and in memory: postcard's
//! (<https://postcard.jamesmunns.com/wire-format>).

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// Appends the encoding of a value. [`postcard::to_extend`] writes the same, byte for byte.
///
/// # Panics
/// If the value cannot be serialized: keys and aggregates are plain data.
pub fn append<T: Serialize + ?Sized>(value: &T, to: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Appending(to))
        .expect("keys and aggregates are plain data");
}

/// Bytes at the end of a vector.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // Most numbers have one byte, for which a call to copy would cost more than the byte.
        match bytes {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_postcard_encodes_them() {
        let values = [0_u64, 1, 127, 128, 16_384, u64::MAX];
        let text = "café".repeat(50);
        let mut bytes = b"before".to_vec();
        append(
            &(values, &text, Some([1_u8, 2, 3]), [true, false]),
            &mut bytes,
        );

        let expected = (values, text, Some([1_u8, 2, 3]), [true, false]);
        let expected = postcard::to_extend(&expected, b"before".to_vec()).unwrap();
        assert_eq!(bytes, expected);
    }
}
