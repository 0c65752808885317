//! The benchmarks' bare server as a process, with its log.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running bare-server; ends with the value.
pub struct BareServer {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
    /// Its port.
    pub port: u16,
}

impl BareServer {
    /// Starts it with a log in `dir` that has the values of these header fields.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn start(dir: &Path, headers: &[&str]) -> Self {
        let log = dir.join("bare-server.log");
        let mut command = Command::new(crate::program("bare-server"));
        command.arg("--log").arg(&log);
        for header in headers {
            command.args(["--log-header", header]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start bare-server");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        // Owned from here on, so that it ends whatever happens.
        let mut server = Self { child, stdout, log, port: 0 };
        let mut line = String::new();
        server.stdout.read_line(&mut line).expect("bare-server's port");
        server.port = line.trim().parse().expect("a port");
        server
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The log so far: of each request its first line and the values of the header fields. What was answered before the
    /// latest requests is in it.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn log(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(&self.log).expect("bare-server's log");
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // A bench's server runs until it is ended, and has nothing to put in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
