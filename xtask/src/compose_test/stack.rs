//! The stack of compose.yaml on the test's engine: up, looked at, used, and down.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::engine::{Engine, output, pause};
use super::file::Compose;
use crate::paths::{root, run};

/// Prefix of the names of everything that the stack makes.
const PROJECT: &str = "gauntlet-test";
/// Where compose.yaml publishes the scheduler's API.
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7070);
/// Exit codes of `gauntlet run` that are a verdict: passed, invalid, a threshold failed.
const VERDICTS: [i32; 3] = [0, 98, 99];
const PHASES: usize = 7;

pub(super) struct Stack<'a> {
    engine: &'a Engine,
    compose: &'a Compose,
}

impl<'a> Stack<'a> {
    pub(super) const fn new(engine: &'a Engine, compose: &'a Compose) -> Self {
        Self { engine, compose }
    }

    fn compose(&self, limit: Duration, arguments: &[&str]) -> Command {
        let mut command = self.engine.client("docker-compose", limit);
        let file = root().join("compose.yaml");
        command.args(["--project-name", PROJECT, "--file"]).arg(file).args(arguments);
        // What a user has set for a stack of its own is not meant for this one.
        for variable in ["GAUNTLET_UID", "GAUNTLET_RUNS", "GAUNTLET_API_PORT"] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts everything and waits until all of it is healthy; how long that took.
    ///
    /// # Errors
    /// When it is not in time, with what each container says.
    pub(super) fn up(&self, limit: Duration) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let started = output(&mut self.compose(limit, &["up", "--detach", "--no-build"]));
        let healthy = started.and_then(|_| self.until_healthy(began + limit));
        if healthy.is_err() {
            self.complain();
        }
        healthy.map(|()| began.elapsed())
    }

