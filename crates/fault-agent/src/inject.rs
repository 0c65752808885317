//! Beginning a fault: first what is refused, without touching anything; then, once the journal has it, the deed.

use std::path::PathBuf;

use platform::identity::ProcessId;

use crate::action::{Action, Take};
use crate::journal::Undo;
use crate::settings::Settings;

pub(crate) mod clock;
pub(crate) mod kill;
pub(crate) mod limits;
pub(crate) mod pause;
pub(crate) mod victims;

/// Why something is refused, and what would make it pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) problem: String,
    pub(crate) mend: String,
}

impl Refusal {
    pub(crate) fn new(problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { problem: problem.into(), mend: mend.into() }
    }
}

/// A fault that may begin once the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) undo: Undo,
    pub(crate) victims: Vec<ProcessId>,
    /// What is to be done by a process of our own.
    pub(crate) work: Option<Work>,
}

/// What a hog does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Cpu { threads: u32 },
    Memory { bytes: u64 },
    Connections { address: std::net::SocketAddr, count: u32 },
    Disk { directory: PathBuf, filler: PathBuf, bytes: u64, reserve: u64 },
}

/// Looks whether the fault can be, here and now.
pub(crate) fn prepare(id: &str, action: &Action, settings: &Settings) -> Result<Prepared, Refusal> {
    let hog = |work: Work, filler: Option<PathBuf>| Prepared {
        undo: Undo::EndHog { filler },
        victims: Vec::new(),
        work: Some(work),
    };
    Ok(match action {
        Action::Pause { victims } => {
            Prepared { undo: Undo::Continue, victims: pause::victims(victims)?, work: None }
        }
        Action::Kill { victims } => {
            Prepared { undo: Undo::Nothing, victims: victims::of_sessions(victims)?, work: None }
        }
        Action::Clock { clocks, .. } => Prepared {
            undo: Undo::Restore(clock::before(clocks)?),
            victims: clocks.iter().map(|clock| clock.victim.clone()).collect(),
            work: None,
        },
        Action::Cpu { threads } => hog(Work::Cpu { threads: limits::threads(*threads)? }, None),
        Action::Memory { bytes } => {
            hog(Work::Memory { bytes: limits::memory(*bytes, settings.memory_reserve)? }, None)
        }
        Action::Connections { address, count } => {
            hog(Work::Connections { address: *address, count: limits::connections(*count)? }, None)
        }
        Action::Disk { directory, take } => {
            let (directory, bytes) = limits::disk(directory, *take, settings.disk_reserve)?;
            let reserve = match take {
                Take::Bytes(_) => settings.disk_reserve,
                Take::AllBut(leave) => *leave,
            };
            let filler = directory.join(format!("{FILLER}{id}"));
            hog(Work::Disk { directory, filler: filler.clone(), bytes, reserve }, Some(filler))
        }
    })
}

/// How the names of our files on file systems that are filled begin.
pub(crate) const FILLER: &str = ".gauntlet-fault-filler-";
