//! A state directory with instances that end with the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use platform::identity::ProcessId;
use platform::processes::{Processes, Spec};
use platform::{Instance, InstanceId, Platform as _, PlatformError, Started};
use tempfile::TempDir;

use crate::support::{LONG, until};

/// What the test owns. Dropped, it kills what it started.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) processes: Processes,
    pub(crate) dir: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let processes = Processes::create(&state(dir.path()), ProcessId::current().unwrap()).unwrap();
        Self { processes, dir }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        state(self.dir.path())
    }

    /// A handle as others have it.
    pub(crate) fn open(&self) -> Processes {
        Processes::open(&self.state_dir()).unwrap()
    }

    pub(crate) async fn define(&self, spec: &Spec) -> Result<InstanceId, PlatformError> {
        self.processes.define(spec, self.dir.path(), &self.log()).await
    }

    pub(crate) async fn try_start(&self, spec: &Spec) -> Result<Started, PlatformError> {
        let id = self.define(spec).await?;
        self.processes.start(&id).await
    }

    /// Starts a script under the name `shop`, and waits until it has said `up`.
    pub(crate) async fn shop(&self, script: &str) -> Instance {
        let started = self.try_start(&spec(script)).await.unwrap();
        self.until_logged("up").await;
        started.instance
    }

    pub(crate) async fn seen(&self) -> Instance {
        self.processes.instance(&shop()).await.unwrap()
    }

    /// Writes a program beside the plan. Another process does it: of ours, a fork in another test could hold the file open
    /// for writing when it is executed.
    pub(crate) fn program(&self, name: &str, from: &str, is_text: bool, mode: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let script = if is_text { "printf %s \"$1\" > \"$2\"" } else { "cp \"$1\" \"$2\"" };
        let script = format!("{script} && chmod {mode} \"$2\"");
        let status = Command::new("sh").args(["-c", &script, "sh", from]).arg(&path).status().unwrap();
        assert!(status.success());
        path
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.path().join("process.log")
    }

    pub(crate) fn text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) async fn until_logged(&self, wanted: &str) {
        until(&format!("{wanted:?} in the log"), || self.text().contains(wanted)).await;
    }

    /// The process whose pid is after `name=` in the log.
    pub(crate) async fn logged(&self, name: &str) -> ProcessId {
        let found: OnceLock<u32> = OnceLock::new();
        until(&format!("{name} in the log"), || {
            let text = self.text();
            // A whole line only: its end may not be written yet.
            let line = text
                .split_inclusive('\n')
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('=')?.strip_suffix('\n'));
            line.is_some_and(|pid| found.set(pid.parse().unwrap()).is_ok())
        })
        .await;
        ProcessId::of(*found.get().unwrap()).unwrap()
    }
}

fn state(dir: &Path) -> PathBuf {
    dir.join("state")
}

/// The id of the instance that most tests have.
pub(crate) fn shop() -> InstanceId {
    InstanceId::new("shop").unwrap()
}

/// A shell script as a process of the plan, named `shop`.
pub(crate) fn spec(script: &str) -> Spec {
    Spec {
        name: "shop".to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ready: None,
        ready_timeout: LONG,
        env: BTreeMap::new(),
        dir: None,
        stop_timeout: LONG,
        clock_adjustable: false,
    }
}

pub(crate) fn alive(process: &ProcessId) -> bool {
    process.is_alive().unwrap()
}
