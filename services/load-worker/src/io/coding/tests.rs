//! Each coding whole, cut, split, spoilt and as a bomb.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use zstd_safe::CCtx;
use zstd_safe::zstd_sys::ZSTD_EndDirective;

use super::*;

const LIMIT: u64 = 1 << 20;

/// 40 lines, as brotli's own encoder writes them: there is no encoder here.
const BROTLI_TEXT: &[u8] = &[
    27, 133, 6, 136, 140, 212, 86, 119, 226, 76, 143, 80, 233, 42, 30, 146, 14, 176, 121, 61, 134, 107, 16,
    5, 179, 183, 136, 131, 3, 160, 134, 33, 92, 67, 139, 2, 170, 61, 31, 211, 82, 47, 64, 46, 156, 200, 82,
    239, 243, 225, 157, 116, 238, 83, 137, 39, 73, 64, 72, 68, 76, 66, 154, 12, 89, 114, 79, 168, 249, 1,
    134, 70, 198, 38, 166, 205, 152, 37, 215, 195, 50, 48, 52, 50, 54, 49, 109, 198, 44, 185, 30, 149, 129,
    161, 145, 177, 137, 105, 51, 102, 171, 7,
];
/// 8 MiB of zeros.
const BROTLI_ZEROS: &[u8] = &[203, 255, 255, 63, 248, 39, 0, 226, 177, 64, 32, 247, 254, 111];
/// Two events, the encoder flushed after each.
const BROTLI_EVENTS: [&[u8]; 2] = [
    &[11, 5, 128, 100, 97, 116, 97, 58, 32, 111, 110, 101, 10, 10],
    &[161, 0, 128, 95, 90, 225, 141, 238, 78, 17, 162, 74, 4, 96, 11],
];

fn text() -> Vec<u8> {
    (0..40).map(|i| format!("line {i} of a text that can be packed well\n")).collect::<String>().into_bytes()
}

fn gzip_of(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zlib_of(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate_of(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(data: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; zstd_safe::compress_bound(data.len())];
    let length = zstd_safe::compress(&mut packed[..], data, 3).unwrap();
    packed.truncate(length);
    packed
}

/// Every format with these bytes in it.
fn all_of(data: &[u8]) -> Vec<(Coding, Vec<u8>)> {
    vec![
        (Coding::Gzip, gzip_of(data)),
        (Coding::Deflate, zlib_of(data)),
        (Coding::Deflate, deflate_of(data)),
        (Coding::Zstd, zstd_of(data)),
    ]
}

fn decode(coding: Coding, parts: &[&[u8]], limit: u64) -> (Vec<u8>, Result<(), FailureClass>) {
    let mut decoder = Decoder::new(coding).unwrap();
    let mut body = Vec::new();
    for part in parts {
        let decoded = decoder.decode(part, limit, |data| body.extend_from_slice(data));
        if decoded.is_err() {
            return (body, decoded);
        }
    }
    let end = decoder.end();
    (body, end)
}

#[test]
fn whole_bodies_are_decoded_wherever_they_are_split() {
    let mut all = all_of(&text());
    all.push((Coding::Brotli, BROTLI_TEXT.to_vec()));
    for (coding, packed) in all {
        for cut in 0..=packed.len() {
            let (first, then) = packed.split_at(cut);
            let (body, end) = decode(coding, &[first, then], LIMIT);
            assert!(body == text() && end == Ok(()), "{coding:?} cut at {cut}: {end:?}");
        }
        let bytes: Vec<&[u8]> = packed.chunks(1).collect();
        assert_eq!(decode(coding, &bytes, LIMIT), (text(), Ok(())), "{coding:?}");
    }
}

#[test]
fn what_is_cut_off_spoilt_or_goes_on_is_malformed() {
    let mut all = all_of(&text());
    all.push((Coding::Brotli, BROTLI_TEXT.to_vec()));
    for (coding, packed) in all {
        for cut in 1..packed.len() {
            let (_, end) = decode(coding, &[&packed[..cut]], LIMIT);
            assert_eq!(end, Err(FailureClass::Malformed), "{coding:?} cut off at {cut}");
        }
        let longer = [&packed[..], b"<html>"].concat();
        assert_eq!(decode(coding, &[&longer], LIMIT).1, Err(FailureClass::Malformed), "{coding:?}");
        assert_eq!(
            decode(coding, &[&packed, b"<html>"], LIMIT).1,
            Err(FailureClass::Malformed),
            "{coding:?}"
        );
        assert_eq!(decode(coding, &[b"<html></html>"], LIMIT).1, Err(FailureClass::Malformed), "{coding:?}");
    }
    let mut spoilt = gzip_of(&text());
    let sum = spoilt.len() - 8;
    spoilt[sum] ^= 1;
    assert_eq!(decode(Coding::Gzip, &[&spoilt], LIMIT).1, Err(FailureClass::Malformed));
}

#[test]
fn a_body_without_a_byte_is_no_failure() {
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
        assert_eq!(decode(coding, &[], LIMIT), (vec![], Ok(())), "{coding:?}");
    }
    for (coding, packed) in all_of(b"") {
        assert_eq!(decode(coding, &[&packed], LIMIT), (vec![], Ok(())), "{coding:?}");
    }
}

#[test]
fn several_members_are_one_body() {
    for (coding, pack) in
        [(Coding::Gzip, gzip_of as fn(&[u8]) -> Vec<u8>), (Coding::Zstd, zstd_of as fn(&[u8]) -> Vec<u8>)]
    {
        let packed = [pack(b"one "), pack(b"two")].concat();
        for cut in 0..=packed.len() {
            let (first, then) = packed.split_at(cut);
            assert_eq!(
                decode(coding, &[first, then], LIMIT),
                (b"one two".to_vec(), Ok(())),
                "{coding:?} at {cut}"
            );
        }
    }
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let zeros = vec![0; 8 << 20];
    let mut all = all_of(&zeros);
    all.push((Coding::Brotli, BROTLI_ZEROS.to_vec()));
    for (coding, packed) in all {
        assert!(packed.len() < 20_000, "{coding:?}: {}", packed.len());
        let (body, end) = decode(coding, &[&packed], LIMIT);
        assert_eq!(end, Err(FailureClass::TooLarge), "{coding:?}");
        assert!(body.len() as u64 <= LIMIT, "{coding:?}: {}", body.len());
    }
}

#[test]
fn a_window_beyond_the_coding_s_is_not_taken() {
    // Frames of zstd without a length and with windows of 8 MiB and of 128 MiB: one raw block each.
    let frame =
        |window: u8| [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window][..], &[0x19, 0, 0, b'a', b'b', b'c']].concat();
    assert_eq!(decode(Coding::Zstd, &[&frame(13 << 3)], LIMIT), (b"abc".to_vec(), Ok(())));
    assert_eq!(decode(Coding::Zstd, &[&frame(17 << 3)], LIMIT), (vec![], Err(FailureClass::TooLarge)));
    // A large window of brotli, which is an extension.
    assert_eq!(decode(Coding::Brotli, &[&[0x11, 0x1e, 0x03]], LIMIT).1, Err(FailureClass::Malformed));
}

