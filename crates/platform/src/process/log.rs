//! The last lines of a log file, for error messages.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// Lines quoted at most.
const LINES: usize = 10;
/// Bytes read at most.
const BYTES: u64 = 8 << 10;

/// A log file from where it ended when the process was started.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    from: u64,
}

impl Log {
    pub(super) fn from_end_of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), from: path.metadata()?.len() })
    }

    /// The last lines since then; empty when there are none or the file is gone.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let read = || -> io::Result<Vec<u8>> {
            let mut file = File::open(&self.path)?;
            let end = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(end.saturating_sub(BYTES).max(self.from)))?;
            let mut bytes = Vec::new();
            file.take(BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| (*line).to_owned()).collect()
    }
}
