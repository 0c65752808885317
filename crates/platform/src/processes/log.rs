//! The last lines of a log file, for error messages and for who asks.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Lines that an error message quotes at most.
pub(super) const QUOTED: usize = 10;
/// Bytes read at most.
const BYTES: u64 = 64 << 10;

/// The last lines of a file from an offset on; empty when there are none or the file is gone.
pub(super) fn last_lines(path: &Path, from: u64, most: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(end.saturating_sub(BYTES).max(from)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(most)).map(|line| (*line).to_owned()).collect()
}
