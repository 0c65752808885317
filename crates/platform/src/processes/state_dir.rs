//! The state directory: what is known of instances, in files, so that any process can take it up.
//!
//! | file | |
//! |---|---|
//! | `<name>.json` | the instance; written only by who holds its lock |
//! | `<name>.lock` | locked while it is defined, started or stopped |
//! | `<name>.<generation>.asked` | it was to end: by whoever asks, before he acts |
//! | `<name>.<generation>.exit` | how it ended: by whoever spawned it, who alone is told |
//! | `<name>.clock` | its clock's offset |
//!
//! Each is replaced as a whole, never written in place; the record is on disk before anybody acts on it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Spec;
use crate::PlatformError;
use crate::identity::ProcessId;
use crate::instance::{Asked, Clock, InstanceId};

/// Format of records; another is refused.
const FORMAT: u32 = 1;
/// How often a lock that somebody else has is tried.
const LOOK: Duration = Duration::from_millis(5);

/// What is known of an instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) id: InstanceId,
    pub(super) spec: Spec,
    /// The program as it was found.
    pub(super) program: PathBuf,
    /// Where the spec's relative paths begin.
    pub(super) base_dir: PathBuf,
    pub(super) log: PathBuf,
    /// It runs for this process: when that has ended, it is to end.
    pub(super) owner: ProcessId,
    /// How often it was started; 0 = never.
    pub(super) generation: u32,
    /// Its session's leader; absent while it is being spawned.
    pub(super) process: Option<ProcessId>,
    /// Who spawned it, and is told how it ends.
    pub(super) spawner: Option<ProcessId>,
    pub(super) started_unix_ms: u64,
    /// Where its log began with this generation.
    pub(super) log_from: u64,
    pub(super) clock: Option<Clock>,
}

impl Record {
    pub(super) fn new(id: InstanceId, spec: Spec, owner: ProcessId) -> Self {
        Self {
            format: FORMAT,
            id,
            spec,
            program: PathBuf::new(),
            base_dir: PathBuf::new(),
            log: PathBuf::new(),
            owner,
            generation: 0,
            process: None,
            spawner: None,
            started_unix_ms: 0,
            log_from: 0,
            clock: None,
        }
    }

    pub(super) fn name(&self) -> String {
        self.id.to_string()
    }
}

/// How a generation ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exit {
    pub(super) status: String,
}

/// An instance locked against others who start or stop it; until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

