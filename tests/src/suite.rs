//! The deployed suite: NATS, PostgreSQL and the services as processes of their own, each of which can be killed and started
//! again on its state.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use test_servers::nats::Nats;
use test_servers::postgres::Postgres;

use crate::gauntlet::{self, Running};
use crate::wait;

/// How long a service may take to be ready.
const READY: Duration = Duration::from_secs(30);

/// How long chaos may take to end at a test's end; then it is killed.
const ENDS: Duration = Duration::from_secs(15);

/// So many workers are started at once: more would wait for each other longer than one may take.
const AT_ONCE: usize = 10;

/// All of it, running; ends with the value.
pub struct Suite {
    dir: PathBuf,
    /// Can be killed and started again, too.
    pub nats: Nats,
    /// A server of its own, where the test kills it; else the one that all tests share.
    pub postgres: Option<Postgres>,
    database: String,
    parts: Parts,
    services: Vec<Service>,
}

/// What a suite is made of where that is not the usual.
#[derive(Default)]
pub struct Parts {
    /// Its NATS; `None` = one with JetStream and, if so said, users.
    pub nats: Option<Nats>,
    /// A PostgreSQL of its own; `None` = a database in the one that all tests share.
    pub postgres: Option<Postgres>,
    /// Flags of every service beside the usual ones.
    pub all: Vec<String>,
    /// Flags of the metrics service.
    pub metrics: Vec<String>,
    /// Flags of the chaos service.
    pub chaos: Vec<String>,
    /// Load-workers measure what they are good for. Else each has the same weight, for what a test is about must not depend
    /// on what else the machine did when they began.
    pub measured: bool,
    /// Each service, and who starts a run, has the user of its role on NATS, with the password of [`password`].
    pub users: bool,
}

/// The password of a role on a NATS with users.
#[must_use]
pub fn password(role: &str) -> String {
    format!("{role}'s \"$secret\" #")
}

/// A service as a process.
struct Service {
    name: String,
    more: Vec<String>,
    child: Option<Child>,
    starts: u32,
}

/// A NATS as it is deployed: each role is a user with its own permissions.
#[expect(clippy::expect_used, reason = "a test's set-up may panic")]
fn nats_with_users() -> Nats {
    Nats::configured(|home, listen| {
        let config = bus::ServerConfig {
            listen,
            monitor_port: None,
            store_dir: home.join("jetstream"),
            max_store: None,
            passwords: protocol::access::ROLES.map(|role| (role.to_owned(), password(role))).into(),
            tls: None,
            private_network: false,
        };
        bus::server_config(&config).expect("a configuration for nats-server")
    })
}

impl Suite {
    /// Starts everything in `dir`, with so many load-workers, `worker-1` and so on.
    #[must_use]
    pub fn start(dir: &Path, workers: usize) -> Self {
        Self::of(dir, workers, Parts::default())
    }

    /// The same with a NATS that can be asked what it does ([`Nats::monitor`]).
    #[must_use]
    pub fn monitored(dir: &Path, workers: usize) -> Self {
        Self::of(dir, workers, Parts { nats: Some(Nats::monitored()), ..Parts::default() })
    }

    /// The same with a PostgreSQL of its own.
    #[must_use]
    pub fn with_own_postgres(dir: &Path, workers: usize) -> Self {
        let postgres = Postgres::start(test_servers::postgres::Settings::default());
        Self::of(dir, workers, Parts { postgres: Some(postgres), ..Parts::default() })
    }

