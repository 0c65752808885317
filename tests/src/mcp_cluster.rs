//! The reference cluster of MCP servers as a process.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::wait;

/// A running mcp-cluster; ends with the value.
pub struct McpCluster {
    child: Child,
    members: Value,
}

impl McpCluster {
    /// Starts one of three regions with all types, with further arguments. Its admin token is `test`. One that speaks TLS is not asked
    /// whether it is ready.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        let file = dir.join("members.json");
        let child = Command::new(crate::program("mcp-cluster"))
            .args(["--admin-token", "test", "--members-file"])
            .arg(&file)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start mcp-cluster");
        // Owned from here on, so that it ends whatever happens.
        let mut cluster = Self { child, members: Value::Null };
        cluster.members = wait::until(
            "mcp-cluster to write its members",
            Duration::from_secs(60),
            || serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok(),
            || "no members yet".to_owned(),
        );
        // Until a server knows what the others have, it keeps nothing for them, and writes are refused.
        let servers = cluster.members["servers"].as_array().expect("a list of servers");
        let urls = servers.iter().map(|server| server["url"].as_str().expect("its URL"));
        // This process knows no TLS.
        until_ready(urls.filter(|url| url.starts_with("http://")));
        cluster
    }

    /// Base URL of the server with this name: region and type.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn url(&self, name: &str) -> String {
        let servers = self.members["servers"].as_array().expect("a list of servers");
        let found = servers.iter().find(|server| server["name"] == name).expect("a server of this name");
        found["url"].as_str().expect("its URL").to_owned()
    }
}

impl Drop for McpCluster {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until all of these servers can be counted on.
#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
fn until_ready<'a>(urls: impl Iterator<Item = &'a str>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::new();
    for url in urls {
        let ready = async || client.get(format!("{url}/ready")).send().await?.error_for_status();
        wait::until(
            &format!("the MCP server at {url} to be ready"),
            Duration::from_secs(60),
            || runtime.block_on(ready()).ok(),
            || "not ready".to_owned(),
        );
    }
}

/// Storage controllers of one cluster, each a process of its own, so that one can be killed by itself.
pub struct McpServers {
    servers: Vec<(Value, Child)>,
}

impl McpServers {
    /// Starts so many in three regions, in three copies, and waits until all can be counted on.
    ///
    /// # Panics
    /// When they do not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn start(dir: &Path, count: usize) -> Self {
        let mut servers = Self { servers: Vec::new() };
        for n in 0..count {
            let file = dir.join(format!("s{n}.json"));
            let mut command = Command::new(crate::program("mcp-server"));
            command
                .args(["--type", "storage_controller", "--name", &format!("s{n}")])
                .args(["--region", &format!("region-{}", n % 3), "--peer-timeout-ms", "30000"])
                .args(["--admin-token", "test", "--peer-token", "among us", "--member-file"])
                .arg(&file);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("start mcp-server");
            // Owned from here on, so that it ends whatever happens.
            servers.servers.push((Value::Null, child));
            servers.servers[n].0 = wait::until(
                "mcp-server to write its entry",
                Duration::from_secs(60),
                || serde_json::from_str(&std::fs::read_to_string(&file).ok()?).ok(),
                || "no entry yet".to_owned(),
            );
        }
        let all: Vec<&Value> = servers.servers.iter().map(|(member, _)| member).collect();
        let members = serde_json::json!({ "replication": 3, "servers": all });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let client = reqwest::Client::new();
        for (member, _) in &servers.servers {
            let url = member["url"].as_str().expect("its URL");
            runtime.block_on(async {
                let put = client.put(format!("{url}/admin/members")).bearer_auth("test").json(&members);
                put.send()
                    .await
                    .and_then(reqwest::Response::error_for_status)
                    .expect("the server takes its members");
            });
        }
        until_ready(all.iter().map(|member| member["url"].as_str().expect("its URL")));
        servers
    }

    /// Base URL of the server with this number.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn url(&self, n: usize) -> String {
        self.servers[n].0["url"].as_str().expect("its URL").to_owned()
    }

    /// Kills the server with this name, as nothing lets it finish.
    ///
    /// # Panics
    /// When there is none.
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn kill(&mut self, name: &str) {
        let found = self.servers.iter_mut().find(|(member, _)| member["name"] == name);
        let (_, child) = found.expect("a server of this name");
        child.kill().and_then(|()| child.wait()).expect("the server ends");
    }
}

impl Drop for McpServers {
    fn drop(&mut self) {
        for (_, child) in &mut self.servers {
            // It may have ended by itself, or have been killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
