//! Which end-to-end tests run at a time.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

/// Places for tests that run at one time; one that measures takes them all.
const PLACES: usize = 3;

static FREE: Mutex<usize> = Mutex::new(PLACES);
static FREED: Condvar = Condvar::new();

/// Places that are held, and given back with the value.
pub(crate) struct Held(usize);

impl Held {
    /// All places.
    pub(crate) fn all() -> Self {
        Self::wait_for(PLACES)
    }

    /// One place.
    pub(crate) fn one() -> Self {
        Self::wait_for(1)
    }

    fn wait_for(places: usize) -> Self {
        // A test that failed in its turn poisoned nothing that the next one uses.
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = FREED.wait_while(free, |free| *free < places);
        *enough.unwrap_or_else(PoisonError::into_inner) -= places;
        Self(places)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        FREED.notify_all();
    }
}

/// A test's directory, and its turn: whoever holds one is the only end-to-end test that runs, because it measures and must
/// not be disturbed.
pub struct Alone {
    dir: tempfile::TempDir,
    _held: Held,
}

/// A test's directory, and its place beside two others: for those that wait for what happens and count it, and for
/// whom a machine that has other work is as good.
pub struct Beside {
    dir: tempfile::TempDir,
    _held: Held,
}

impl Alone {
    /// Waits until no other test runs, and makes the directory.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it waits, which nobody expects of a default")]
    pub fn new() -> Self {
        let held = Held::all();
        Self { dir: directory(), _held: held }
    }

    /// The directory, removed with the value.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Beside {
    /// Waits until at most two such tests run, and makes the directory.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it waits, which nobody expects of a default")]
    pub fn new() -> Self {
        let held = Held::one();
        Self { dir: directory(), _held: held }
    }

    /// The directory, removed with the value.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory for the test")
}
