//! The agent's process as its controller sees it: lines in, lines out, and its death.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use super::{Options, StartError};
use crate::state_dir::StateDir;
use crate::wait::millis;
use crate::wire::{Reply, Request};

/// How long an agent may take to read a line before it counts as hung.
const WRITE_TAKES: Duration = Duration::from_secs(2);
/// How long its process may take to end once its output has.
const END_TAKES: Duration = Duration::from_secs(5);

/// A started agent. Dropping it closes its input, which makes it undo everything and end: it is not killed.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    heard: Instant,
}

impl Process {
    pub(super) fn spawn(options: &Options) -> Result<Self, StartError> {
        let shown = options.command.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let wrong = |problem: String| StartError { command: shown.clone(), problem };
        let (program, prefix) =
            options.command.split_first().ok_or_else(|| wrong("no program is named".to_owned()))?;
        StateDir::make(&options.state_dir)
            .and_then(|dir| {
                let mut command = Command::new(program);
                command.args(prefix).arg("serve").arg("--state").arg(dir.path());
                for (flag, value) in [
                    ("--lease", millis(options.lease)),
                    ("--longest", millis(options.longest)),
                    ("--memory-reserve", options.memory_reserve),
                    ("--disk-reserve", options.disk_reserve),
                ] {
                    command.arg(flag).arg(value.to_string());
                }
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
            })
            .map_err(|error| wrong(format!("it cannot be started: {error}")))
            .and_then(|mut child| match (child.stdin.take(), child.stdout.take()) {
                (Some(input), Some(output)) => Ok(Self {
                    child,
                    input: Some(input),
                    output: BufReader::new(output).lines(),
                    heard: Instant::now(),
                }),
                _ => Err(wrong("it has no pipes".to_owned())),
            })
    }

    /// Sends a request; `false` = it cannot hear any more, or does not read.
    pub(super) async fn ask(&mut self, request: &Request) -> bool {
        let (Some(input), Ok(mut line)) = (&mut self.input, serde_json::to_vec(request)) else {
            return false;
        };
        line.push(b'\n');
        matches!(timeout(WRITE_TAKES, input.write_all(&line)).await, Ok(Ok(())))
    }

    /// What it says next; `None` = it has ended or closed its output. Safe to drop and call anew.
    pub(super) async fn next(&mut self) -> Option<Reply> {
        loop {
            let line = self.output.next_line().await.ok().flatten()?;
            self.heard = Instant::now();
            match serde_json::from_str(&line) {
                Ok(reply) => return Some(reply),
                Err(error) => tracing::warn!(line, %error, "the fault agent said what is no reply"),
            }
        }
    }

    /// How long it has said nothing.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Waits until it has ended, kills it if it does not, and says how it ended; with the exit code, if it had one.
    pub(super) async fn end(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let Ok(status) = timeout(END_TAKES, self.child.wait()).await else {
            return self.kill("it did not end by itself").await;
        };
        match status {
            Ok(status) => (status.code(), status.to_string()),
            Err(error) => (None, format!("how it ended cannot be told: {error}")),
        }
    }

    /// Kills it; its guardian undoes what it held.
    pub(super) async fn kill(mut self, why: &str) -> (Option<i32>, String) {
        // A process that has ended cannot be killed, which is what we want.
        let _ = self.child.start_kill();
        let _ = timeout(END_TAKES, self.child.wait()).await;
        (None, format!("{why}, and was killed"))
    }
}
