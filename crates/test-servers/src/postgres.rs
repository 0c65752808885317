//! A real PostgreSQL.
//!
//! Its programs are in the directory `GAUNTLET_TEST_POSTGRES`, else in PATH, else where Debian puts them;
//! `cargo xtask test` provides them. It refuses to run as root, so for root it runs as `nobody`.
//!
//! A shell looks after each server. Its standard input is a pipe that only the test's process holds: the shell sees it
//! close when that process ends, whether by itself, by a panic or by SIGKILL, ends the server and removes its files.

mod replicas;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::ports;

/// The user of all databases.
pub const USER: &str = "gauntlet";
/// Its password.
pub const PASSWORD: &str = "test-password";

/// How long to wait for a server to start or to end.
const DEADLINE: Duration = Duration::from_secs(60);
/// Runs the server until standard input ends or says `keep` or `stop`, which leave the files for the next start; `stop` is a
/// fast shutdown, as its manual names it.
const SUPERVISOR: &str = r#"
postgres=$1; home=$2; shift 2
"$postgres" -D "$home/data" "$@" </dev/null >>"$home/log" 2>&1 &
server=$!
read -r word
[ "$word" = stop ] && signal=INT || signal=QUIT
kill "-$signal" "$server"
wait "$server"
[ "$word" = keep ] || [ "$word" = stop ] || { cd /; rm -rf "$home"; }
"#;

/// What can be chosen about a server.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether commits wait for the disk. Without it they survive a killed server, but not a crash of the machine.
    pub durable: bool,
    /// A certificate and its key (PEM): with them the server speaks TLS.
    pub tls: Option<(String, String)>,
}

/// A running server; ends with the value.
#[derive(Debug)]
pub struct Postgres {
    home: tempfile::TempDir,
    programs: PathBuf,
    settings: Settings,
    port: u16,
    supervisor: Option<Child>,
}

