//! The command as a user runs it, as far as it needs neither guests nor a target: what is refused, with which exit
//! code, and that nothing is left behind. Whole runs are in the `tests` crate.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod bad_input;
mod looking;

use std::path::Path;
use std::process::{Command, Output};

/// The smallest plan, with a guest that is a file of this directory.
const PLAN: &str = "targets.shop.url = \"http://127.0.0.1:1\"\n[[scenarios]]\nguest = \"./guest.wasm\"\n";

/// Runs `gauntlet` in `dir`.
fn gauntlet(dir: &Path, arguments: &[&str]) -> Ended {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_gauntlet"))
        .current_dir(dir)
        .env_remove("GAUNTLET_GUESTS")
        .args(arguments)
        .output()
        .unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    /// Fails unless the code is this one and the errors say all of these.
    fn says(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is missing in {self:#?}");
        }
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self
    }
}

/// A directory with the plan and its guest.
fn with_plan(plan: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plan.toml"), plan).unwrap();
    std::fs::write(dir.path().join("guest.wasm"), b"no component").unwrap();
    dir
}
