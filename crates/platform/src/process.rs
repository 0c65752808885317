//! The process driver: starts a process of the plan, waits until it is ready, and ends all of it.
//!
//! A process is started as the leader of a process group of its own, so that Ctrl-C in our terminal does not reach it and
//! one signal reaches all that it starts. Standard input is `/dev/null`, output goes to a log file. It is a group and not
//! a session, because the standard library makes groups without unsafe code and sessions only with it; the difference is
//! that the group keeps our controlling terminal, from which it can neither read nor be signalled by its keys.
//! Descendants that left the group but still have their parent are found through `/proc` and killed, too. Only a
//! process that left the group *and* whose parent has ended (a daemon) escapes: plans must start servers in the
//! foreground.
//!
//! The leader is not reaped before its group has been killed: until then its pid, which is also the group's, belongs to
//! nobody else.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plan::model::Process;
use tokio::time::Instant;

use crate::proc_fs;
use crate::ready::Check;

mod error;
mod group;
mod log;
mod program;

pub use error::StartError;
use group::Leader;

/// How to start a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Its name in the plan.
    pub name: String,
    /// Program and arguments; a relative program is found from the plan's directory, else in PATH.
    pub command: Vec<String>,
    /// `http://…` that answers 2xx, or `tcp://host:port` that accepts, when it is ready. `None` = ready at once.
    pub ready: Option<String>,
    /// How long until ready at most.
    pub ready_timeout: Duration,
    /// Environment beside ours.
    pub env: BTreeMap<String, String>,
    /// Working directory, relative to the plan's; `None` = the plan's.
    pub dir: Option<PathBuf>,
    /// How long it may take to end after SIGTERM before SIGKILL.
    pub stop_timeout: Duration,
}

impl Spec {
    /// The process `name` of a plan.
    #[must_use]
    pub fn from_plan(name: &str, process: &Process) -> Self {
        Self {
            name: name.to_owned(),
            command: process.command.clone(),
            ready: process.ready.clone(),
            ready_timeout: process.ready_timeout,
            env: process.env.clone(),
            dir: process.dir.clone(),
            stop_timeout: process.stop_timeout,
        }
    }
}

/// A process that was started. Dropping it kills it with all that it started.
#[derive(Debug)]
pub struct Running {
    name: String,
    leader: Leader,
    ready: Option<(String, Check)>,
    started: Instant,
    ready_timeout: Duration,
    stop_timeout: Duration,
    log: log::Log,
}

/// How a process ended when it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// `exit code 0`, `signal 15`.
    pub status: String,
    /// It did not end within its stop timeout after SIGTERM and got SIGKILL.
    pub killed: bool,
}

impl Running {
    /// Starts the process; relative paths begin at `base_dir`, the plan's directory. What it prints is appended to
    /// `log_file`. Needs a tokio runtime only for what comes after.
    ///
    /// # Errors
    /// When the program, a directory or the log file is not there, when something answers the ready check already, or
    /// when the system refuses to start it.
    pub fn start(spec: &Spec, base_dir: &Path, log_file: &Path) -> Result<Self, StartError> {
        let name = || spec.name.clone();
        let program = program::find(spec, base_dir)?;
        let dir = spec.dir.as_ref().map_or_else(|| base_dir.to_owned(), |dir| base_dir.join(dir));
        if !dir.is_dir() {
            return Err(StartError::NoDirectory { name: name(), dir });
        }
        let ready = match &spec.ready {
            None => None,
            Some(text) => {
                let wrong = |problem| StartError::ReadyCheck { name: name(), problem };
                let check = Check::parse(text).map_err(wrong)?;
                // Else the answer of a stranger on the same port would pass for ours.
                if check.somebody_accepts() {
                    return Err(StartError::Occupied { name: name(), ready: text.clone() });
                }
                Some((text.clone(), check))
            }
        };
        let unopened = |source| StartError::LogFile { name: name(), path: log_file.to_owned(), source };
        let output = OpenOptions::new().create(true).append(true).open(log_file).map_err(unopened)?;
        let log = log::Log::from_end_of(log_file).map_err(unopened)?;
        let errors = output.try_clone().map_err(unopened)?;
        let child = Command::new(&program)
            .args(spec.command.iter().skip(1))
            .envs(&spec.env)
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|source| StartError::Spawn { name: name(), program: program.clone(), source })?;
        Ok(Self::of(spec, child, ready, log))
    }

    fn of(spec: &Spec, child: Child, ready: Option<(String, Check)>, log: log::Log) -> Self {
        tracing::debug!(process = %spec.name, pid = child.id(), "process started");
        Self {
            name: spec.name.clone(),
            leader: Leader::new(child),
            ready,
            started: Instant::now(),
            ready_timeout: spec.ready_timeout,
            stop_timeout: spec.stop_timeout,
            log,
        }
    }

    /// Its name in the plan.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also its group's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.leader.pid()
    }

    /// When it started, in clock ticks after boot: with the pid, what identifies it. `None` when the system no longer
    /// knows it.
    #[must_use]
    pub fn started_ticks(&self) -> Option<u64> {
        proc_fs::stat(self.pid()).ok().map(|stat| stat.started)
    }

    /// `exit code 1` or `signal 9` once it has ended by itself; `None` while it runs.
    #[must_use]
    pub fn try_status(&self) -> Option<String> {
        self.leader.status()
    }

    /// Waits until it has ended by itself, and returns how, as [`Running::try_status`] does.
    pub async fn exited(&self) -> String {
        self.leader.exited().await
    }

    /// The last lines of what it has printed since it was started.
    #[must_use]
    pub fn last_lines(&self) -> Vec<String> {
        self.log.last_lines()
    }

    /// Waits until the ready check passes, and returns how long after the start that was.
    ///
    /// # Errors
    /// When it ends before it is ready, or is not ready within its timeout.
    pub async fn wait_ready(&self) -> Result<Duration, StartError> {
        let Some((url, check)) = &self.ready else { return Ok(self.started.elapsed()) };
        let mut seen = "nothing yet".to_owned();
        let mut pause = Duration::from_millis(5);
        let attempts = async {
            while let Err(found) = check.attempt().await {
                seen = found;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(100));
            }
        };
        let ready = tokio::select! {
            // A process that ended is not ready, even if somebody answers in its place.
            biased;
            _ = self.exited() => None,
            ready = tokio::time::timeout_at(self.started + self.ready_timeout, attempts) => Some(ready.is_ok()),
        };
        if let Some(status) = self.try_status() {
            return Err(StartError::Exited {
                name: self.name.clone(),
                status,
                last_lines: self.last_lines(),
            });
        }
        if ready == Some(true) {
            return Ok(self.started.elapsed());
        }
        Err(StartError::NotReady {
            name: self.name.clone(),
            ready: url.clone(),
            timeout: self.ready_timeout,
            seen,
            last_lines: self.last_lines(),
        })
    }

    /// Ends it: SIGTERM to the whole group; SIGKILL to what is left of it when the leader has ended or its stop timeout
    /// is over. Nothing of it is left on return.
    pub async fn stop(mut self) -> Stopped {
        let stopped = self.leader.stop(self.stop_timeout).await;
        tracing::debug!(process = %self.name, status = %stopped.status, killed = stopped.killed, "process stopped");
        stopped
    }

    /// Kills it at once, with all that it started. Nothing of it is left on return.
    pub async fn kill(mut self) -> Stopped {
        self.leader.stop(Duration::ZERO).await
    }
}

#[cfg(test)]
mod tests;
