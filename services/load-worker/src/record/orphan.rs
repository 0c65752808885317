//! Spools of workers that were killed.

use std::path::{Path, PathBuf};

use protocol::v1;

use super::run_spool::{Owner, RunSpool};
use crate::io::spool::{Spool, SpoolError};

/// A dead worker's spool with what it had counted and not yet published.
#[derive(Debug)]
pub struct Orphan(RunSpool);

/// A spool that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OrphanError {
    /// The file system refuses.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The directory cannot be listed.
    #[error("the spools in {} cannot be listed: {source}", dir.display())]
    List {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no spool of this version.
    #[error("the spool {} cannot be read: {reason}; move it away if its samples are not wanted", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
}

/// The spools in `dir` whose workers are gone. Those of living workers are left alone; a directory that does not exist
/// has none. One that cannot be read is reported and left where it is.
#[must_use]
pub fn orphans(dir: &Path) -> (Vec<Orphan>, Vec<OrphanError>) {
    let list = |source| OrphanError::List { dir: dir.to_owned(), source };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return (Vec::new(), Vec::new()),
        Err(e) => return (Vec::new(), vec![list(e)]),
    };
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for entry in entries {
        match entry.map_err(list).map(|e| e.path()) {
            Ok(path) if path.extension().is_some_and(|e| e == "spool") => match adopt(&path) {
                Ok(Some(orphan)) => found.push(orphan),
                Ok(None) => {}
                Err(e) => problems.push(e),
            },
            Ok(_) => {}
            Err(e) => problems.push(e),
        }
    }
    (found, problems)
}

fn adopt(path: &Path) -> Result<Option<Orphan>, OrphanError> {
    let Some(spool) = Spool::open(path)? else { return Ok(None) };
    match RunSpool::adopt(spool) {
        Ok(Some(spool)) => Ok(Some(Orphan(spool))),
        // Killed while it was being created: there is nothing to lose.
        Ok(None) => std::fs::remove_file(path)
            .map(|()| None)
            .map_err(|source| SpoolError::Io { path: path.to_owned(), doing: "removed", source }.into()),
        Err(reason) => Err(OrphanError::Damaged { path: path.to_owned(), reason }),
    }
}

impl Orphan {
    /// Whose samples it holds.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.0.owner()
    }

    /// Its batches, in order, each list one sequence with its parts. To be published under (worker, incarnation,
    /// sequence, part): what the dead worker had published before is refused as a duplicate. The wanted rate died
    /// with the worker; what was scheduled stands in for it.
    #[must_use]
    pub fn batches(&self) -> Vec<(u64, Vec<v1::SampleBatch>)> {
        let Owner { run, worker, .. } = self.owner();
        let mut intervals = self.0.read_all();
        // Halves opened after the end of a phase belong to none.
        intervals.retain(|i| !i.between);
        let count = intervals.len();
        (1..)
            .zip(intervals)
            .map(|(n, interval)| {
                let seconds = interval.end_ns().saturating_sub(interval.start_ns()) as f64 / 1e9;
                let head = v1::SampleBatch {
                    run: run.to_bytes(),
                    worker: worker.to_bytes(),
                    wanted_rate: if seconds > 0.0 {
                        interval.arrivals.scheduled as f64 / seconds
                    } else {
                        0.0
                    },
                    from_spool: true,
                    merged_intervals: 1,
                    // Nothing more comes from that life of the worker.
                    last: n == count,
                    ..v1::SampleBatch::default()
                };
                (interval.sequence, interval.into_batches(self.0.layout(), &head))
            })
            .collect()
    }

    /// Removes it: all its batches are durable.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(self) -> std::io::Result<()> {
        self.0.remove()
    }
}
