//! The parsers under test, compiled from the load-worker's own files, and what the targets share.

/// As in the load-worker.
#[path = "../../src/io"]
pub mod io {
    pub mod chunked;
    pub mod http1;
    pub mod sse;
}

/// Cuts bytes into pieces of sizes that follow from the key.
pub fn cut(bytes: &[u8], key: u64) -> impl Iterator<Item = &[u8]> {
    let most = [0, 2, 15, 999][(key % 4) as usize];
    let (mut rest, mut number) = (bytes, 0);
    std::iter::from_fn(move || {
        let length = 1 + draws::up_to(most, draws::at(key, number)) as usize;
        number += 1;
        let (piece, after) = rest.split_at(rest.len().min(length));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}
