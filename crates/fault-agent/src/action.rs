//! What a fault does.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use platform::identity::ProcessId;
use serde::{Deserialize, Serialize};

/// What a fault does to this host. Every process is known beyond its pid, and stands for its whole session: it is the
/// leader of one, as `platform` starts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Stops all processes of the sessions (SIGSTOP), those that appear while it holds, too. Its undo lets those go on that
    /// it stopped; what was stopped by somebody else stays so.
    Pause {
        /// The sessions' leaders.
        victims: Vec<ProcessId>,
    },
    /// Kills all processes of the sessions (SIGKILL). There is nothing that the agent could undo: when the fault ends, whoever
    /// owns the processes decides whether they are started again.
    Kill {
        /// The sessions' leaders.
        victims: Vec<ProcessId>,
    },
    /// Puts the wall clock of processes forward or back, through the file that libfaketime reads there. Its undo writes
    /// what the files held before.
    Clock {
        /// The processes.
        clocks: Vec<Clock>,
        /// By how much, in milliseconds; negative = back.
        offset_ms: i64,
    },
    /// Threads that do nothing but use up CPU time, in one process.
    Cpu {
        /// How many: 1 to 4 for each core of the machine.
        threads: u32,
    },
    /// A process that takes memory and touches all of it. It is the first that the kernel ends when memory is short.
    Memory {
        /// How much, in bytes. What the machine has available less the agent's reserve is the most.
        bytes: u64,
    },
    /// A process that holds connections open to an address and never says anything: who listens there runs short of file
    /// descriptors. Those that are closed there are opened again.
    Connections {
        /// Where to.
        address: SocketAddr,
        /// How many. The limit on open files of the agent's processes is the most.
        count: u32,
    },
    /// A file that takes the space of a file system. It has no name where the file system can do that, so that it is gone
    /// with the process that holds it.
    Disk {
        /// A directory of the file system.
        directory: PathBuf,
        /// How much.
        take: Take,
    },
}

/// One process's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// The process.
    pub victim: ProcessId,
    /// The file that libfaketime reads in it, as its record says; `None` = it was not started with an adjustable clock,
    /// and the fault is refused.
    pub file: Option<PathBuf>,
}

/// How much of a file system a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Take {
    /// So many bytes.
    Bytes(u64),
    /// All that is available to users who are not root, but for so many bytes.
    AllBut(u64),
}

impl Action {
    /// Its kind, as it stands in messages: `pause`, `kill`, `clock`, `cpu`, `memory`, `connections`, `disk`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Kill { .. } => "kill",
            Self::Clock { .. } => "clock",
            Self::Cpu { .. } => "cpu",
            Self::Memory { .. } => "memory",
            Self::Connections { .. } => "connections",
            Self::Disk { .. } => "disk",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pids = |victims: &[ProcessId]| {
            victims.iter().map(|victim| victim.pid.to_string()).collect::<Vec<_>>().join(", ")
        };
        match self {
            Self::Pause { victims } => write!(formatter, "pause of {}", pids(victims)),
            Self::Kill { victims } => write!(formatter, "kill of {}", pids(victims)),
            Self::Clock { clocks, offset_ms } => {
                let victims: Vec<_> = clocks.iter().map(|clock| clock.victim.clone()).collect();
                write!(formatter, "clock of {} by {offset_ms} ms", pids(&victims))
            }
            Self::Cpu { threads } => write!(formatter, "{threads} threads of CPU time"),
            Self::Memory { bytes } => write!(formatter, "{bytes} bytes of memory"),
            Self::Connections { address, count } => write!(formatter, "{count} connections to {address}"),
            Self::Disk { directory, take: Take::Bytes(bytes) } => {
                write!(formatter, "{bytes} bytes of the disk under {}", directory.display())
            }
            Self::Disk { directory, take: Take::AllBut(bytes) } => {
                write!(formatter, "all but {bytes} bytes of the disk under {}", directory.display())
            }
        }
    }
}
