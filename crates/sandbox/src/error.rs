//! What can go wrong, in words that name the guest, what was found, what was expected and the mend.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::abi;

/// The host itself could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// wasmtime refused its configuration.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// The ticker thread could not be started.
    #[error("the thread that times guests does not start")]
    Ticker(#[source] io::Error),
    /// The cache of compiled guests cannot be used.
    #[error("the cache of compiled guests at {path} cannot be used: {message}")]
    Cache {
        /// Its folder.
        path: PathBuf,
        /// Why not, and the mend.
        message: String,
    },
}

/// A guest could not be loaded. All of them are found before a run starts.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the guest {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is over the limit.
    #[error("the guest {path} has more than {limit} bytes; build it in release mode and strip it")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, bytes.
        limit: u64,
    },
    /// The file is something else.
    #[error("{path} is not a WebAssembly component: it is {found}; {mend}")]
    NotAComponent {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What to do.
        mend: String,
    },
    /// It is a component, but not of our world, or of another version of it.
    #[error("the guest {path} does not fit gauntlet:scenario {version}:{}", list(.mismatches))]
    World {
        /// The file.
        path: PathBuf,
        /// The version that this build understands.
        version: &'static str,
        /// All that does not fit, each with its mend.
        mismatches: Vec<String>,
    },
    /// The compiler refused it, or was stopped.
    #[error("the guest {path} cannot be compiled: {message}")]
    Compile {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// It failed when it was asked what it is.
    #[error("the guest {path} was loaded, but {fault}")]
    Probe {
        /// The file.
        path: PathBuf,
        /// What it did.
        fault: Fault,
    },
    /// The compiled guest cannot be kept or handed over.
    #[error("cannot write the compiled guest to {path}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  - {line}")).collect()
}

/// A guest did what it must not. Its instance is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {message}")]
pub struct Fault {
    /// Which limit.
    pub kind: FaultKind,
    /// Which guest did what, in which call.
    pub message: String,
}

/// Which limit a guest has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A call spent more CPU time than it may.
    Deadline,
    /// It ran out of the memory it may have.
    Memory,
    /// A call said more than it may.
    Output,
    /// It trapped: a panic, a division by zero, an access out of bounds.
    Trap,
    /// What it said does not hold together.
    BadOutput,
}

impl FaultKind {
    /// Its name in events, reports and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Output => "output",
            Self::Trap => "trap",
            Self::BadOutput => "bad-output",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A guest did not take its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// It found these problems.
    #[error("the guest refuses its configuration:{}", problems(.0))]
    Problems(Vec<abi::Problem>),
    /// It failed over it.
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn problems(problems: &[abi::Problem]) -> String {
    let line = |problem: &abi::Problem| {
        let abi::Problem { path, message, mend } = problem;
        format!("\n  - {path}: {message}; {mend}")
    };
    problems.iter().map(line).collect()
}
