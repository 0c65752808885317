//! Why a process of the plan could not be started, with what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a process could not be started or did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plan names no program.
    #[error("process {name}: command is empty: expected a program and its arguments")]
    NoCommand {
        /// The process.
        name: String,
    },
    /// The program is not there.
    #[error("process {name}: program {program:?} not found: looked for {}: correct `command`, or install it", list(.looked))]
    NotFound {
        /// The process.
        name: String,
        /// As the plan writes it.
        program: String,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The file is there but is no program.
    #[error("process {name}: {} is not executable: expected a program (`chmod +x`?)", .path.display())]
    NotExecutable {
        /// The process.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// The working directory is not there.
    #[error("process {name}: directory {} does not exist: correct `dir`", .dir.display())]
    NoDirectory {
        /// The process.
        name: String,
        /// The directory.
        dir: PathBuf,
    },
    /// The ready check cannot be made.
    #[error("process {name}: ready check {problem}")]
    ReadyCheck {
        /// The process.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Somebody else is listening where the process is to listen.
    #[error("process {name}: something else is listening at {ready} already: end it, or choose another port")]
    Occupied {
        /// The process.
        name: String,
        /// The ready check.
        ready: String,
    },
    /// The log file cannot be written.
    #[error("process {name}: log file {}: {source}: choose a writable directory", .path.display())]
    LogFile {
        /// The process.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program that begins sessions is not there.
    #[error("process {name}: program \"setsid\" not found: looked for {}: install util-linux", list(.looked))]
    NoSetsid {
        /// The process.
        name: String,
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The system refused to start it.
    #[error("process {name}: {} cannot be started: {source}", .program.display())]
    Spawn {
        /// The process.
        name: String,
        /// The program as it was found.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("process {name}: ended before it was ready: {status}{}", last(.last_lines))]
    Exited {
        /// The process.
        name: String,
        /// `exit code 1`, `signal 9`.
        status: String,
        /// What it printed last.
        last_lines: Vec<String>,
    },
    /// It was not ready in time.
    #[error(
        "process {name}: not ready within {timeout:?}: {ready}: {seen}: correct `ready`, or raise `ready-timeout`{}",
        last(.last_lines)
    )]
    NotReady {
        /// The process.
        name: String,
        /// The ready check.
        ready: String,
        /// How long was waited.
        timeout: Duration,
        /// What the last attempt saw.
        seen: String,
        /// What it printed last.
        last_lines: Vec<String>,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn last(lines: &[String]) -> String {
    if lines.is_empty() {
        return "; it printed nothing".to_owned();
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("\n  | {line}")).collect();
    format!("; it printed last:{}", lines.concat())
}
