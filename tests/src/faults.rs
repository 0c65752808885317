//! Looking for what faults leave behind: as the independent checker does it, and by the kernel's list of processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::gauntlet::Running;
use crate::wait;

/// A process of a plan, known from a run's history; killed at the test's end, should it still be there.
pub struct Planned {
    /// Its id.
    pub pid: u32,
    started: Option<u64>,
}

impl Planned {
    /// The process of this name, as the history tells of it.
    ///
    /// # Panics
    /// When it does not within 30 s.
    #[must_use]
    pub fn of(running: &Running, process: &str) -> Self {
        running.until_history_has("\"kind\":\"process-started\"");
        let pid = wait::until(
            &format!("the start of {process} in the history"),
            Duration::from_secs(30),
            || {
                let history = events(&running.history());
                let started = history.into_iter().find(|entry| {
                    entry["event"]["kind"] == "process-started" && entry["event"]["process"] == process
                })?;
                u32::try_from(started["event"]["pid"].as_u64()?).ok()
            },
            || running.history(),
        );
        Self { pid, started: start_ticks(pid) }
    }

    /// Its state as the kernel names it, `S`, `T` …; absent when it is gone.
    #[must_use]
    pub fn state(&self) -> Option<char> {
        let stat = stat(self.pid)?;
        (start_ticks(self.pid) == self.started).then_some(())?;
        stat.first()?.chars().next()
    }
}

impl Drop for Planned {
    fn drop(&mut self) {
        // Nobody else's process has its id and its start.
        if self.state().is_some()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// The fields of `/proc/PID/stat` after the name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn start_ticks(pid: u32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// A history as entries.
#[must_use]
pub fn events(history: &str) -> Vec<Value> {
    history.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The entries of a history of one kind.
#[must_use]
pub fn of_kind(history: &[Value], kind: &str) -> Vec<Value> {
    history.iter().filter(|entry| entry["event"]["kind"] == kind).cloned().collect()
}

/// Where the fault agent of `gauntlet run` in a directory has its journal.
#[must_use]
pub fn agent_dir(dir: &Path) -> PathBuf {
    dir.join("runs/chaos/agent")
}

/// What the independent checker finds: exit code and what it said.
///
/// # Panics
/// When it cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
pub fn check(agent_dir: &Path) -> (Option<i32>, String) {
    let output = Command::new(crate::program("gauntlet"))
        .args(["fault-agent", "check", "--state"])
        .arg(agent_dir)
        .stdin(Stdio::null())
        .output()
        .expect("start the checker");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Waits until the checker finds nothing; how long that took.
///
/// # Panics
/// When it still does after `within`.
pub fn until_clean(agent_dir: &Path, within: Duration) -> Duration {
    let since = Instant::now();
    wait::until(
        "the checker to find nothing",
        within,
        || (check(agent_dir).0 == Some(0)).then_some(()),
        || format!("{:?}", check(agent_dir)),
    );
    since.elapsed()
}

/// What a fault proxy of the chaos service in a directory has drawn: by proxy, connection and toxic.
///
/// # Panics
/// When it does not tell.
#[must_use]
#[expect(clippy::expect_used, reason = "a test may panic")]
pub fn draws(chaos_dir: &Path, proxies: &[&str]) -> BTreeMap<(String, u64, String), String> {
    let mut drawn = BTreeMap::new();
    for proxy in proxies {
        let told = ask_proxy(chaos_dir, &format!("proxies/{proxy}/draws")).expect("the proxy answers");
        for connection in told["connections"].as_array().expect("a list") {
            let number = connection["number"].as_u64().expect("a number");
            for (toxic, draw) in connection["toxics"].as_object().expect("an object") {
                drawn.insert(((*proxy).to_owned(), number, toxic.clone()), draw["draw"].to_string());
            }
        }
    }
    drawn
}

/// How long the fault proxy may take to answer.
const ANSWERS: Duration = Duration::from_secs(2);

/// What the fault proxy of the chaos service in a directory answers to `GET`; absent = there is none, or none that answers.
#[must_use]
pub fn ask_proxy(chaos_dir: &Path, path: &str) -> Option<Value> {
    let record = std::fs::read_to_string(chaos_dir.join("proxy/process.json")).ok()?;
    let record: Value = serde_json::from_str(&record).ok()?;
    let url = format!("http://{}/{path}", record["api"].as_str()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let asked = reqwest::Client::new().get(url).bearer_auth(record["token"].as_str()?).timeout(ANSWERS);
        asked.send().await.ok()?.json().await.ok()
    })
}

/// Processes that name a directory in their command line: id and command line.
#[must_use]
pub fn naming(dir: &Path) -> Vec<(u32, String)> {
    let wanted = dir.display().to_string();
    let Ok(list) = std::fs::read_dir("/proc") else { return Vec::new() };
    list.filter_map(Result::ok)
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(&wanted).then_some((pid, line))
        })
        .collect()
}
