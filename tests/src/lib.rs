//! What the end-to-end tests share: the real programs, started on free loopback ports and stopped by whoever
//! started them, also when a test fails.
#![forbid(unsafe_code)]

pub mod core;
pub mod faults;
pub mod gauntlet;
pub mod link;
pub mod listeners;
pub mod network;
pub mod nginx;
pub mod setting;
pub mod suite;
pub mod wait;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A test's directory, and its turn: whoever holds one is the only end-to-end test that runs, because they measure
/// and must not measure each other.
pub struct Alone {
    dir: tempfile::TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Alone {
    /// Waits for the turn and makes the directory.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    #[expect(clippy::new_without_default, reason = "it waits, which nobody expects of a default")]
    pub fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // A test that failed in its turn poisoned nothing that the next one uses.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { dir: tempfile::tempdir().expect("a directory for the test"), _turn: turn }
    }

    /// The directory, removed with the value.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// A program that `cargo xtask test` has built beside the test's own executable.
///
/// # Panics
/// When it is not there.
#[must_use]
#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    // target/<profile>/deps/it-…
    let program = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>").join(name);
    assert!(program.is_file(), "{} is not built: run `cargo xtask test`", program.display());
    program
}

/// Sends a signal to a process that this test started.
pub fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // A process that is gone already needs none.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
