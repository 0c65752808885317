//! One line for each request that is not a probe: what the target itself saw, to check a load generator against.
//!
//! Fields, separated by one space: arrival and answer on `CLOCK_MONOTONIC`, arrival and answer since 1970 (all in
//! nanoseconds), method, path with query, status (499 = the client went before the answer), and the number that
//! the request carried in `x-gauntlet-arrival`, or `-`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes gathered before a write.
const BUFFER: usize = 1 << 18;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its head had been read, nanoseconds on `CLOCK_MONOTONIC`.
    pub arrival_mono_ns: u64,
    /// When the answer was ready to be written.
    pub answer_mono_ns: u64,
    /// The same two, nanoseconds since 1970.
    pub arrival_unix_ns: u64,
    /// See above.
    pub answer_unix_ns: u64,
    /// Method.
    pub method: String,
    /// Path with query, as received.
    pub path: String,
    /// Status; 499 = the client closed the connection before the answer.
    pub status: u16,
    /// Value of `x-gauntlet-arrival`.
    pub arrival: Option<u64>,
}

impl Line {
    /// Reads one line back.
    ///
    /// # Errors
    /// Which field is missing or is not a number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = text.split(' ');
        let mut field = |name: &str| fields.next().ok_or_else(|| format!("{name} is missing in \"{text}\""));
        let number = |name: &str, value: &str| {
            value.parse::<u64>().map_err(|e| format!("{name} \"{value}\" in \"{text}\": {e}"))
        };
        let times = ["arrival", "answer", "arrival since 1970", "answer since 1970"];
        let mut parsed = [0; 4];
        for (slot, name) in parsed.iter_mut().zip(times) {
            *slot = number(name, field(name)?)?;
        }
        let method = field("method")?.to_owned();
        let path = field("path")?.to_owned();
        let status = number("status", field("status")?)?;
        let arrival = match field("number")? {
            "-" => None,
            value => Some(number("number", value)?),
        };
        Ok(Self {
            arrival_mono_ns: parsed[0],
            answer_mono_ns: parsed[1],
            arrival_unix_ns: parsed[2],
            answer_unix_ns: parsed[3],
            method,
            path,
            status: u16::try_from(status).map_err(|_| format!("status {status} in \"{text}\""))?,
            arrival,
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

/// The file. Lines are gathered and written in large pieces, so that logging costs next to nothing.
#[derive(Debug)]
pub struct AccessLog {
    file: Mutex<BufWriter<File>>,
    lost: AtomicU64,
}

impl AccessLog {
    /// Starts an empty log.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(BUFFER, File::create(path)?);
        Ok(Self { file: Mutex::new(file), lost: AtomicU64::new(0) })
    }

    /// Adds a line. One that cannot be written is counted in [`Self::lost`].
    pub fn write(&self, line: &Line) {
        let mut file = self.lock();
        let Line {
            arrival_mono_ns,
            answer_mono_ns,
            arrival_unix_ns,
            answer_unix_ns,
            method,
            path,
            status,
            arrival,
        } = line;
        let head = write!(
            file,
            "{arrival_mono_ns} {answer_mono_ns} {arrival_unix_ns} {answer_unix_ns} {method} {path} {status} "
        );
        let written = head.and_then(|()| match arrival {
            Some(number) => writeln!(file, "{number}"),
            None => writeln!(file, "-"),
        });
        if written.is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is gathered to the file.
    ///
    /// # Errors
    /// The file system refused.
    pub fn flush(&self) -> io::Result<()> {
        self.lock().flush()
    }

    /// Lines that could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BufWriter<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_back_as_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let line = |arrival| Line {
            arrival_mono_ns: 1,
            answer_mono_ns: 2,
            arrival_unix_ns: 3,
            answer_unix_ns: 4,
            method: "GET".into(),
            path: "/search?q=a%20b".into(),
            status: 200,
            arrival,
        };
        let log = AccessLog::create(&path).unwrap();
        log.write(&line(Some(1 << 40)));
        log.write(&line(None));
        log.flush().unwrap();
        assert_eq!(Line::read_all(&path).unwrap(), vec![line(Some(1 << 40)), line(None)]);
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert!(Line::parse("1 2 3 four GET / 200 -").unwrap_err().contains("answer since 1970 \"four\""));
        assert!(Line::parse("1 2").unwrap_err().contains("arrival since 1970 is missing"));
    }
}
