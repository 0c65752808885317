//! Running the `gauntlet` command as a user does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::wait;

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; absent after an unhandled signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
    /// The run directory, if one was made.
    pub run_dir: Option<PathBuf>,
}

impl Ended {
    /// The run's `summary.json`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn summary(&self) -> Value {
        self.json("summary.json")
    }

    /// A JSON file of the run directory.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(clippy::panic, reason = "a test may panic")]
    pub fn json(&self, name: &str) -> Value {
        let dir = self.run_dir.as_ref().unwrap_or_else(|| panic!("no run directory: {self:#?}"));
        let text = std::fs::read_to_string(dir.join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}: {self:#?}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Fails unless the exit code is this one.
    ///
    /// # Panics
    /// When it is another.
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code; {self:#?}");
        self
    }
}

/// A running command.
pub struct Running {
    child: Child,
    dir: PathBuf,
}

impl Running {
    /// The process.
    #[must_use]
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits until the run's history holds `text`.
    ///
    /// # Panics
    /// When it does not within 30 s.
    pub fn until_history_has(&self, text: &str) {
        wait::until(
            &format!("{text} in the history"),
            Duration::from_secs(30),
            || self.history().contains(text).then_some(()),
            || self.history(),
        );
    }

    /// The history as written so far.
    #[must_use]
    pub fn history(&self) -> String {
        run_dir(&self.dir)
            .and_then(|dir| std::fs::read_to_string(dir.join("history.ndjson")).ok())
            .unwrap_or_default()
    }

    /// Address of the run's HTTP API.
    ///
    /// # Panics
    /// When there is none within 10 s.
    #[must_use]
    pub fn api(&self) -> String {
        wait::until(
            "api.json in the run directory",
            Duration::from_secs(10),
            || {
                let text = std::fs::read_to_string(run_dir(&self.dir)?.join("api.json")).ok()?;
                let value: Value = serde_json::from_str(&text).ok()?;
                value["url"].as_str().map(str::to_owned)
            },
            || String::from("no api.json"),
        )
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end within `deadline`; the process is killed then.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn wait(mut self, deadline: Duration) -> Ended {
        let status: ExitStatus = {
            let child = &mut self.child;
            wait::until(
                "gauntlet to end",
                deadline,
                || child.try_wait().expect("gauntlet's status"),
                || std::fs::read_to_string(self.dir.join("stderr")).unwrap_or_default(),
            )
        };
        let read = |name: &str| std::fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        Ended {
            code: status.code(),
            stdout: read("stdout"),
            stderr: read("stderr"),
            run_dir: run_dir(&self.dir),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed in the middle leaves nothing running; after `wait` there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The newest run directory under `dir/runs`.
fn run_dir(dir: &Path) -> Option<PathBuf> {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(dir.join("runs"))
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.join("plan.toml").is_file() || path.join("history.ndjson").is_file())
        .collect();
    dirs.sort();
    dirs.pop()
}

/// Starts `gauntlet` in `dir` with these arguments.
///
/// # Panics
/// When it cannot be started.
#[must_use]
pub fn start(dir: &Path, arguments: &[&str]) -> Running {
    start_with_variables(dir, arguments, &[])
}

/// The same with these environment variables beside ours.
///
/// # Panics
/// When it cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
pub fn start_with_variables(dir: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
    let file = |name: &str| std::fs::File::create(dir.join(name)).expect("a file for gauntlet's output");
    let child = Command::new(crate::program("gauntlet"))
        .current_dir(dir)
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(file("stdout"))
        .stderr(file("stderr"))
        .spawn()
        .expect("start gauntlet");
    Running { child, dir: dir.to_owned() }
}

/// Runs `gauntlet` to its end.
#[must_use]
pub fn command(dir: &Path, arguments: &[&str]) -> Ended {
    start(dir, arguments).wait(Duration::from_secs(120))
}

/// Writes the plan and starts `gauntlet run` on it.
#[must_use]
pub fn start_run(dir: &Path, plan: &str, more: &[&str]) -> Running {
    start_with_plan(dir, "run", plan, more)
}

/// Writes the plan and starts a command on it.
///
/// # Panics
/// When the plan cannot be written.
#[must_use]
#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
pub fn start_with_plan(dir: &Path, command: &str, plan: &str, more: &[&str]) -> Running {
    std::fs::write(dir.join("plan.toml"), plan).expect("write the plan");
    let mut arguments = vec![command, "plan.toml"];
    arguments.extend(more);
    start(dir, &arguments)
}

/// Writes the plan and runs it to its end.
#[must_use]
pub fn run(dir: &Path, plan: &str) -> Ended {
    start_run(dir, plan, &[]).wait(Duration::from_secs(180))
}