    fn until_healthy(&self, deadline: Instant) -> anyhow::Result<()> {
        loop {
            let mut waiting = Vec::new();
            for service in self.compose.lasting() {
                let health = self.inspect(service, "{{.State.Health.Status}}")?;
                if health != "healthy" {
                    waiting.push(format!("{service} is {health}"));
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "not in time: {}", waiting.join(", "));
            pause();
        }
    }

    /// The id of a service's one container.
    fn container(&self, service: &str) -> anyhow::Result<String> {
        let filter = format!("label=com.docker.compose.service={service}");
        let ids = self.engine.docker(&["ps", "--all", "--quiet", "--filter", &filter])?;
        let id = ids.lines().next().with_context(|| format!("service {service} has no container"))?;
        Ok(id.to_owned())
    }

    fn inspect(&self, service: &str, format: &str) -> anyhow::Result<String> {
        let container = self.container(service)?;
        let text = self.engine.docker(&["inspect", "--format", format, &container])?;
        Ok(text.trim().to_owned())
    }

    /// Whether what compose.yaml asks for is what the processes have.
    ///
    /// # Errors
    /// What is otherwise.
    pub(super) fn is_confined(&self) -> anyhow::Result<()> {
        for service in self.compose.lasting() {
            let container = self.container(service)?;
            let status = self.engine.docker(&["exec", &container, "cat", "/proc/1/status"])?;
            let line =
                |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let (user, capabilities) = (line("Uid:\t"), line("CapBnd:\t"));
            anyhow::ensure!(!user.is_empty() && !user.starts_with("0\t"), "{service} runs as user {user:?}");
            let none = !capabilities.is_empty() && capabilities.chars().all(|digit| digit == '0');
            anyhow::ensure!(none, "{service} may have the capabilities {capabilities:?}");
            let no_new = line("NoNewPrivs:\t");
            anyhow::ensure!(no_new == "1", "{service} may gain privileges: NoNewPrivs {no_new:?}");
            let writes = self.engine.docker(&["exec", &container, "touch", "/usr/local/bin/x"]);
            anyhow::ensure!(writes.is_err(), "{service} can write to its own programs");
        }
        for (service, server, sees) in [
            ("core-services", "nats", false),
            ("core-services", "postgres", false),
            ("load-worker-1", "nats", true),
            ("load-worker-1", "core-services", true),
        ] {
            let found = self.engine.docker(&["exec", &self.container(service)?, "getent", "hosts", server]);
            anyhow::ensure!(found.is_ok() == sees, "whether {service} finds {server}: {}", found.is_ok());
        }
        Ok(())
    }

    /// Whether the one published port asks for the token that was made at the start.
    ///
    /// # Errors
    /// What is otherwise.
    pub(super) fn api_wants_its_token(&self) -> anyhow::Result<()> {
        let mut published = Vec::new();
        for service in self.compose.lasting() {
            let ports = self.inspect(service, "{{json .HostConfig.PortBindings}}")?;
            if ports != "{}" && ports != "null" {
                published.push(format!("{service} {ports}"));
            }
        }
        let expected = format!(
            "scheduler {{\"7070/tcp\":[{{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"{}\"}}]}}",
            API.port()
        );
        anyhow::ensure!(published == [expected.as_str()], "published: {published:?}, expected {expected}");
        let token = ["exec", &self.container("scheduler")?, "cat", "/run/gauntlet/api-token"];
        let token = self.engine.docker(&token)?;
        let right = format!("Authorization: Bearer {}\r\n", token.trim());
        let wrong = "Authorization: Bearer of-ill-news\r\n".to_owned();
        for (path, header, expected) in [
            ("/ready", String::new(), 200),
            ("/v1/runs", String::new(), 401),
            ("/v1/runs", wrong, 401),
            ("/v1/runs", right, 200),
        ] {
            let found = self.status(path, &header)?;
            anyhow::ensure!(found == expected, "GET {path}: status {found}, expected {expected}");
        }
        Ok(())
    }

    /// The status of an answer of the API, asked for from within the engine's network namespace.
    fn status(&self, path: &str, header: &str) -> anyhow::Result<u16> {
        let namespace = fs::File::open(self.engine.network()).context("open the network namespace")?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {API}\r\n{header}\r\n");
        // A thread of its own, which ends in that namespace; the rest of us stays where it is.
        let asking = std::thread::spawn(move || -> anyhow::Result<String> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            let limit = Duration::from_secs(10);
            let mut stream = TcpStream::connect_timeout(&API, limit)?;
            stream.set_read_timeout(Some(limit))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = Vec::new();
            stream.take(64 << 10).read_to_end(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        });
        let answer = asking.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))??;
        let status = answer.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
        status.with_context(|| format!("found {answer:?}, expected an answer of HTTP"))
    }

    /// Memory in use by each container, as the engine says it.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn memory(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut used = Vec::new();
        for service in self.compose.lasting() {
            let container = self.container(service)?;
            let text = ["stats", "--no-stream", "--format", "{{.MemUsage}}", &container];
            let text = self.engine.docker(&text)?;
            used.push((service.to_owned(), text.split('/').next().unwrap_or_default().trim().to_owned()));
        }
        Ok(used)
    }

    /// Has the seven phases run, and gives the verdict for people.
    ///
    /// # Errors
    /// When there is none, or not of all phases.
    pub(super) fn run_plan(&self) -> anyhow::Result<String> {
        let mut command = self.compose(
            Duration::from_secs(420),
            &["run", "--rm", "-T", "gauntlet", "run", "plans/compose.toml", "--json"],
        );
        let ended = command.stdin(Stdio::null()).output().context("start docker-compose")?;
        let said = || {
            format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr))
        };
        let code = ended.status.code().filter(|code| VERDICTS.contains(code));
        let code =
            code.with_context(|| format!("the run ended with {} and no verdict:\n{}", ended.status, said()))?;
        let summary: serde_json::Value =
            serde_json::from_slice(&ended.stdout).with_context(|| format!("no summary:\n{}", said()))?;
        let phases = summary["phases"].as_array().map_or(&[][..], Vec::as_slice);
        anyhow::ensure!(phases.len() == PHASES, "{} phases ran:\n{summary:#}", phases.len());
        let workers = summary["workers"].as_array().map_or(0, Vec::len);
        anyhow::ensure!(workers == 2, "{workers} load-workers took part:\n{summary:#}");
        let mut text = String::new();
        let verdict = summary["verdict"].as_str().unwrap_or("none");
        writeln!(text, "  verdict {verdict} (exit code {code}), {workers} load-workers")?;
        for phase in phases {
            // The sum turns a rate of -0 into 0.
            let number = |key: &str| phase[key].as_f64().unwrap_or_default() + 0.0;
            writeln!(
                text,
                "  {:<9} {:>6.0}/s wanted {:>6.0}/s achieved  p99 {:>8.2} ms  errors {:>5.2} %",
                phase["name"].as_str().unwrap_or_default(),
                number("wanted_rate"),
                number("achieved_rate"),
                phase["latency"]["p99"].as_f64().unwrap_or_default() / 1_000.0,
                100.0 * number("error_share")
            )?;
        }
        for reason in summary["reasons"].as_array().into_iter().flatten() {
            writeln!(text, "  {}", reason.as_str().unwrap_or_default())?;
        }
        Ok(text)
    }

    /// Whether a second `up` finds everything as it was.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn starts_again(&self) -> anyhow::Result<()> {
        let ids = || -> anyhow::Result<Vec<String>> {
            self.compose.lasting().map(|service| self.container(service)).collect()
        };
        let said = || -> anyhow::Result<Vec<String>> {
            let text = self.engine.docker(&["logs", &self.container("secrets")?])?;
            Ok(text.lines().map(str::to_owned).collect())
        };
        let (before, known) = (ids()?, said()?.len());
        output(&mut self.compose(Duration::from_secs(120), &["up", "--detach", "--no-build"]))?;
        anyhow::ensure!(ids()? == before, "containers were made anew");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let lines = said()?;
            let made = lines.iter().filter(|line| !line.ends_with(": all is there")).count();
            if lines.len() > known && made == 1 {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "service secrets said:\n{}", lines.join("\n"));
            pause();
        }
    }

    /// Prints what every container has said last.
    pub(super) fn complain(&self) {
        let mut logs = self.compose(Duration::from_secs(60), &["logs", "--no-color", "--tail=25"]);
        if let Err(error) = run(self.compose(Duration::from_secs(60), &["ps"]).stdin(Stdio::null())) {
            eprintln!("warning: {error:#}");
        }
        if let Err(error) = run(logs.stdin(Stdio::null())) {
            eprintln!("warning: {error:#}");
        }
    }

    /// Takes everything down, and sees that nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub(super) fn down(&self) -> anyhow::Result<()> {
        output(&mut self.compose(Duration::from_secs(180), &["down", "--volumes"]))?;
        let docker = |arguments: &[&str]| self.engine.docker(arguments);
        let networks = docker(&["network", "ls", "--filter", "type=custom", "--format", "{{.Name}}"])?;
        let left = [
            ("containers", docker(&["ps", "--all", "--format", "{{.Names}}"])?),
            ("volumes", docker(&["volume", "ls", "--format", "{{.Name}}"])?),
            ("networks", networks),
        ];
        for (what, names) in left {
            anyhow::ensure!(
                names.trim().is_empty(),
                "`down -v` left {what}: {}",
                names.trim().replace('\n', ", ")
            );
        }
        Ok(())
    }
}
