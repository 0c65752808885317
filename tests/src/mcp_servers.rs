//! Real servers of the Model Context Protocol, in processes that end with the values.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use test_servers::ports;

use crate::wait;

/// The tool that aimock offers.
const ECHO: &str = "echo";

/// A running server.
pub struct McpServer {
    child: Child,
    log: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl McpServer {
    /// `@modelcontextprotocol/server-everything` in one of its transports, `streamableHttp` or `sse`. It listens on all
    /// addresses, so it belongs into a network namespace of its own.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn everything(dir: &Path, transport: &str) -> Self {
        let port = ports::free();
        let mut node =
            node("GAUNTLET_TEST_MCP_SERVERS", "@modelcontextprotocol/server-everything/dist/index.js");
        node.arg(transport).env("PORT", port.to_string());
        Self::start(dir, node, port)
    }

    /// aimock, with the one tool `echo`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn aimock(dir: &Path) -> Self {
        let (port, config) = (ports::free(), dir.join("aimock.json"));
        let tool = json!({ "name": ECHO, "description": "echo", "inputSchema": { "type": "object" }, "result": "ok" });
        let text = json!({ "port": port, "host": "127.0.0.1", "mcp": { "path": "/mcp", "tools": [tool] } });
        std::fs::write(&config, text.to_string()).expect("write aimock.json");
        let mut node = node("GAUNTLET_TEST_AIMOCK", "@copilotkit/aimock/dist/aimock-cli.js");
        node.arg("--config").arg(&config);
        Self::start(dir, node, port)
    }

    /// FastMCP with the tools `add`, `count` and `fail`; with a token, only for those who have it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn fast(dir: &Path, token: Option<&str>) -> Self {
        Self::python(dir, "server.py", token)
    }

    /// A server on the official Python SDK whose list of tools has three pages ([`Self::said`] has a line for each that is read)
    /// and whose tool `change` tells subscribers of a change.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn paged(dir: &Path) -> Self {
        Self::python(dir, "paged.py", None)
    }

    fn python(dir: &Path, script: &str, token: Option<&str>) -> Self {
        let port = ports::free();
        let mut python = Command::new("python3");
        python
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("servers/fastmcp").join(script))
            .arg(port.to_string())
            .args(token)
            .env("PYTHONPATH", setting("GAUNTLET_TEST_FASTMCP"))
            .env("HOME", dir);
        Self::start(dir, python, port)
    }

    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    fn start(dir: &Path, mut command: Command, port: u16) -> Self {
        let log = dir.join(format!("mcp-server-{port}.log"));
        let file = std::fs::File::create(&log).expect("a file for the server's output");
        let stderr = file.try_clone().expect("the same file");
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(stderr)
            .spawn()
            .expect("start the server; `cargo xtask test` installs it");
        let mut server = Self { child, log, port };
        wait::until(
            "the server to listen",
            Duration::from_secs(60),
            || {
                let ended = server.child.try_wait().expect("the server's status");
                assert!(ended.is_none(), "the server ended: {}", server.said());
                std::net::TcpStream::connect(("127.0.0.1", port)).ok()
            },
            || std::fs::read_to_string(dir.join(format!("mcp-server-{port}.log"))).unwrap_or_default(),
        );
        server
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it said.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node(modules: &str, script: &str) -> Command {
    let mut node = Command::new("node");
    node.arg(setting(modules).join(script));
    node
}

#[expect(clippy::panic, reason = "a test's set-up may panic")]
fn setting(name: &str) -> PathBuf {
    std::env::var_os(name).map_or_else(|| panic!("{name} is not set: run `cargo xtask test`"), PathBuf::from)
}