    /// Starts what these parts say.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    pub fn of(dir: &Path, workers: usize, mut parts: Parts) -> Self {
        let usual = if parts.users { nats_with_users } else { Nats::start };
        let nats = parts.nats.take().unwrap_or_else(usual);
        let postgres = parts.postgres.take();
        let database = postgres.as_ref().unwrap_or_else(|| Postgres::shared()).database();
        let services = Vec::new();
        let mut suite = Self { dir: dir.join("suite"), nats, postgres, database, parts, services };
        std::fs::create_dir_all(&suite.dir).expect("the suite's directory");
        for role in protocol::access::ROLES {
            std::fs::write(suite.password_file(role), password(role)).expect("a file for the password");
        }
        let (of_metrics, of_chaos) = (suite.parts.metrics.clone(), suite.parts.chaos.clone());
        suite.spawn_new("metrics", &of_metrics);
        let least = format!("--workers={workers}");
        suite.spawn_new("scheduler", &["--api=127.0.0.1:0", &least]);
        suite.spawn_new("chaos", &of_chaos);
        suite.spawn_new::<&str>("recovery", &[]);
        for number in 1..=workers {
            let weight: &[&str] = if suite.parts.measured { &[] } else { &["--weight=1"] };
            suite.spawn_new(&format!("worker-{number}"), &[&["--threads=1"], weight].concat());
            if number % AT_ONCE == 0 {
                suite.services.iter().rev().take(AT_ONCE).for_each(|service| suite.until_ready(service));
            }
        }
        suite.services.iter().for_each(|service| suite.until_ready(service));
        suite
    }

    /// Starts one more service with these flags beside the usual ones, and waits until it is ready.
    pub fn add(&mut self, name: &str, more: &[&str]) {
        self.spawn_new(name, more);
        if let Some(service) = self.services.last() {
            self.until_ready(service);
        }
    }

    fn spawn_new<S: AsRef<str>>(&mut self, name: &str, more: &[S]) {
        let more = more.iter().map(|flag| flag.as_ref().to_owned()).collect();
        let mut service = Service { name: name.to_owned(), more, child: None, starts: 0 };
        self.spawn(&mut service);
        self.services.push(service);
    }

    #[expect(clippy::expect_used, reason = "a test's set-up may panic")]
    fn spawn(&self, service: &mut Service) {
        let state = self.dir.join(&service.name);
        std::fs::create_dir_all(&state).expect("a directory for the service");
        service.starts += 1;
        let log = std::fs::File::create(log(&state, service.starts)).expect("a file for its log");
        let (program, stores, role) = match service.name.as_str() {
            "metrics" => ("gauntlet-metrics", true, "metrics"),
            "chaos" => ("gauntlet-chaos", false, "chaos"),
            "recovery" => ("gauntlet-recovery", false, "recovery"),
            name if name.starts_with("scheduler") => ("gauntlet-scheduler", true, "scheduler"),
            _ => ("gauntlet-load-worker", false, "load"),
        };
        let given = |flag: &str| service.more.iter().any(|more| more.starts_with(flag));
        let mut command = Command::new(crate::program(program));
        command.arg("--state-dir").arg(&state);
        // Several would be servers of one cluster.
        if !given("--nats-url") {
            command.arg(format!("--nats-url={}", self.nats.url()));
        }
        if self.parts.users {
            command.arg("--nats-password-file").arg(self.password_file(role));
        }
        if stores && !given("--postgres-url") {
            command.arg(format!("--postgres-url={}", self.database));
        }
        let child =
            command.args(&self.parts.all).args(&service.more).stdin(Stdio::null()).stderr(log).spawn();
        service.child = Some(child.expect("start a service"));
    }

    /// The file with a role's password.
    #[must_use]
    pub fn password_file(&self, role: &str) -> PathBuf {
        self.dir.join(format!("password-of-{role}"))
    }

    /// The services that run, by name, with their process ids.
    #[must_use]
    pub fn pids(&self) -> Vec<(String, u32)> {
        let running = self.services.iter().filter_map(|of| Some((of.name.clone(), of.child.as_ref()?.id())));
        running.collect()
    }

    /// The database of its services.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    fn until_ready(&self, service: &Service) {
        let file = log(&self.dir.join(&service.name), service.starts);
        let read = || std::fs::read_to_string(&file).unwrap_or_default();
        wait::until(
            &format!("{} to be ready", service.name),
            READY,
            || read().contains("\"message\":\"ready\"").then_some(()),
            read,
        );
    }

    /// Sends a signal to a service; after SIGKILL and SIGTERM it is waited for.
    ///
    /// # Panics
    /// When there is no such service, or it does not end.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn signal(&mut self, name: &str, signal: Signal) {
        let service = self.services.iter_mut().find(|service| service.name == name).expect("a service");
        let child = service.child.as_mut().expect("a running service");
        crate::signal(child, signal);
        if matches!(signal, Signal::KILL | Signal::TERM) {
            let ended = || child.try_wait().expect("its status");
            wait::until("the service to end", Duration::from_secs(60), ended, String::new);
            service.child = None;
        }
    }

    /// Starts a service again that was ended; does not wait until it is ready.
    ///
    /// # Panics
    /// When there is no such service.
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn restart(&mut self, name: &str) {
        let at = self.services.iter().position(|service| service.name == name).expect("a service");
        let mut service = self.services.remove(at);
        self.spawn(&mut service);
        self.services.insert(at, service);
    }

    /// The state directory of a service.
    #[must_use]
    pub fn state_dir(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts `gauntlet run` on a plan, done by this suite.
    #[must_use]
    pub fn start_run(&self, dir: &Path, plan: &str) -> Running {
        self.start_with_plan(dir, "run", plan, &[])
    }

    /// Starts a command on a plan, done by this suite.
    #[must_use]
    pub fn start_with_plan(&self, dir: &Path, command: &str, plan: &str, more: &[&str]) -> Running {
        let url = self.nats.url();
        let file = self.password_file("cli").display().to_string();
        let mut flags = vec!["--nats", &url];
        if self.parts.users {
            flags.extend(["--nats-password-file", &file]);
        }
        flags.extend(more);
        gauntlet::start_with_plan(dir, command, plan, &flags)
    }

    /// Where the scheduler serves its HTTP API.
    ///
    /// # Panics
    /// When it has not said so.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test may panic")]
    pub fn api(&self) -> String {
        let log = self.log("scheduler");
        let ready =
            log.lines().rfind(|line| line.contains("\"the scheduler is ready\"")).expect("it is ready");
        let value: serde_json::Value = serde_json::from_str(ready).expect("a line of JSON");
        format!("http://{}", value["address"].as_str().expect("its address"))
    }

    /// What a service has logged in all its lives.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let lives =
            self.services.iter().find(|service| service.name == name).map_or(0, |service| service.starts);
        let read = |life| std::fs::read_to_string(log(&self.dir.join(name), life)).unwrap_or_default();
        (1..=lives).map(read).collect()
    }

    /// The logs of all, for a test that failed.
    #[must_use]
    pub fn logs(&self) -> String {
        self.services
            .iter()
            .map(|service| format!("--- {}\n{}", service.name, self.log(&service.name)))
            .collect()
    }
}

fn log(state: &Path, life: u32) -> PathBuf {
    state.join(format!("log-{life}"))
}

#[expect(clippy::print_stderr, reason = "why a test failed stands in the services' logs")]
fn say(text: &str) {
    eprintln!("{text}");
}

impl Drop for Suite {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&self.logs());
        }
        // Chaos ends its agent and its proxy, which are processes of their own.
        let chaos = self.services.iter_mut().find(|service| service.name == "chaos");
        if let Some(child) = chaos.and_then(|service| service.child.as_mut()) {
            crate::signal(child, Signal::TERM);
            let ends = std::time::Instant::now() + ENDS;
            while matches!(child.try_wait(), Ok(None)) && std::time::Instant::now() < ends {
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
        for child in self.services.iter_mut().filter_map(|service| service.child.as_mut()) {
            // All at once; one that is gone needs none.
            let _ = child.kill();
        }
        for service in &mut self.services {
            if let Some(mut child) = service.child.take() {
                let _ = child.wait();
            }
        }
    }
}
