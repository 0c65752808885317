//! Memory-mapped files: the spool that outlives a killed worker, and the read-only mappings under feeders.
//!
//! All `unsafe` of the worker is here, in [`super::send_batch`] and in [`super::monotonic`]. What the mappings rely on is said at each block; the rest of the crate sees
//! plain slices.
#![expect(
    unsafe_code,
    reason = "a mapping is memory that the type system does not know; this file alone makes slices of it"
)]

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{Mmap, MmapOptions, MmapRaw};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Why a spool cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file system has no room. Found at creation, because a full disk under a mapping would be a SIGBUS later.
    #[error("the disk under {} has no room for the spool of {bytes} bytes", dir.display())]
    Full {
        /// Directory of the spool.
        dir: PathBuf,
        /// What is needed.
        bytes: u64,
    },
    /// Any other refusal of the file system.
    #[error("the spool {} cannot be {doing}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `created`, `locked`, `mapped`, ….
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl SpoolError {
    /// What the user can do about it.
    #[must_use]
    pub fn mend(&self) -> String {
        match self {
            Self::Full { dir, .. } => {
                format!("free space under {} or give the worker another state directory", dir.display())
            }
            Self::Io { path, .. } => format!(
                "make {} a directory that the worker may write to",
                path.parent().unwrap_or(path).display()
            ),
        }
    }
}

/// A file mapped shared and writable as counters: what is stored in it survives SIGKILL of the process.
///
/// The creator holds an exclusive lock on the file for as long as it lives, so that nobody takes a living worker's
/// spool for an orphan. All access is by atomics (relaxed ones are plain moves), so that the thread that counts and
/// the thread that reads never race.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    // The lock goes with the file.
    _file: File,
    map: MmapRaw,
}

impl Spool {
    /// Creates a spool of `words` 64-bit words, all zero, with its blocks reserved on disk.
    ///
    /// # Errors
    /// When the file exists, cannot be written, or the disk is full.
    pub fn create(path: &Path, words: u64) -> Result<Self, SpoolError> {
        let bytes = words * 8;
        let io = |doing| move |source| SpoolError::Io { path: path.to_owned(), doing, source };
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(io("created"))?;
        let made = reserve(&file, bytes).map_err(|errno| match errno {
            Errno::NOSPC | Errno::DQUOT => {
                SpoolError::Full { dir: path.parent().unwrap_or(path).to_owned(), bytes }
            }
            other => SpoolError::Io { path: path.to_owned(), doing: "reserved", source: other.into() },
        });
        let spool = made.and_then(|()| {
            file.try_lock().map_err(|e| io("locked")(e.into()))?;
            let map = MmapOptions::new().map_raw(&file).map_err(io("mapped"))?;
            Ok(Self { path: path.to_owned(), _file: file, map })
        });
        if spool.is_err() {
            // A spool that could not be made whole is nobody's orphan; failing to remove it changes nothing.
            let _ = std::fs::remove_file(path);
        }
        spool
    }

    /// Opens the spool of a worker that is gone; `None` while its worker lives.
    ///
    /// # Errors
    /// When the file cannot be opened, locked or mapped.
    pub fn open(path: &Path) -> Result<Option<Self>, SpoolError> {
        let io = |doing| move |source| SpoolError::Io { path: path.to_owned(), doing, source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io("opened"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(io("locked")(e)),
        }
        let map = MmapOptions::new().map_raw(&file).map_err(io("mapped"))?;
        Ok(Some(Self { path: path.to_owned(), _file: file, map }))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file as 64-bit words.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, lives as long as `self`, is written through atomics only, and its
        // length was fixed before it was mapped (a trailing part of a word is left out). The lock keeps other
        // processes of ours from shortening the file under it.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.map.len() / 8) }
    }

    /// The whole file as 32-bit counts: word `w` is counts `2w` and `2w + 1`. A place is used either as a word or as
    /// counts, never as both.
    #[must_use]
    pub fn counts(&self) -> &[AtomicU32] {
        // SAFETY: as in `words`; alignment of 4 follows from that of a page.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU32>(), self.map.len() / 8 * 2) }
    }

    /// Removes the file: all of it was published.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// Reserves the file's blocks, so that a store into the mapping never finds the disk full.
fn reserve(file: &File, bytes: u64) -> Result<(), Errno> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            // File systems without reservation: writing the zeros reserves them as well.
            let zeros = [0_u8; 64 * 1024];
            let mut at = 0;
            while at < bytes {
                let want = usize::try_from((bytes - at).min(zeros.len() as u64)).unwrap_or(zeros.len());
                let slice = zeros.get(..want).unwrap_or(&zeros);
                at += rustix::io::pwrite(file, slice, at)? as u64;
            }
            Ok(())
        }
        other => other,
    }
}

/// A file mapped read-only.
#[derive(Debug)]
pub struct MappedFile(Option<Mmap>);

impl MappedFile {
    /// Maps a file of the bundle.
    ///
    /// # Errors
    /// When it cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // A mapping of nothing is refused by some kernels.
        if file.metadata()?.len() == 0 {
            return Ok(Self(None));
        }
        // SAFETY: bundle files are content-addressed objects, written once under another name and renamed into
        // place; nobody of ours writes or shortens them afterwards.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self(Some(map)))
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}
