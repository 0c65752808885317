//! Histograms in the V2 format with DEFLATE of all `HdrHistogram` libraries (`HistogramLogProcessor` and others read it): a head,
//! then the counts from the lowest value up, each a number in zig-zag and in 7 bits a byte; negative numbers skip zeros.
//!
//! Written and read here and not by the `hdrhistogram` crate, which tests compare with: it makes a table of 184 KB and more
//! for a histogram of any size, and takes a damaged length for granted and allocates up to 4 GiB for it.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::counts::{Listed, MAX_COUNT};
use crate::hdr::{HIGHEST_NS, HIGHEST_US, counts_for};

/// Significant decimal digits: a value is kept within 0.1 % of itself, and exactly below 2 048.
pub(crate) const DIGITS: u8 = 3;
/// Begin of the compressed format; the length of what is compressed follows.
const COMPRESSED_COOKIE: u32 = 0x1c84_9314;
/// Begin of what is compressed.
const COOKIE: u32 = 0x1c84_9313;
/// Bytes before the counts: cookie, length of the counts, normalizing offset, digits (4 each), lowest and highest value,
/// ratio of integers to doubles (8 each).
const HEAD: usize = 40;
/// No histogram of ours is larger before compression: 33 792 counts of at most 9 bytes.
const MAX_PLAIN: usize = 320 << 10;

/// What DEFLATE works with.
struct Deflate {
    compress: Compress,
    decompress: Decompress,
    /// What comes out, either way. What does not compress becomes longer, by less than a KB.
    out: Vec<u8>,
}

thread_local! {
    /// Made once a thread: made for each histogram, these 700 KB took three quarters of the time.
    static DEFLATE: RefCell<Deflate> = RefCell::new(Deflate {
        compress: Compress::new(Compression::default(), true),
        decompress: Decompress::new(true),
        out: vec![0; MAX_PLAIN + 1_024],
    });
}

/// Bytes that are no histogram of ours.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not the V2 format of the `HdrHistogram` libraries, or damaged.
    #[error("not a V2 histogram: {0}")]
    Format(String),
    /// A histogram of another range or precision.
    #[error(
        "histogram over {low} to {high} with {digits} digits: expected 1 to {HIGHEST_US} or 1 to {HIGHEST_NS} with {DIGITS}"
    )]
    Range {
        /// Lower end found.
        low: u64,
        /// Upper end found.
        high: u64,
        /// Significant digits found.
        digits: u64,
    },
}

fn format(what: &str) -> DecodeError {
    DecodeError::Format(what.to_owned())
}

/// Writes counts with ascending indices of a histogram for values up to `top`.
pub(crate) fn encode(top: u64, counts: impl Iterator<Item = (u32, u64)>) -> Vec<u8> {
    let mut plain = Vec::with_capacity(4_096);
    for word in [COOKIE, 0, 0, u32::from(DIGITS)] {
        plain.extend_from_slice(&word.to_be_bytes());
    }
    for long in [1, top, 1.0_f64.to_bits()] {
        plain.extend_from_slice(&long.to_be_bytes());
    }
    let mut next = 0;
    for (index, n) in counts {
        match index - next {
            0 => {}
            // A single zero is written as the count that it is.
            1 => plain.push(0),
            zeros => put_varint(&mut plain, 2 * u64::from(zeros) - 1),
        }
        put_varint(&mut plain, n.min(MAX_COUNT) << 1);
        next = index + 1;
    }
    let length = (plain.len() - HEAD) as u32;
    plain[4..8].copy_from_slice(&length.to_be_bytes());
    DEFLATE.with_borrow_mut(|Deflate { compress, out, .. }| {
        compress.reset();
        let status = compress.compress(&plain, out, FlushCompress::Finish);
        debug_assert!(
            matches!(status, Ok(Status::StreamEnd)),
            "there is room for whatever comes out: {status:?}"
        );
        let body = &out[..compress.total_out() as usize];
        [&COMPRESSED_COOKIE.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), body].concat()
    })
}

/// Reads counts, and the highest value that their histogram was made for.
///
/// # Errors
/// [`DecodeError`] when the bytes are damaged or of another range or precision.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Listed, u64), DecodeError> {
    let [c0, c1, c2, c3, l0, l1, l2, l3, body @ ..] = bytes else {
        return Err(format("shorter than its head"));
    };
    if u32::from_be_bytes([*c0, *c1, *c2, *c3]) != COMPRESSED_COOKIE {
        return Err(format("another cookie than that of V2 with DEFLATE"));
    }
    if u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize != body.len() {
        return Err(format("not as long as its head says"));
    }
    DEFLATE.with_borrow_mut(|Deflate { decompress, out, .. }| {
        decompress.reset(true);
        match decompress.decompress(body, out, FlushDecompress::Finish) {
            Ok(Status::StreamEnd) => decode_plain(&out[..decompress.total_out() as usize]),
            Ok(_) => Err(format("its DEFLATE stream is cut, or larger than any histogram of ours")),
            Err(error) => Err(DecodeError::Format(error.to_string())),
        }
    })
}

/// The same of what was compressed.
fn decode_plain(plain: &[u8]) -> Result<(Listed, u64), DecodeError> {
    let Some((head, counts)) = plain.split_first_chunk::<HEAD>() else {
        return Err(format("shorter than its head"));
    };
    let [cookie, length, offset, digits] = [0, 4, 8, 12].map(|at| number::<4>(head, at));
    let [low, high, ratio] = [16, 24, 32].map(|at| number::<8>(head, at));
    if cookie != u64::from(COOKIE) {
        return Err(format("another cookie than that of V2"));
    }
    if length != counts.len() as u64 {
        return Err(format("counts not as long as their head says"));
    }
    if offset != 0 || ratio != 1.0_f64.to_bits() {
        return Err(format("shifted or scaled"));
    }
    if digits != u64::from(DIGITS) || low != 1 || ![HIGHEST_US, HIGHEST_NS].contains(&high) {
        return Err(DecodeError::Range { low, high, digits });
    }
    // A value takes two bytes mostly: its count, and the zeros before it unless it is next to another.
    let mut listed = Listed::with_capacity(counts.len() / 2);
    let (mut rest, mut index, end) = (counts, 0_u64, u64::from(counts_for(high)));
    while !rest.is_empty() {
        let number = varint(&mut rest).ok_or_else(|| format("the last count is cut"))?;
        let (half, skips) = (number >> 1, number & 1 == 1);
        if skips {
            index = index.saturating_add(half.saturating_add(1));
            continue;
        }
        if half > 0 {
            let at = u16::try_from(index).ok().filter(|_| index < end);
            let at = at.ok_or_else(|| format("more counts than the range has"))?;
            listed.push(at, half).ok_or_else(|| format("a count of 2^48 or more"))?;
        }
        index = index.saturating_add(1);
    }
    Ok((listed, high))
}

/// A big-endian number of `N` bytes.
fn number<const N: usize>(head: &[u8; HEAD], at: usize) -> u64 {
    head[at..at + N].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Takes a number of 7 bits a byte off the front, the lowest first; a ninth byte has 8. `None` when it is cut.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..56).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    Some(number | u64::from(*bytes.split_off_first()?) << 56)
}

/// Appends a number as [`varint`] reads it.
fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    for _ in 0..8 {
        if number < 0x80 {
            into.push(number as u8);
            return;
        }
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}
