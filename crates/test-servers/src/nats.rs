//! A real nats-server.
//!
//! The program is `GAUNTLET_TEST_NATS`, else the one in PATH; `cargo xtask test` provides it. As with PostgreSQL, a shell
//! ends the server when the test's process does.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ports;

/// How long to wait for a server to start or to end.
const DEADLINE: Duration = Duration::from_secs(30);
/// Runs the server until standard input ends or says `keep` or `stop`, which leave the files for the next start; `stop` is
/// graceful.
const SUPERVISOR: &str = r#"
program=$1; home=$2
"$program" -c "$home/nats.conf" </dev/null >>"$home/log" 2>&1 &
server=$!
echo "$server" >"$home/pid"
read -r word
[ "$word" = stop ] && signal=TERM || signal=KILL
kill "-$signal" "$server"
wait "$server"
[ "$word" = keep ] || [ "$word" = stop ] || { cd /; rm -rf "$home"; }
"#;

/// A running server; ends with the value.
#[derive(Debug)]
pub struct Nats {
    home: tempfile::TempDir,
    port: u16,
    monitor: Option<u16>,
    supervisor: Option<Child>,
}

impl Nats {
    /// The same as [`Nats::start`] with HTTP monitoring ([`Nats::monitor`]).
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn monitored() -> Self {
        let port = ports::free();
        let http = format!("http: \"127.0.0.1:{port}\"\n");
        let mut server =
            Self::with(|home| format!("{http}jetstream {{ store_dir: \"{}/jetstream\" }}\n", home.display()));
        server.monitor = Some(port);
        server
    }

    /// Starts a server with JetStream and nothing else.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|home| format!("jetstream {{ store_dir: \"{}/jetstream\" }}\n", home.display()))
    }

    /// Starts a server with this configuration, to which the address is added. `configuration` is told the server's
    /// directory.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn with(configuration: impl FnOnce(&Path) -> String) -> Self {
        Self::configured(|home, listen| format!("listen: \"{listen}\"\n{}", configuration(home)))
    }

    /// Starts a server with this whole configuration. `configuration` is told the server's directory and the address to
    /// listen on.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn configured(configuration: impl FnOnce(&Path, SocketAddr) -> String) -> Self {
        let home = tempfile::Builder::new().prefix("gauntlet-nats-").tempdir().expect("a directory");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let text = configuration(home.path(), listen);
        fs::write(home.path().join("nats.conf"), text).expect("write the configuration");
        let mut server = Self { home, port: listen.port(), monitor: None, supervisor: None };
        server.start_again();
        server
    }

    /// Starts it again on the same port and files, after [`Nats::kill`].
    ///
    /// # Panics
    /// When it does not start.
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn start_again(&mut self) {
        let program = std::env::var_os("GAUNTLET_TEST_NATS")
            .map_or_else(|| PathBuf::from("nats-server"), PathBuf::from);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SUPERVISOR, "sh"]).arg(program).arg(self.home.path());
        // A group of its own: a Ctrl-C in the terminal is for the test, whose end then ends the server.
        let supervisor = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start a shell for nats-server");
        self.supervisor = Some(supervisor);
        let started = Instant::now();
        while !self.is_ready() {
            assert!(
                started.elapsed() < DEADLINE,
                "nats-server, which `cargo xtask test` provides, is not ready:\n{}",
                self.log()
            );
            pause();
        }
    }

    /// Whether it greets who connects.
    fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut greeting = [0; 4];
        let patient = stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok();
        patient && stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO"
    }

    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.home.path().join("pid")).ok()?;
        text.trim().parse().ok().and_then(Pid::from_raw)
    }

    /// Kills it (SIGKILL), as a crash would, and waits until it is gone. Its files stay.
    ///
    /// # Panics
    /// When it is not running.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn kill(&mut self) {
        let mut supervisor = self.supervisor.take().expect("a running server");
        finish(&mut supervisor, "keep\n");
    }

    /// Ends it as an operator does (SIGTERM), and waits until it is gone. Its files stay.
    ///
    /// # Panics
    /// When it is not running.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn stop(&mut self) {
        let mut supervisor = self.supervisor.take().expect("a running server");
        finish(&mut supervisor, "stop\n");
    }

    /// Stops it from doing anything (SIGSTOP), or lets it go on.
    ///
    /// # Panics
    /// When it is not running.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        let pid = self.pid().expect("a running server");
        kill_process(pid, signal).expect("signal the server");
        // The signal is on its way when `kill` returns: until each thread has taken it, the server may still answer.
        let begin = Instant::now();
        while frozen && !is_stopped(pid) {
            assert!(begin.elapsed() < DEADLINE, "the server was not frozen within {DEADLINE:?}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where it serves its monitoring, on 127.0.0.1, if it does.
    #[must_use]
    pub const fn monitor(&self) -> Option<u16> {
        self.monitor
    }

    /// Its directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

/// Whether all threads of a process are stopped by a signal.
fn is_stopped(pid: Pid) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())) else { return false };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything but ends with the last parenthesis: proc(5).
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    })
}

impl Drop for Nats {
    fn drop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            finish(&mut supervisor, "keep\n");
        }
    }
}

/// Tells the shell to end the server, and waits for both.
fn finish(supervisor: &mut Child, word: &str) {
    if let Some(mut input) = supervisor.stdin.take() {
        // A shell that is gone has ended the server already.
        let _ = input.write_all(word.as_bytes());
    }
    let _ = supervisor.wait();
}

#[expect(clippy::disallowed_methods, reason = "polls a server, with a deadline")]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}
