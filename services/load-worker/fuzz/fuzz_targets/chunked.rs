//! Any bytes as a chunked body: the decoder never panics and finds the same however the bytes are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use load_worker_fuzz::cut;
use load_worker_fuzz::io::chunked::{Chunked, ChunkedError};

/// Data, how many bytes the body had, and whether it has ended.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<u8>, usize, bool), ChunkedError> {
    let mut decoder = Chunked::new();
    let (mut data, mut used) = (Vec::new(), 0);
    for piece in pieces {
        let n = decoder.decode(piece, |stretch| data.extend_from_slice(stretch))?;
        used += n;
        if decoder.is_done() {
            break;
        }
        assert_eq!(n, piece.len(), "all is used before the end");
    }
    assert!(data.len() <= used);
    Ok((data, used, decoder.is_done()))
}

fuzz_target!(|data: &[u8]| {
    let [key, wire @ ..] = data else { return };
    assert_eq!(decode(cut(wire, u64::from(*key))), decode(std::iter::once(wire)));
});
