//! What is to be undone, on disk before it is done.
//!
//! A file of JSON lines. Each line is on disk (fsync) before what it announces happens: `begin` before a fault touches
//! anything, `more` before it touches another process, `done` after its undo was seen. So whatever dies at whatever moment,
//! what is in effect is in the journal. A last line without its end was being written when the writer died: what it announces
//! has not happened.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use platform::identity::ProcessId;
use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::state_dir::StateDir;
use crate::wire::How;

/// Space that the journal has from the start, so that a fault that fills the disk cannot keep it from saying what is done.
const SPACE: u64 = 1 << 20;

/// A fault and how to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) action: Action,
    pub(crate) undo: Undo,
    /// All processes that it acts on.
    pub(crate) victims: Vec<ProcessId>,
    /// When it ends at the latest, in milliseconds of Unix time. Timers run on another clock: this is for readers.
    pub(crate) expires_ms: u64,
    /// The boot in which it began.
    pub(crate) boot: String,
}

/// How a fault is undone. Each can be done again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Undo {
    /// The victims are let go on.
    Continue,
    /// Files get back what they held.
    Restore(Vec<Before>),
    /// Our own process that carries it out is ended, and the file that it may have made is removed.
    EndHog { filler: Option<PathBuf> },
    /// There is nothing to undo.
    Nothing,
}

/// What a file held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(crate) file: PathBuf,
    pub(crate) content: String,
}

/// The end of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) id: String,
    pub(crate) how: How,
    pub(crate) at_ms: u64,
    pub(crate) undo_ms: u64,
    pub(crate) verified: String,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Record {
    Begin(Entry),
    More { id: String, victims: Vec<ProcessId> },
    Done(Done),
}

/// What a journal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// The faults in the order in which they began, each with its end, if it has one.
    pub(crate) faults: Vec<(Entry, Option<Done>)>,
    /// Lines before the last that cannot be read, and what is wrong with each.
    pub(crate) damaged: Vec<String>,
    /// Bytes up to the end of the last whole line.
    whole: u64,
}

/// The journal, open for writing. Only the holder of the directory's lock may have it.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: StateDir,
    file: File,
    /// Where the next line begins.
    end: u64,
}

/// Reads the journal; one that is not there is empty.
pub(crate) fn read(dir: &StateDir) -> io::Result<Replayed> {
    match fs::read(dir.journal()) {
        Ok(bytes) => Ok(replay(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Replayed::default()),
        Err(error) => Err(error),
    }
}

fn replay(bytes: &[u8]) -> Replayed {
    let mut replayed = Replayed::default();
    // After a crash of the machine a file may end with zeros where its last bytes should be.
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let bytes = &bytes[..written];
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    replayed.whole = whole as u64;
    let lines = bytes[..whole].split(|byte| *byte == b'\n').enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(Record::Begin(entry)) => {
                // A name used anew after its end.
                replayed.faults.retain(|(known, _)| known.id != entry.id);
                replayed.faults.push((entry, None));
            }
            Ok(Record::More { id, victims }) => {
                if let Some((entry, _)) = replayed.faults.iter_mut().find(|(entry, _)| entry.id == id) {
                    entry.victims.extend(victims);
                }
            }
            Ok(Record::Done(done)) => {
                if let Some(fault) = replayed.faults.iter_mut().find(|(entry, _)| entry.id == done.id) {
                    fault.1 = Some(done);
                }
            }
            Err(error) => replayed.damaged.push(format!("line {} is no record: {error}", index + 1)),
        }
    }
    replayed
}

impl Journal {
    /// Opens it, with what it says.
    pub(crate) fn open(dir: &StateDir) -> io::Result<(Self, Replayed)> {
        let path = dir.journal();
        let file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path)?;
        // Also when it was there: its maker may have died before this.
        file.sync_all()?;
        dir.sync()?;
        let replayed = replay(&fs::read(path)?);
        let mut journal = Self { dir: dir.clone(), file, end: replayed.whole };
        journal.reserve();
        journal.trim()?;
        Ok((journal, replayed))
    }

    /// Adds a line; it is on disk on return. When that fails, the journal is as before.
    pub(crate) fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        // What an append that failed has left.
        self.trim()?;
        self.file.write_all_at(&line, self.end)?;
        self.file.sync_data()?;
        self.end += line.len() as u64;
        Ok(())
    }

    /// Replaces it by one that has only these faults; whoever looks sees the old or the new one.
    pub(crate) fn keep_only(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut bytes, &Record::Begin(entry.clone()))?;
            bytes.push(b'\n');
        }
        let new = self.dir.path().join("journal.new");
        let file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&new)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.journal())?;
        self.dir.sync()?;
        self.file = file;
        self.end = bytes.len() as u64;
        self.reserve();
        Ok(())
    }

    fn trim(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() != self.end {
            self.file.set_len(self.end)?;
            self.reserve();
        }
        Ok(())
    }

    /// Some file systems cannot: there, a full disk is met when it is full.
    fn reserve(&self) {
        let _ = fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, SPACE);
    }
}

#[cfg(test)]
mod tests;
