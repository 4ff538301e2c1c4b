//! Tests of compression: each codec is unpacked, within its limit.

use super::*;

#[test]
fn every_compression_is_unpacked() {
    let plain: Vec<u8> = (0..50_000_u32)
        .flat_map(|n| (n / 7).to_be_bytes())
        .collect();
    let mut gzip = flate2::read::GzEncoder::new(&plain[..], flate2::Compression::fast());
    let mut gzipped = Vec::new();
    std::io::Read::read_to_end(&mut gzip, &mut gzipped).unwrap();

    let raw_snappy = snap::raw::Encoder::new().compress_vec(&plain).unwrap();
    let mut xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in plain.chunks(32 << 10) {
        let packed = snap::raw::Encoder::new().compress_vec(block).unwrap();
        xerial.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        xerial.extend_from_slice(&packed);
    }

    let mut lz4 = Vec::new();
    Packer::default().pack(&plain, &mut lz4);
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();

    let packed = [
        (compression::GZIP, gzipped),
        (compression::SNAPPY, raw_snappy),
        (compression::SNAPPY, xerial),
        (compression::LZ4, lz4),
        (compression::ZSTD, zstd),
    ];

    let mut into = Unpacked::default();
    for (codec, bytes) in packed {
        unpack(codec, &bytes, &mut into).unwrap();
        assert!(into.bytes() == plain, "codec {codec}");
        let bounded = unpack_within(codec, &bytes, &mut into, plain.len() - 1);

        assert!(
            matches!(bounded, Err(BatchError::Packed(_))),
            "codec {codec}"
        );

        let torn = unpack(codec, &bytes[..bytes.len() / 2], &mut into);
        assert!(torn.is_err(), "codec {codec}");
    }
}

#[test]
fn snappy_that_claims_more_than_it_can_hold_is_refused() {
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    let mut into = Unpacked::default();
    let refused = unpack(compression::SNAPPY, &claim, &mut into).unwrap_err();
    assert!(refused.to_string().contains("cannot hold"), "{refused}");
    assert_eq!(into.capacity(), 0);
}
