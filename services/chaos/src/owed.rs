//! Processes that were ended on purpose and are to run again: written down before they are ended, so that another life of
//! this service starts them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The list of a run, in a file of the state directory. Clones mean the same one.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    file: PathBuf,
    list: Arc<Mutex<List>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    run: String,
    processes: Vec<String>,
}

impl Owed {
    /// The list of a run, with what an earlier life of this service left of it. What is left of other runs is dropped: whoever
    /// started their processes has ended them.
    pub(crate) fn open(state_dir: &Path, run: &str) -> Self {
        let file = state_dir.join("owed.json");
        let kept: Option<List> = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let list = kept.filter(|kept| kept.run == run);
        let list = list.unwrap_or_else(|| List { run: run.to_owned(), processes: Vec::new() });
        Self { file, list: Arc::new(Mutex::new(list)) }
    }

    /// What is to run.
    pub(crate) fn processes(&self) -> Vec<String> {
        self.lock().processes.clone()
    }

    /// These are going to be ended.
    ///
    /// # Errors
    /// When it cannot be written down: then they must not be.
    pub(crate) fn add(&self, names: &[String]) -> Result<(), String> {
        self.change(|processes| processes.extend_from_slice(names))
    }

    /// These run.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(crate) fn remove(&self, names: &[String]) -> Result<(), String> {
        self.change(|processes| processes.retain(|process| !names.contains(process)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<String>)) -> Result<(), String> {
        let mut list = self.lock();
        change(&mut list.processes);
        let written = if list.processes.is_empty() { self.clear() } else { self.write(&list) };
        written.map_err(|error| {
            format!("{}: {error}: free space on its disk, or make it writable", self.file.display())
        })
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
    fn another_life_knows_what_one_run_is_owed() {
        let dir = tempfile::tempdir().unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Owed::open(dir.path(), "run 1").add(&names(&["a", "b"])).unwrap();
        let again = Owed::open(dir.path(), "run 1");
        assert_eq!(again.processes(), names(&["a", "b"]));
        assert_eq!(Owed::open(dir.path(), "run 2").processes(), names(&[]));
        again.remove(&names(&["a"])).unwrap();
        assert_eq!(Owed::open(dir.path(), "run 1").processes(), names(&["b"]));
        again.remove(&names(&["b"])).unwrap();
        assert_eq!(Owed::open(dir.path(), "run 1").processes(), names(&[]));
    }
}
