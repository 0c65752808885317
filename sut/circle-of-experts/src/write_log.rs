//! One line for each piece of an answer: when it was handed to the connection.
//!
//! Fields, separated by one space: nanoseconds on `CLOCK_MONOTONIC`, the request's number in this process, the number of the
//! expert, the number that the request carried in `x-gauntlet-arrival` (or `-`), and what it was: `asked` (the request was read),
//! `open`, `token`, `close`, `whole` (an answer that is no stream), `cut`, or `error`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes gathered before a write.
const BUFFER: usize = 1 << 18;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The request was read.
    Asked,
    /// The events before the first token.
    Open,
    /// A token.
    Token,
    /// The events after the last one.
    Close,
    /// An answer that is no stream.
    Whole,
    /// The end of an answer that is not whole.
    Cut,
    /// An error.
    Error,
}

const NAMES: [(What, &str); 7] = [
    (What::Asked, "asked"),
    (What::Open, "open"),
    (What::Token, "token"),
    (What::Close, "close"),
    (What::Whole, "whole"),
    (What::Cut, "cut"),
    (What::Error, "error"),
];

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Nanoseconds on `CLOCK_MONOTONIC`.
    pub mono_ns: u64,
    /// The request's number, from 0.
    pub request: u64,
    /// The expert's number, from 0.
    pub expert: u32,
    /// Value of `x-gauntlet-arrival`.
    pub arrival: Option<u64>,
    /// What was handed over.
    pub what: What,
}

impl Line {
    /// Reads one line back.
    ///
    /// # Errors
    /// The line, when it is not one of ours.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = || {
            let fields: Vec<&str> = text.split(' ').collect();
            let [mono_ns, request, expert, arrival, what] = fields.as_slice() else { return None };
            let arrival = if *arrival == "-" { None } else { Some(arrival.parse().ok()?) };
            Some(Self {
                mono_ns: mono_ns.parse().ok()?,
                request: request.parse().ok()?,
                expert: expert.parse().ok()?,
                arrival,
                what: NAMES.iter().find(|(_, name)| name == what)?.0,
            })
        };
        parsed().ok_or_else(|| {
            format!("\"{text}\": expected nanoseconds, request, expert, arrival or -, and what it is")
        })
    }

    /// All lines of a log file.
    ///
    /// # Errors
    /// The file cannot be read, or a line is not one of ours.
    pub fn read_all(path: &Path) -> io::Result<Vec<Self>> {
        let text = std::fs::read_to_string(path)?;
        text.lines().map(Self::parse).collect::<Result<_, _>>().map_err(io::Error::other)
    }
}

/// The file. Lines are gathered and written in large pieces.
#[derive(Debug)]
pub(crate) struct WriteLog {
    file: Mutex<BufWriter<File>>,
    lost: AtomicU64,
}

impl WriteLog {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, File::create(path)?);
        Ok(Self { file: Mutex::new(file), lost: AtomicU64::new(0) })
    }

    /// Adds a line. One that cannot be written is counted as lost.
    pub(crate) fn write(&self, line: &Line) {
        let Line { mono_ns, request, expert, arrival, what } = line;
        let what = NAMES.iter().find(|(of, _)| of == what).map_or("", |(_, name)| name);
        let mut file = self.lock();
        let written = match arrival {
            Some(arrival) => writeln!(file, "{mono_ns} {request} {expert} {arrival} {what}"),
            None => writeln!(file, "{mono_ns} {request} {expert} - {what}"),
        };
        if written.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        self.lock().flush()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, BufWriter<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_as_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("writes.log");
        let log = WriteLog::create(&path).unwrap();
        let lines = NAMES.map(|(what, _)| Line { mono_ns: 5, request: 1, expert: 3, arrival: Some(9), what });
        lines.iter().for_each(|line| log.write(line));
        let without = Line { arrival: None, ..lines[0] };
        log.write(&without);
        log.flush().unwrap();
        assert_eq!(Line::read_all(&path).unwrap(), [&lines[..], &[without]].concat());
        assert_eq!(log.lost(), 0);
        assert!(Line::parse("1 2 3 - spoken").unwrap_err().contains("\"1 2 3 - spoken\""));
    }
}
