//! All processes of an instance, wherever they went.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::state_dir::{Record, StateDir};
use crate::identity::{self, Handle, ProcessId};
use crate::proc_fs;

/// The variable that marks the environment of what an instance starts.
pub(super) const MARK: &str = "GAUNTLET_PROCESS";

/// Every living process of a record's generation: the session, what descends from it, and whatever carries its mark. The
/// leader is first.
pub(super) fn all(dir: &StateDir, record: &Record) -> io::Result<Vec<ProcessId>> {
    if record.generation == 0 {
        return Ok(Vec::new());
    }
    let mut found = match &record.process {
        Some(leader) => identity::members(leader)?,
        None => Vec::new(),
    };
    let known: BTreeSet<u32> = found.iter().map(|process| process.pid).collect();
    let mark = format!("{MARK}={}", dir.mark(&record.id, record.generation));
    for stat in proc_fs::all() {
        if stat.ended() || known.contains(&stat.pid) || !is_marked(stat.pid, mark.as_bytes()) {
            continue;
        }
        match ProcessId::of(stat.pid) {
            // Else its pid was used anew since the look.
            Ok(process) if process.started_ticks == stat.started => found.push(process),
            _ => {}
        }
    }
    Ok(found)
}

fn is_marked(pid: u32, mark: &[u8]) -> bool {
    // Another user's is not ours to read, nor to end.
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

/// Opens those that have not ended.
pub(super) fn open(processes: &[ProcessId]) -> io::Result<Vec<Handle>> {
    let mut handles = Vec::new();
    for process in processes {
        handles.extend(process.open()?);
    }
    Ok(handles)
}