#[derive(Clone, Debug)]
pub(super) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes the directory, for us alone, unless it is there.
    pub(super) fn create(path: &Path) -> Result<Self, PlatformError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|source| PlatformError::State { path: path.to_owned(), source })?;
        Self::open(path)
    }

    pub(super) fn open(path: &Path) -> Result<Self, PlatformError> {
        let found = path.canonicalize().and_then(|found| {
            let is_dir = found.metadata()?.is_dir();
            if is_dir { Ok(found) } else { Err(io::ErrorKind::NotADirectory.into()) }
        });
        found
            .map(|path| Self { path })
            .map_err(|source| PlatformError::State { path: path.to_owned(), source })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, id: &InstanceId, ending: &str) -> PathBuf {
        self.path.join(format!("{id}.{ending}"))
    }

    pub(super) fn clock_file(&self, id: &InstanceId) -> PathBuf {
        self.file(id, "clock")
    }

    /// What the environment of an instance's processes is marked with.
    pub(super) fn mark(&self, id: &InstanceId, generation: u32) -> String {
        format!("{}/{id}#{generation}", self.path.display())
    }

    /// All names, in order.
    pub(super) fn names(&self) -> Result<Vec<InstanceId>, PlatformError> {
        let mut names = Vec::new();
        for name in self.listed()? {
            if let Some(name) = name.strip_suffix(".json")
                && let Ok(id) = InstanceId::new(name)
            {
                names.push(id);
            }
        }
        names.sort();
        Ok(names)
    }

    fn listed(&self) -> Result<Vec<String>, PlatformError> {
        let wrong = |source| PlatformError::State { path: self.path.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(wrong)? {
            names.extend(entry.map_err(wrong)?.file_name().into_string());
        }
        Ok(names)
    }

    /// All records, in order of name; one that is removed meanwhile is left out.
    pub(super) fn records(&self) -> Result<Vec<Record>, PlatformError> {
        let mut records = Vec::new();
        for id in self.names()? {
            records.extend(self.record(&id)?);
        }
        Ok(records)
    }

    /// The record of an instance, if it is known.
    pub(super) fn record(&self, id: &InstanceId) -> Result<Option<Record>, PlatformError> {
        let path = self.file(id, "json");
        let record: Option<Record> = read(&path)?;
        if let Some(record) = &record
            && (record.format != FORMAT || record.id != *id)
        {
            let problem = format!(
                "expected format {FORMAT} of {id}, found {} of {}: it is another version's",
                record.format, record.id
            );
            return Err(PlatformError::Record { path, problem });
        }
        Ok(record)
    }

    /// The record of an instance that has to be known.
    pub(super) fn known(&self, id: &InstanceId) -> Result<Record, PlatformError> {
        match self.record(id)? {
            Some(record) => Ok(record),
            None => Err(PlatformError::Unknown {
                name: id.to_string(),
                dir: self.path.clone(),
                known: self.names()?.iter().map(ToString::to_string).collect(),
            }),
        }
    }

    /// Writes a record; on disk on return.
    pub(super) fn write(&self, record: &Record) -> Result<(), PlatformError> {
        self.replace(&self.file(&record.id, "json"), &json(record)?, true)
    }

    /// How a generation ended, if its spawner has said so.
    pub(super) fn exit(&self, record: &Record) -> Option<Exit> {
        self.exit_of(&record.id, record.generation)
    }

    pub(super) fn exit_of(&self, id: &InstanceId, generation: u32) -> Option<Exit> {
        read(&self.file(id, &format!("{generation}.exit"))).ok().flatten()
    }

    pub(super) fn write_exit(
        &self,
        id: &InstanceId,
        generation: u32,
        exit: &Exit,
    ) -> Result<(), PlatformError> {
        self.replace(&self.file(id, &format!("{generation}.exit")), &json(exit)?, false)
    }

    /// What was asked of a generation.
    pub(super) fn asked(&self, id: &InstanceId, generation: u32) -> Option<Asked> {
        read(&self.file(id, &format!("{generation}.asked"))).ok().flatten()
    }

    pub(super) fn ask(&self, record: &Record, asked: Asked) -> Result<(), PlatformError> {
        self.replace(&self.file(&record.id, &format!("{}.asked", record.generation)), &json(&asked)?, false)
    }

    /// Sets the offset of its clock to none.
    pub(super) fn reset_clock(&self, id: &InstanceId) -> Result<(), PlatformError> {
        self.replace(&self.clock_file(id), b"+0\n", false)
    }

    /// Removes notes on former generations.
    pub(super) fn forget_past(&self, id: &InstanceId) -> Result<(), PlatformError> {
        for name in self.listed()? {
            let generation = name.strip_prefix(id.as_str()).and_then(|rest| rest.strip_prefix('.'));
            let generation = generation
                .and_then(|rest| rest.strip_suffix(".exit").or_else(|| rest.strip_suffix(".asked")));
            if generation.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit())) {
                remove(&self.path.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes all that is known of an instance. The lock goes last: it is held.
    pub(super) fn forget(&self, id: &InstanceId) -> Result<(), PlatformError> {
        self.forget_past(id)?;
        for ending in ["json", "clock", "lock"] {
            remove(&self.file(id, ending))?;
        }
        Ok(())
    }

    /// Locks an instance; waits at most so long for others.
    pub(super) async fn lock(&self, id: &InstanceId, at_most: Duration) -> Result<Lock, PlatformError> {
        let path = self.file(id, "lock");
        let wrong = |source| PlatformError::State { path: path.clone(), source };
        let deadline = Instant::now() + at_most;
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(wrong)?;
            match file.try_lock() {
                // Whoever forgot the instance removed the file that we waited for: then ours protects nothing.
                Ok(()) if is_at(&file, &path) => return Ok(Lock { _file: file }),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(LOOK).await;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(PlatformError::Busy { name: id.to_string(), waited: at_most });
                }
                Err(TryLockError::Error(source)) => return Err(wrong(source)),
            }
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), PlatformError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let new = self.path.join(format!(".{}-{number}.new", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            if durable {
                file.sync_all()?;
            }
            fs::rename(&new, path)?;
            if durable { File::open(&self.path)?.sync_all() } else { Ok(()) }
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&new);
            PlatformError::State { path: path.to_owned(), source }
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, PlatformError> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| PlatformError::Record { path: PathBuf::new(), problem: error.to_string() })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, PlatformError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PlatformError::State { path: path.to_owned(), source }),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| PlatformError::Record { path: path.to_owned(), problem: error.to_string() })
}

fn remove(path: &Path) -> Result<(), PlatformError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PlatformError::State { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Whether this open file is the one that the path names.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}