impl Postgres {
    /// The server that all tests of a process share, started when the first one asks for it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Settings::default()))
    }

    /// Starts a server of one's own, on a free port.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let mut server = Self::new(settings);
        server.initialise();
        server.start_again();
        server
    }

    /// A server without files, which does not run.
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    fn new(settings: Settings) -> Self {
        let home = tempfile::Builder::new().prefix("gauntlet-postgres-").tempdir().expect("a directory");
        Self { home, programs: programs(), settings, port: ports::free(), supervisor: None }
    }

    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    fn initialise(&self) {
        let home = self.home.path();
        let mut files = vec![("password", PASSWORD.to_owned())];
        if let Some((certificate, key)) = &self.settings.tls {
            files.extend([("server.crt", certificate.clone()), ("server.key", key.clone())]);
        }
        for (name, content) in files {
            let file = home.join(name);
            fs::write(&file, content).expect("write a file of the server");
            // The server refuses a key that others may read.
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .expect("permissions");
            give_away(&file);
        }
        give_away(home);
        let mut initdb = self.command(self.programs.join("initdb"));
        initdb.arg("-D").arg(home.join("data")).arg("--pwfile").arg(home.join("password"));
        initdb.args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let output = initdb.output().expect(
            "start initdb, which `cargo xtask test` provides, in a directory that `nobody` may enter",
        );
        assert!(
            output.status.success(),
            "initdb: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Starts it again on the same port and files, after [`Postgres::kill`] or [`Postgres::stop`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let started = Instant::now();
        while !self.try_start() {
            assert!(started.elapsed() < DEADLINE, "PostgreSQL does not start:\n{}", self.log());
            pause();
        }
    }

    /// Starts it once; `false` = it ended.
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    fn try_start(&mut self) -> bool {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", SUPERVISOR, "sh"]).arg(self.programs.join("postgres")).arg(self.home.path());
        let mut settings = format!(
            "port={} listen_addresses=127.0.0.1 unix_socket_directories= max_connections=200 fsync={} logging_collector=off",
            self.port,
            if self.settings.durable { "on" } else { "off" },
        );
        if self.settings.tls.is_some() {
            let home = self.home.path().display();
            let _ =
                write!(settings, " ssl=on ssl_cert_file={home}/server.crt ssl_key_file={home}/server.key");
        }
        for setting in settings.split(' ') {
            shell.args(["-c", setting]);
        }
        // A group of its own: a Ctrl-C in the terminal is for the test, whose end then ends the server.
        let mut supervisor = shell
            .process_group(0)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("start a shell for PostgreSQL");
        let started = Instant::now();
        let up = loop {
            if self.is_ready() {
                break true;
            }
            assert!(started.elapsed() < DEADLINE, "PostgreSQL is not ready:\n{}", self.log());
            if self.pid().is_none_or(|pid| !is_alive(pid)) && started.elapsed() > Duration::from_secs(2) {
                break false;
            }
            pause();
        };
        if !up {
            finish(&mut supervisor, "keep\n");
            return false;
        }
        self.supervisor = Some(supervisor);
        true
    }

    /// Kills it (SIGKILL), as a crash would, and waits until it is gone with all its processes: one that serves a client
    /// goes by itself, but may answer a query before it sees that the server is dead. Its files stay.
    ///
    /// # Panics
    /// When it is not running, or one of its processes lives on.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn kill(&mut self) {
        let server = self.pid().expect("a running server");
        let children = children(server);
        let pid = rustix::process::Pid::from_raw(server).expect("a running server");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("kill the server");
        let mut supervisor = self.supervisor.take().expect("a running server");
        finish(&mut supervisor, "keep\n");
        let started = Instant::now();
        while let Some(child) = children.iter().find(|child| is_alive(**child)) {
            assert!(
                started.elapsed() < DEADLINE,
                "process {child} of a killed PostgreSQL lives on:\n{}",
                self.log()
            );
            pause();
        }
    }

    /// Ends it as an operator does, by a fast shutdown, which waits for nobody, and waits until it is gone. Its files stay.
    ///
    /// # Panics
    /// When it is not running.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn stop(&mut self) {
        let mut supervisor = self.supervisor.take().expect("a running server");
        finish(&mut supervisor, "stop\n");
    }

    /// Stops it from doing anything (SIGSTOP on all its processes), as a machine that hangs would, or lets it go on.
    ///
    /// # Panics
    /// When it is not running.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        let server = self.pid().expect("a running server");
        let send = |pid: i32| {
            // One that has just ended needs no signal.
            let _ = rustix::process::Pid::from_raw(pid).map(|pid| rustix::process::kill_process(pid, signal));
        };
        // The server first, and until it stands still: it could start another process, which would go on.
        send(server);
        let started = Instant::now();
        while frozen && state(server) != Some('T') {
            assert!(started.elapsed() < DEADLINE, "PostgreSQL does not stop:\n{}", self.log());
            pause();
        }
        children(server).into_iter().for_each(send);
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database; its URL with user and password.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database with user and password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements in a database; the first column of the rows that they gave.
    ///
    /// # Panics
    /// When one fails.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn execute(&self, database: &str, statements: &str) -> Vec<String> {
        let url = self.url(database);
        // A thread with a runtime of its own: the caller may or may not be in one, and may not wait in it.
        std::thread::scope(|scope| {
            scope.spawn(|| ask(&url, statements).expect("run statements")).join().expect("run statements")
        })
    }

    fn is_ready(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && std::thread::scope(|scope| {
                scope.spawn(|| ask(&self.url("postgres"), "SELECT 1").is_ok()).join().unwrap_or(false)
            })
    }

    /// The server's process, as its file says.
    fn pid(&self) -> Option<i32> {
        let file = fs::read_to_string(self.home.path().join("data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// A command as a user that the server accepts.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.home.path()).stdin(Stdio::null()).env("LC_ALL", "C");
        if let Some((user, group)) = other_user() {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that a failed test left frozen would never end.
        if self.supervisor.is_some() && self.pid().is_some() {
            self.freeze(false);
        }
        if let Some(mut supervisor) = self.supervisor.take() {
            finish(&mut supervisor, "");
        }
    }
}

/// Tells a supervisor to end its server, and waits until both are gone.
fn finish(supervisor: &mut Child, word: &str) {
    if let Some(mut input) = supervisor.stdin.take() {
        // One that is gone needs no telling.
        let _ = input.write_all(word.as_bytes());
    }
    let _ = supervisor.wait();
}

fn ask(url: &str, statements: &str) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let asked = async {
            let answer = client.simple_query(statements).await;
            drop(client);
            answer
        };
        let (answer, _) = tokio::join!(asked, connection);
        let rows = answer?.into_iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(rows.collect())
    })
}

/// The directory with `postgres` and `initdb`.
#[expect(clippy::panic, reason = "a test's set-up may panic")]
fn programs() -> PathBuf {
    if let Some(dir) = std::env::var_os("GAUNTLET_TEST_POSTGRES") {
        return PathBuf::from(dir);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(debian.map(|version| version.path().join("bin")))
        .find(|dir| ["postgres", "initdb"].iter().all(|program| dir.join(program).is_file()))
        .unwrap_or_else(|| {
            panic!("no postgres and initdb in PATH: run `cargo xtask test`, or set GAUNTLET_TEST_POSTGRES")
        })
}

/// User and group to run as, when we are root.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let nobody = users.lines().find(|line| line.starts_with("nobody:"));
    let mut fields = nobody.unwrap_or_default().split(':').skip(2).map(str::parse);
    match (fields.next(), fields.next()) {
        (Some(Ok(user)), Some(Ok(group))) => Some((user, group)),
        _ => Some((65534, 65534)),
    }
}

#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
fn give_away(path: &Path) {
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("give a file to another user");
    }
}

/// The processes that a server has started and that are not ended.
fn children(server: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether a process runs. One that has ended and that nobody waits for (in a container nobody may) does not.
fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| !['Z', 'X'].contains(&state))
}

/// What a process does, as the system has it: `T` stands still, `Z` has ended; none when there is no such process.
fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // It follows the name, which is in parentheses and may hold any character.
    stat.rsplit(')').next()?.trim_start().chars().next()
}

fn pause() {
    std::thread::park_timeout(Duration::from_millis(10));
}
