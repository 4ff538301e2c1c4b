//! The partition of a key, by the rule of Kafka's Java clients.
//!
//! Every log of this crate uses this rule, so a key keeps its partition when a deployment moves
//! from one log to another.

use crate::{LogError, NewRecord};

/// Returns the partition of `key` among `partitions`: murmur2, made positive, modulo the number of
/// partitions.
///
/// # Panics
/// If `partitions` is 0.
#[inline]
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Returns the partition of a record: its own, its key's, or else the next in turn.
#[inline]
pub(crate) fn choose_partition(
    record: &NewRecord<'_>,
    partitions: u32,
    turn: &mut u32,
) -> Result<u32, LogError> {
    match (record.partition, record.key) {
        (Some(partition), _) if partition < partitions => Ok(partition),
        (Some(partition), _) => Err(LogError::UnknownPartition {
            topic: record.topic.to_owned(),
            partition,
        }),
        (None, Some(key)) => Ok(partition_of(key, partitions)),
        (None, None) => {
            *turn = turn.wrapping_add(1);
            Ok(*turn % partitions)
        }
    }
}

/// Returns the 32-bit MurmurHash2 with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;

    // Java hashes the low 32 bits of the length; keys beyond 4 GiB cannot be published.
    let mut hash = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }

    let rest = words.remainder();
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }

    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::{murmur2, partition_of};

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];

        for (key, expected) in vectors {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }

    #[test]
    fn partitions_are_within_range_for_negative_hashes() {
        assert_eq!(
            partition_of(b"21", 4),
            (-973_932_308_i32 as u32 & 0x7fff_ffff) % 4
        );
        assert!((0..10_000_u32).all(|id| partition_of(id.to_string().as_bytes(), 7) < 7));
    }
}
