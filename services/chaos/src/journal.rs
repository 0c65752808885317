//! The faults that are there, written down before they begin: so that another life of this service tells how those ended
//! that this one held when it was killed, and starts again what they had ended.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A fault that begins, and by what it is known where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holding {
    /// Its id.
    pub(crate) fault: String,
    /// Its target's name in the plan.
    pub(crate) target: String,
    /// The fault agent's names of it.
    pub(crate) agent: Vec<String>,
    /// The proxies that it is done to.
    pub(crate) proxies: Vec<String>,
    /// Processes that it ends, which are to run again.
    pub(crate) processes: Vec<String>,
}

/// The faults of a run, in a file of the state directory. Clones mean the same one.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    file: PathBuf,
    list: Arc<Mutex<List>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    run: String,
    faults: Vec<Holding>,
}

impl Journal {
    /// The journal of a run, with what an earlier life of this service left of it. What is left of other runs is dropped:
    /// whoever started their processes has ended them.
    pub(crate) fn open(state_dir: &Path, run: &str) -> Self {
        let file = state_dir.join("faults.json");
        let kept: Option<List> = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let list = kept.filter(|kept| kept.run == run);
        let list = list.unwrap_or_else(|| List { run: run.to_owned(), faults: Vec::new() });
        Self { file, list: Arc::new(Mutex::new(list)) }
    }

    /// What has begun, and is not known to be over.
    pub(crate) fn faults(&self) -> Vec<Holding> {
        self.lock().faults.clone()
    }

    /// It is going to begin.
    ///
    /// # Errors
    /// When that cannot be written down: then it must not.
    pub(crate) fn begin(&self, holding: Holding) -> Result<(), String> {
        self.change(|faults| {
            faults.retain(|known| known.fault != holding.fault);
            faults.push(holding);
        })
        .map_err(|error| {
            format!("{}: {error}: free space on its disk, or make it writable", self.file.display())
        })
    }

    /// It is over, and that is known to others.
    pub(crate) fn end(&self, fault: &str) {
        let known = |faults: &[Holding]| faults.iter().any(|known| known.fault == fault);
        if !known(&self.lock().faults) {
            return;
        }
        if let Err(error) = self.change(|faults| faults.retain(|known| known.fault != fault)) {
            // The worst that comes of it: another life of this service tells its end again.
            tracing::warn!(fault, %error, file = %self.file.display(), "that a fault is over cannot be written down");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Holding>)) -> io::Result<()> {
        let mut list = self.lock();
        change(&mut list.faults);
        if list.faults.is_empty() { self.clear() } else { self.write(&list) }
    }

    fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, list: &List) -> io::Result<()> {
        let fresh = self.file.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(list)?)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_life_knows_what_one_held_of_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let holding = |fault: &str, process: &str| Holding {
            fault: fault.to_owned(),
            target: "shop".to_owned(),
            processes: vec![process.to_owned()],
            ..Holding::default()
        };
        let first = Journal::open(dir.path(), "run 1");
        first.begin(holding("dies", "a")).unwrap();
        first.begin(holding("hangs", "b")).unwrap();
        let again = Journal::open(dir.path(), "run 1");
        assert_eq!(again.faults(), [holding("dies", "a"), holding("hangs", "b")]);
        assert_eq!(Journal::open(dir.path(), "run 2").faults(), []);
        // It comes anew, to another.
        again.begin(holding("dies", "c")).unwrap();
        again.end("hangs");
        again.end("never begun");
        assert_eq!(Journal::open(dir.path(), "run 1").faults(), [holding("dies", "c")]);
        again.end("dies");
        assert_eq!(Journal::open(dir.path(), "run 1").faults(), []);
    }
}
