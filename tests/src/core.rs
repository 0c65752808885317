//! The reference target as a process, with its knobs and its log.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use core_services::access_log::Line;

use crate::wait;

/// A running core-services; ends with the value.
pub struct Core {
    child: Child,
    log: PathBuf,
    /// Its port.
    pub port: u16,
}

impl Core {
    /// Starts it with `knobs` (JSON).
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(dir: &Path, knobs: &str) -> Self {
        Self::start_with_token(dir, knobs, "test")
    }

    /// The same with a token of one's own for its admin API.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn start_with_token(dir: &Path, knobs: &str, token: &str) -> Self {
        let (port_file, log) = (dir.join("core.port"), dir.join("core.log"));
        let child = Command::new(crate::program("core-services"))
            .args(["--port", "0", "--admin-token", token, "--knobs", knobs])
            .arg("--port-file")
            .arg(&port_file)
            .arg("--access-log")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start core-services");
        let port = wait::until(
            "core-services to write its port",
            Duration::from_secs(10),
            || std::fs::read_to_string(&port_file).ok()?.trim().parse().ok(),
            || "no port yet".to_owned(),
        );
        Self { child, log, port }
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Pauses or resumes the whole process.
    pub fn signal(&self, signal: rustix::process::Signal) {
        crate::signal(&self.child, signal);
    }

    /// Stops it and returns what it logged.
    ///
    /// # Panics
    /// When the log cannot be read.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn stop(mut self) -> Vec<Line> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().expect("core-services ends");
        let text = std::fs::read_to_string(&self.log).expect("its access log");
        text.lines().map(|line| Line::parse(line).expect("a line of its access log")).collect()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // After `stop` both fail, which is as it should be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
