//! The leader of a process group: watching it without reaping it, and ending its whole group.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout};

use super::Stopped;
use crate::proc_fs;

/// How often what cannot be waited for is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How often a child is looked at although no signal tells of its end.
const NOW_AND_THEN: Duration = Duration::from_millis(250);
/// How long the kernel may take to end a group after SIGKILL before we go on without.
const KILL_TAKES: Duration = Duration::from_secs(5);

/// A child that leads its process group.
#[derive(Debug)]
pub(super) struct Leader {
    child: Option<Child>,
    pid: Pid,
}

impl Leader {
    pub(super) fn new(child: Child) -> Self {
        let pid = Pid::from_child(&child);
        Self { child: Some(child), pid }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// How it ended, if it did; it stays unreaped.
    pub(super) fn status(&self) -> Option<String> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid), look) {
            Ok(None) | Err(rustix::io::Errno::INTR) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => "ended".to_owned(),
            }),
            // Somebody else reaped it: it has ended, how is lost.
            Err(_) => Some("ended with unknown status".to_owned()),
        }
    }

    pub(super) async fn exited(&self) -> String {
        // Listening begins before the look, so that an end in between wakes us.
        let mut children = signal(SignalKind::child()).ok();
        loop {
            if let Some(status) = self.status() {
                return status;
            }
            match &mut children {
                // The kernel merges signals of children that end together, hence the look now and then.
                Some(children) => {
                    let _ = timeout(NOW_AND_THEN, children.recv()).await;
                }
                None => sleep(LOOK).await,
            }
        }
    }

    /// SIGTERM, wait at most `grace`, SIGKILL, wait until all are gone, reap.
    pub(super) async fn stop(&mut self, grace: Duration) -> Stopped {
        // Those that left the group are found by their parents, so before the parents end.
        let mut strays = self.strays();
        let mut killed = false;
        if self.status().is_none() {
            if !grace.is_zero() {
                let _ = kill_process_group(self.pid, Signal::TERM);
            }
            killed = timeout(grace, self.exited()).await.is_err();
            if killed {
                strays.extend(self.strays());
            }
        }
        self.kill_all(&strays);
        let status = self.exited().await;
        self.wait_for_group(Instant::now() + KILL_TAKES).await;
        self.reap();
        Stopped { status, killed }
    }

    /// Descendants outside the group, each with its start time, so that a pid used anew is not mistaken.
    fn strays(&self) -> Vec<(u32, u64)> {
        let tree = proc_fs::tree(self.pid());
        tree.iter().filter(|stat| stat.group != self.pid()).map(|stat| (stat.pid, stat.started)).collect()
    }

    fn kill_all(&self, strays: &[(u32, u64)]) {
        // Fails when nobody is left, which is what we want.
        let _ = kill_process_group(self.pid, Signal::KILL);
        for (pid, started) in strays {
            let same = proc_fs::stat(*pid).is_ok_and(|stat| stat.started == *started);
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw).filter(|_| same) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Waits until no member of the group but the unreaped leader is left.
    async fn wait_for_group(&self, deadline: Instant) {
        while proc_fs::group(self.pid()).iter().any(|stat| !stat.ended()) {
            if Instant::now() > deadline {
                tracing::warn!(pid = self.pid(), "the kernel has not ended the whole process group yet");
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.kill_all(&self.strays());
        if !matches!(child.try_wait(), Ok(Some(_))) {
            // SIGKILL takes effect soon, but a destructor of async code does not wait for it.
            let _ = std::thread::Builder::new().name("reap".to_owned()).spawn(move || child.wait());
        }
    }
}
