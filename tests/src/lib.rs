//! What the end-to-end tests share: the real programs, started on free loopback ports and stopped by whoever
//! started them, also when a test fails.
#![forbid(unsafe_code)]

pub mod bare_server;
pub mod core;
pub mod faults;
pub mod gauntlet;
pub mod link;
pub mod listeners;
pub mod mcp_cluster;
pub mod mcp_servers;
pub mod network;
pub mod nginx;
pub mod setting;
pub mod suite;
pub mod turn;
pub mod wait;

use std::path::PathBuf;

pub use turn::{Alone, Beside};

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
