//! Servers as processes, so that one can really be killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use mcp_cluster::{Member, Members};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{admin_put, eventually, ready};

/// Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) member: Member,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts a server and waits until it listens.
    pub(crate) async fn start(dir: &Path, name: &str, region: &str, kind: &str) -> Self {
        Self::start_with(dir, name, region, kind, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn start_with(dir: &Path, name: &str, region: &str, kind: &str, flags: &[&str]) -> Self {
        let file = dir.join(format!("{name}.json"));
        let _ = std::fs::remove_file(&file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-server"));
        command.args(["--type", kind, "--region", region, "--name", name, "--repair-ms", "100"]);
        // Long enough for a busy machine: only a server that is frozen is meant to be taken for silent.
        command.args(["--peer-timeout-ms", "5000", "--admin-token", "secret", "--peer-token", "among us"]);
        command.arg("--member-file").arg(&file).stdout(Stdio::null());
        command.args(flags).env_remove("OTEL_EXPORTER_OTLP_ENDPOINT");
        let child = command.spawn().unwrap();
        let member = eventually(&format!("{name} listens"), async || {
            Some(serde_json::from_str(&std::fs::read_to_string(&file).ok()?).unwrap())
        })
        .await;
        Self { child, member }
    }

    pub(crate) fn url(&self) -> &str {
        &self.member.url
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits until it ended, and says whether well.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

/// Storage controllers in three regions, in three copies.
pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    pub(crate) servers: Vec<Process>,
}

impl Cluster {
    /// Starts so many servers that know each other.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with(count, &[]).await
    }

    /// The same, with more flags.
    pub(crate) async fn start_with(count: usize, flags: &[&str]) -> Self {
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), servers: Vec::new() };
        for n in 0..count {
            let (name, region) = (format!("s{n}"), format!("region-{}", n % 3));
            let (dir, kind) = (cluster.dir.path(), "storage_controller");
            let server = Process::start_with(dir, &name, &region, kind, flags).await;
            cluster.servers.push(server);
        }
        cluster.tell().await;
        for server in &cluster.servers {
            ready(server.url()).await;
        }
        cluster
    }

    /// Tells all servers of each other.
    pub(crate) async fn tell(&self) {
        let servers = self.servers.iter().map(|server| server.member.clone()).collect();
        let members = serde_json::to_value(Members { replication: 3, servers }).unwrap();
        for server in &self.servers {
            admin_put(server.url(), "members", &members).await;
        }
    }

    pub(crate) fn of(&self, name: &str) -> &Process {
        self.servers.iter().find(|server| server.member.name == name).unwrap()
    }

    /// Kills a server, as nothing lets it finish.
    pub(crate) fn kill(&mut self, name: &str) -> Member {
        let n = self.servers.iter().position(|server| server.member.name == name).unwrap();
        let mut killed = self.servers.remove(n);
        killed.signal(Signal::KILL);
        assert!(!killed.ended());
        killed.member.clone()
    }

    /// Starts an empty server in the place of one that was killed, at another address.
    pub(crate) async fn replace(&mut self, killed: &Member) {
        let (dir, kind) = (self.dir.path(), killed.kind.name());
        self.servers.push(Process::start(dir, &killed.name, &killed.region, kind).await);
    }
}
