//! Taking memory.

use crate::inject::Refusal;

/// Taken at once: small enough to stop early when there is no more.
const CHUNK: usize = 16 << 20;

/// Takes so many bytes and writes to all of them, so that the kernel has to give them.
pub(super) fn touch(bytes: u64) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut chunks = Vec::new();
    let mut left = bytes;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(size).map_err(|error| {
            let problem = format!("{left} of {bytes} bytes of memory could not be had: {error}");
            Refusal::new(problem, "ask for less")
        })?;
        // Not zero: pages of zeros can be shared.
        chunk.resize(size, 0x5a);
        chunks.push(chunk);
        left -= size as u64;
    }
    Ok(chunks)
}
