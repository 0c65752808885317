//! Taking disk space.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};
use rustix::io::Errno;

use crate::inject::{Refusal, limits};

/// Taken at once: between two steps, it is seen whether others have filled the disk meanwhile.
const STEP: u64 = 256 << 20;

/// A file that takes space. It is gone when dropped, or when the process dies; one with a name only when dropped.
pub(super) struct Filler {
    file: File,
    named: Option<PathBuf>,
    bytes: u64,
}

impl Filler {
    /// Takes `bytes` of the file system that `directory` is on, or less, so that `reserve` bytes stay available. Only where files
    /// without a name cannot be made does it have the name `path`.
    pub(super) fn make(directory: &Path, path: &Path, bytes: u64, reserve: u64) -> Result<Self, Refusal> {
        let wrong = |error: &io::Error| {
            let problem = format!("no file can be made in {}: {error}", directory.display());
            Refusal::new(problem, "name a directory where the agent may write")
        };
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let mut filler = match open(directory, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Self { file: file.into(), named: None, bytes: 0 },
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {
                Self::named(path).map_err(|error| wrong(&error))?
            }
            Err(error) => return Err(wrong(&error.into())),
        };
        filler.grow(directory, bytes, reserve)?;
        Ok(filler)
    }

    fn named(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
        Ok(Self { file, named: Some(path.to_owned()), bytes: 0 })
    }

    fn grow(&mut self, directory: &Path, bytes: u64, reserve: u64) -> Result<(), Refusal> {
        while self.bytes < bytes {
            let available = limits::available_space(directory).unwrap_or(0);
            let step = STEP.min(bytes - self.bytes).min(available.saturating_sub(reserve));
            if step == 0 {
                // Others fill it, too: then it is as full as it may be.
                break;
            }
            fallocate(&self.file, FallocateFlags::empty(), self.bytes, step).map_err(|error| {
                Refusal::new(
                    format!("{step} bytes of {} cannot be taken: {error}", directory.display()),
                    "name a file system that can allocate space (ext4, xfs, btrfs, tmpfs)",
                )
            })?;
            self.bytes += step;
        }
        if self.bytes == 0 {
            let problem = format!(
                "less than the {reserve} bytes that must stay are available in {}",
                directory.display()
            );
            return Err(Refusal::new(problem, "make room, or lower the agent's reserve"));
        }
        Ok(())
    }

    /// What it has.
    pub(super) fn text(&self) -> String {
        match &self.named {
            None => format!("{} bytes are taken by a file without a name", self.bytes),
            Some(path) => format!("{} bytes are taken by {}", self.bytes, path.display()),
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            // If not now, whoever undoes the fault removes it.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_a_name_or_without_it_is_gone_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("filler");
        let mut named = Filler::named(&path).unwrap();
        named.grow(dir.path(), 65_536, 0).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 65_536);
        assert!(Filler::named(&path).is_err(), "another's file is not taken");
        drop(named);
        assert!(!path.exists());
        let unnamed = Filler::make(dir.path(), &path, 4096, 0).unwrap();
        assert_eq!(unnamed.bytes, 4096);
        let refusal = Filler::make(dir.path(), &path, 4096, u64::MAX).err().unwrap();
        assert!(refusal.problem.starts_with("less than "), "{}", refusal.problem);
        drop(unnamed);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
