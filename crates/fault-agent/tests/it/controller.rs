//! A controller in a process of its own, which can be killed: this test program again, in another role.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use fault_agent::{Action, Agent, InjectError, Options};
use platform::identity::{ProcessId, Signal};
use platform::proc_fs;
use serde::{Deserialize, Serialize};
use service::{Shutdown, Tasks};

use crate::session::{PATIENCE, eventually};
use crate::wire::PROGRAM;

const ROLE: &str = "GAUNTLET_TEST_FAULT_CONTROLLER";
/// Marks what the role says among what the test harness says.
const MARK: &str = "controller: ";

/// What a controller is to do, once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    dir: PathBuf,
    pub(crate) lease_ms: u64,
    pub(crate) hold_ms: u64,
    faults: Vec<(String, Action)>,
}

impl Orders {
    pub(crate) fn new(dir: &Path, faults: Vec<(String, Action)>) -> Self {
        Self { dir: dir.to_owned(), lease_ms: 1000, hold_ms: 600_000, faults }
    }
}

/// A controller that injects, holds and ends its faults, saying `inject`, `hold`, `undo`, `idle` as it comes to each.
pub(crate) struct Controller {
    child: Child,
    lines: Receiver<String>,
    dir: PathBuf,
}

impl Controller {
    pub(crate) fn start(orders: &Orders) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "controller::role", "--nocapture"])
            .env(ROLE, serde_json::to_string(orders).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let (say, lines) = sync_channel(10_000);
        std::thread::spawn(move || {
            for line in output.map_while(Result::ok) {
                // The harness begins a line before it.
                let Some((_, said)) = line.split_once(MARK) else { continue };
                if say.send(said.to_owned()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, dir: orders.dir.clone() }
    }

    /// Waits until it says that it has come to a step.
    pub(crate) fn until(&self, step: &str) {
        while self.lines.recv_timeout(PATIENCE).unwrap() != step {}
    }

    /// Its agent, and that one's guardian.
    pub(crate) fn processes(&self) -> (ProcessId, ProcessId) {
        eventually("agent and guardian are there", || {
            let find = |role: &str, parent: u32| {
                let ours = ours(&self.dir);
                let found = ours.iter().find(|(id, line)| {
                    let is_child = proc_fs::stat(id.pid).is_ok_and(|stat| stat.parent == parent);
                    is_child && line.contains(&format!(" {role} "))
                });
                found.map(|(id, _)| id.clone())
            };
            let agent = find("serve", self.child.id())?;
            let guardian = find("guardian", agent.pid)?;
            Some((agent, guardian))
        })
    }

    pub(crate) fn id(&self) -> ProcessId {
        ProcessId::of(self.child.id()).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself; nothing of it is left then.
    pub(crate) fn end(&mut self) {
        drop(self.child.stdin.take());
        eventually("the controller has ended", || self.child.try_wait().unwrap());
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // What a failing test has stopped cannot end by itself.
            for (id, _) in ours(&self.dir) {
                if let Ok(Some(handle)) = id.open() {
                    let _ = handle.signal(Signal::KILL);
                }
            }
        }
    }
}

/// All processes of the program that have the directory in their arguments, found without its help.
pub(crate) fn ours(dir: &Path) -> Vec<(ProcessId, String)> {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let found = proc_fs::all().into_iter().filter_map(|stat| {
        let id = ProcessId::of(stat.pid).ok()?;
        let line = std::fs::read(format!("/proc/{}/cmdline", stat.pid)).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains("gauntlet-fault-agent") && line.contains(dir.to_str()?)).then_some((id, line))
    });
    found.collect()
}

fn say(step: &str) {
    println!("{MARK}{step}");
    let _ = std::io::stdout().flush();
}

/// Not a test: what this program does as a controller.
#[test]
fn role() {
    let Ok(orders) = std::env::var(ROLE) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        tokio::select! {
            () = act(orders) => {}
            _ = ended => {}
        }
    });
}

async fn act(orders: Orders) {
    let tasks = Tasks::new(Shutdown::new());
    let mut options = Options::new([PROGRAM], &orders.dir);
    options.lease = Duration::from_millis(orders.lease_ms);
    let (agent, mut events) = Agent::start(options, &tasks).await.unwrap();
    let steps = async {
        say("inject");
        for (id, action) in &orders.faults {
            match agent.inject(id, action.clone(), Duration::from_secs(600)).await {
                Ok(_) => {}
                Err(InjectError::Lost) => break,
                Err(error) => println!("{id}: {error}"),
            }
        }
        say("hold");
        tokio::time::sleep(Duration::from_millis(orders.hold_ms)).await;
        say("undo");
        for (id, _) in &orders.faults {
            // It may have ended with its agent.
            let _ = agent.end(id).await;
        }
        say("idle");
        std::future::pending::<()>().await;
    };
    let events = async {
        while let Some(event) = events.next().await {
            println!("{event:?}");
        }
    };
    tokio::join!(steps, events);
}
