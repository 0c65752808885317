//! The independent checker: looks at the system for anything of ours that is in effect.
//!
//! It asks no agent. From the journal it takes whom and what to look at, never how that is.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use platform::identity::{ProcessId, State};

use crate::inject::{FILLER, clock};
use crate::journal::{self, Entry, Undo};
use crate::ours::{self, Ours, Role};
use crate::state_dir::StateDir;
use crate::takeover;

/// Where to look beside the state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// Directories that a fault may have filled.
    pub disks: Vec<PathBuf>,
    /// Processes that may have been stopped, each for its whole session.
    pub victims: Vec<ProcessId>,
    /// Clock files that should hold no offset.
    pub clocks: Vec<PathBuf>,
}

/// Something of ours that is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A fault is in the journal and not noted as undone.
    NotDone {
        /// The fault.
        fault: String,
        /// What it does.
        action: String,
    },
    /// The journal has lines that cannot be read.
    Damaged {
        /// What is wrong.
        detail: String,
    },
    /// A victim is stopped.
    Stopped {
        /// The process.
        process: ProcessId,
        /// The fault that had it stopped, as far as is known.
        fault: Option<String>,
    },
    /// A clock file holds an offset.
    Clock {
        /// The file.
        file: PathBuf,
        /// The offset in milliseconds; `None` = it cannot be read as one.
        offset_ms: Option<i64>,
    },
    /// A process of ours carries out a fault.
    Hog {
        /// The process.
        process: ProcessId,
        /// The fault.
        fault: String,
    },
    /// A file of ours is left.
    File {
        /// The file.
        path: PathBuf,
    },
    /// An agent has lost its controller, or a guardian its agent.
    Orphan {
        /// The process.
        process: ProcessId,
        /// `agent` or `guardian`.
        role: &'static str,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDone { fault, action } => write!(formatter, "fault {fault} is not undone: {action}"),
            Self::Damaged { detail } => write!(formatter, "the journal is damaged: {detail}"),
            Self::Stopped { process, fault: Some(fault) } => {
                write!(formatter, "process {process} is stopped, as fault {fault} had it")
            }
            Self::Stopped { process, fault: None } => write!(formatter, "process {process} is stopped"),
            Self::Clock { file, offset_ms: Some(offset) } => {
                write!(formatter, "clock file {} holds {offset} ms", file.display())
            }
            Self::Clock { file, offset_ms: None } => {
                write!(formatter, "clock file {} does not hold what it did", file.display())
            }
            Self::Hog { process, fault } => write!(formatter, "process {process} carries out fault {fault}"),
            Self::File { path } => write!(formatter, "file {} is left", path.display()),
            Self::Orphan { process, role } => write!(formatter, "{role} {process} works for nobody"),
        }
    }
}

/// Looks, and says all that it finds; nothing found = nothing of ours is in effect.
///
/// # Errors
/// When the state directory is not there or cannot be read.
pub fn check(state_dir: &Path, options: &CheckOptions) -> io::Result<Vec<Finding>> {
    let dir = StateDir::existing(state_dir)?;
    let mut findings = Vec::new();
    let replayed = journal::read(&dir)?;
    findings.extend(replayed.damaged.iter().map(|detail| Finding::Damaged { detail: detail.clone() }));
    let aside = dir.path().join("journal.damaged");
    if aside.exists() {
        findings.push(Finding::Damaged {
            detail: format!("lines that could not be read are in {}", aside.display()),
        });
    }
    let mut disks = options.disks.clone();
    for (entry, done) in &replayed.faults {
        if done.is_none() {
            findings.push(Finding::NotDone { fault: entry.id.clone(), action: entry.action.to_string() });
        }
        findings.extend(of_fault(entry));
        if let Undo::EndHog { filler: Some(filler) } = &entry.undo {
            disks.extend(filler.parent().map(Path::to_owned));
        }
    }
    for leader in &options.victims {
        let members = platform::identity::members(leader)?;
        findings.extend(
            members
                .iter()
                .filter(|member| stopped(member))
                .map(|process| Finding::Stopped { process: process.clone(), fault: None }),
        );
    }
    findings.extend(options.clocks.iter().filter_map(|file| match clock::read(file) {
        Some(0) => None,
        // Gone with its process.
        None if !file.exists() => None,
        offset_ms => Some(Finding::Clock { file: file.clone(), offset_ms }),
    }));
    disks.sort();
    disks.dedup();
    findings.extend(disks.iter().flat_map(|directory| files(directory, FILLER)));
    findings.extend(processes(&dir));
    Ok(findings)
}

fn of_fault(entry: &Entry) -> Vec<Finding> {
    match &entry.undo {
        Undo::Continue => entry
            .victims
            .iter()
            .filter(|victim| stopped(victim))
            .map(|victim| Finding::Stopped { process: victim.clone(), fault: Some(entry.id.clone()) })
            .collect(),
        Undo::Restore(files) => files
            .iter()
            .filter_map(|before| match fs::read_to_string(&before.file) {
                Ok(content) if content == before.content => None,
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                _ => Some(Finding::Clock { file: before.file.clone(), offset_ms: clock::read(&before.file) }),
            })
            .chain(
                files
                    .iter()
                    .map(|before| clock::new(&before.file))
                    .filter(|path| path.exists())
                    .map(|path| Finding::File { path }),
            )
            .collect(),
        Undo::EndHog { .. } | Undo::Nothing => Vec::new(),
    }
}

/// What cannot be looked at is no process of the user who runs the check, nor a victim of his agent.
fn stopped(process: &ProcessId) -> bool {
    let state = process.open().and_then(|handle| handle.map(|handle| handle.state()).transpose());
    matches!(state, Ok(Some(State::Stopped)))
}

fn files(directory: &Path, prefix: &str) -> Vec<Finding> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| Finding::File { path: entry.path() })
        .collect()
}

fn processes(dir: &StateDir) -> Vec<Finding> {
    let ours = ours::find(dir);
    let holder = dir.holder();
    let works_for_nobody = |process: &Ours| match process.role {
        Role::Hog => false,
        Role::Guardian => !ours.iter().any(|it| it.role == Role::Agent && it.id.pid == process.parent),
        Role::Agent => match &holder {
            Some(holder) if holder.agent == process.id => {
                takeover::orphaned(&holder.agent, &holder.controller)
            }
            // One that is about to begin.
            _ => process.parent <= 1,
        },
    };
    let mut findings = Vec::new();
    for process in &ours {
        let id = process.id.clone();
        match process.role {
            Role::Hog => {
                findings.push(Finding::Hog { process: id, fault: process.fault.clone().unwrap_or_default() });
            }
            Role::Agent if works_for_nobody(process) => {
                findings.push(Finding::Orphan { process: id, role: "agent" });
            }
            Role::Guardian if works_for_nobody(process) => {
                findings.push(Finding::Orphan { process: id, role: "guardian" });
            }
            Role::Agent | Role::Guardian => {}
        }
    }
    findings
}