/// A text, and what a peer sends of it in each coding by the name that it gives it.
pub(crate) fn texts() -> (String, [(&'static str, Vec<u8>); 5]) {
    let text = text();
    let coded = [
        ("gzip", gzip_of(&text)),
        ("deflate", zlib_of(&text)),
        ("deflate", deflate_of(&text)),
        ("br", BROTLI_TEXT.to_vec()),
        ("zstd", zstd_of(&text)),
    ];
    (String::from_utf8(text).unwrap(), coded)
}

/// A coding, and two pieces in it.
pub(crate) type Coded = (&'static str, [Vec<u8>; 2]);

/// The data of two events, and what a peer sends of them in each coding when it flushes after each.
pub(crate) fn events() -> ([&'static str; 2], [Coded; 4]) {
    let events = ["data: one\n\n", "data: two\n\n"];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let mut zstd = CCtx::create();
    let of_gzip = events.map(|event| {
        gzip.write_all(event.as_bytes()).unwrap();
        gzip.flush().unwrap();
        std::mem::take(gzip.get_mut())
    });
    let of_zlib = events.map(|event| {
        zlib.write_all(event.as_bytes()).unwrap();
        zlib.flush().unwrap();
        std::mem::take(zlib.get_mut())
    });
    let of_zstd = events.map(|event| {
        let mut packed = [0; 256];
        let mut output = OutBuffer::around(&mut packed[..]);
        let mut input = InBuffer::around(event.as_bytes());
        assert_eq!(zstd.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_flush), Ok(0));
        let length = output.pos();
        packed[..length].to_vec()
    });
    let brotli = BROTLI_EVENTS.map(<[u8]>::to_vec);
    (["one", "two"], [("gzip", of_gzip), ("deflate", of_zlib), ("br", brotli), ("zstd", of_zstd)])
}

#[test]
fn what_the_peer_has_flushed_is_handed_on_at_once() {
    let (data, coded) = events();
    for (name, parts) in coded {
        let field = httparse::Header { name: "content-encoding", value: name.as_bytes() };
        let mut decoder = Decoder::new(Coding::of(&[field]).unwrap()).unwrap();
        for (part, data) in parts.iter().zip(data) {
            let mut said = Vec::new();
            decoder.decode(part, LIMIT, |data| said.extend_from_slice(data)).unwrap();
            assert_eq!(String::from_utf8(said).unwrap(), format!("data: {data}\n\n"), "{name}");
        }
    }
}

#[test]
fn codings_are_known_by_their_names() {
    let of = |values: &[&str]| {
        let fields: Vec<_> = values
            .iter()
            .map(|value| httparse::Header { name: "Content-encoding", value: value.as_bytes() })
            .collect();
        Coding::of(&fields)
    };
    assert_eq!(of(&["gzip"]), Some(Coding::Gzip));
    assert_eq!(of(&[" X-GZip "]), Some(Coding::Gzip));
    assert_eq!(of(&["deflate"]), Some(Coding::Deflate));
    assert_eq!(of(&["BR"]), Some(Coding::Brotli));
    assert_eq!(of(&["zstd"]), Some(Coding::Zstd));
    for none in [&[][..], &["identity"], &["gzip, br"], &["gzip", "br"], &["compress"]] {
        assert_eq!(of(none), None, "{none:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_can_do_harm(data in prop::collection::vec(any::<u8>(), 0..600), which in 0_usize..4, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let coding = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd][which];
        let (body, _) = decode(coding, &[&data], LIMIT);
        prop_assert!(body.len() as u64 <= LIMIT);
        for (coding, mut packed) in all_of(&data) {
            prop_assert_eq!(decode(coding, &[&packed], LIMIT), (data.clone(), Ok(())));
            let at = at.index(packed.len());
            packed[at] = byte;
            let (body, _) = decode(coding, &[&packed], LIMIT);
            prop_assert!(body.len() as u64 <= LIMIT);
        }
    }
}
