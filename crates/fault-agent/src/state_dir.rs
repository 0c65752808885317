//! The directory that agent, guardian and checker share.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use platform::identity::ProcessId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The state directory by its real path, which also marks our processes: see [`crate::ours`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateDir {
    path: PathBuf,
}

/// Held by whoever may undo what the journal says. The kernel lets it go when its holder dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Who works in the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// The agent.
    pub(crate) agent: ProcessId,
    /// Whoever started it and holds its other end.
    pub(crate) controller: ProcessId,
}

impl StateDir {
    /// Makes it if it is not there.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        // Nobody else may read whom we hit, or forge what is to be undone.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Self::existing(path)
    }

    /// One that is there.
    pub(crate) fn existing(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.canonicalize()? })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// Makes changes of its entries survive a crash of the machine.
    pub(crate) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// The lock, if nobody has it. Children do not inherit it: the file is closed when they execute.
    pub(crate) fn try_lock(&self) -> io::Result<Option<Lock>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes who works in it.
    pub(crate) fn set_holder(&self, holder: &Holder) -> io::Result<()> {
        let (path, new) = (self.holder_path(), self.path.join("agent.json.new"));
        fs::write(&new, serde_json::to_vec(holder)?)?;
        fs::rename(new, path)
    }

    /// Who worked in it last; `None` = nobody yet.
    pub(crate) fn holder(&self) -> Option<Holder> {
        serde_json::from_slice(&fs::read(self.holder_path()).ok()?).ok()
    }

    fn holder_path(&self) -> PathBuf {
        self.path.join("agent.json")
    }
}
