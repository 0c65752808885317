//! `cargo xtask bench load`: Gauntlet's load engine beside other load generators.
//!
//! The server and whoever watches have one core, the client has the other to itself; with `--threads N` the client has N threads,
//! and all share N cores. Clients take turns, round by round, so that what changes on the machine meanwhile changes for all
//! of them, and ratios are of two runs of the same round. CPU time is a process's own: user and system, as the kernel
//! accounts for it.

mod cases;
mod clients;
mod gauntlet;
mod options;
mod process;
mod ratios;
mod results;
mod servers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use serde_json::{Value, json};

use self::cases::{Case, HARD_RATE, HARD_SHARE, PACED_RATE};
use self::clients::{Ask, Client};
use self::process::{Cores, Finished};
use self::results::{Row, Run};
use self::servers::Server;
use crate::guests;
use crate::paths::{root, target};

pub(crate) use self::options::Options;
pub(super) use self::servers::{bare_on_any_core, nginx_on_any_core};

/// How much longer than it was told to a client may take: it makes connections, compiles scripts, writes reports.
const SPARE: Duration = Duration::from_secs(60);

/// Others that use more than this share of a core disturb what is measured.
const DISTURBED: f64 = 0.1;

/// Seconds for which wrk is asked what it reaches, before [`Case::PacedHard`].
const PROBE: u32 = 5;

/// Measures and prints.
pub(crate) fn load(options: &Options) -> anyhow::Result<()> {
    let cores = Cores::find(options.threads)?;
    guests::build_named(&["http"])?;
    println!("bench: building gauntlet, the bare server and the raw client (release)");
    let programs = super::programs(true)?;
    for client in &options.clients {
        client.install()?;
    }
    if options.case == Case::PacedHard && options.rate.is_none() {
        Client::Wrk.install()?;
    }
    let dir = target()?.join("bench");
    std::fs::create_dir_all(&dir)?;
    process::move_to(&cores.server)?;
    let bench = Bench::start(options, cores, dir, programs)?;
    bench.measure()
}

/// A measurement under way.
struct Bench<'a> {
    options: &'a Options,
    cores: Cores,
    dir: PathBuf,
    programs: PathBuf,
    server: Server,
    rate: Option<f64>,
}

impl<'a> Bench<'a> {
    fn start(options: &'a Options, cores: Cores, dir: PathBuf, programs: PathBuf) -> anyhow::Result<Self> {
        let server =
            if options.nginx { servers::nginx(&dir, cores)? } else { servers::bare(&programs, cores)? };
        let mut bench = Self { options, cores, dir, programs, server, rate: None };
        bench.rate = match (options.rate, options.case) {
            (Some(rate), _) => Some(f64::from(rate)),
            (None, Case::Paced) => Some(PACED_RATE),
            (None, Case::PacedHard) => {
                let ask = Ask { seconds: PROBE, ..bench.ask(Client::Wrk, 1) };
                let wrk = bench.run(Client::Wrk, &ask)?;
                let rate = HARD_RATE.min((HARD_SHARE * wrk.said.requests_per_second).floor());
                println!(
                    "bench: wrk reaches {:.0} req/s, so the rate is {rate} req/s",
                    wrk.said.requests_per_second
                );
                Some(rate)
            }
            _ => None,
        };
        Ok(bench)
    }

    fn measure(&self) -> anyhow::Result<()> {
        let options = self.options;
        let multiples: &[u32] = if options.case == Case::Memory { &[1, 2] } else { &[1] };
        let jobs: Vec<(Client, Ask)> = options
            .clients
            .iter()
            .flat_map(|&client| multiples.iter().map(move |&users| (client, self.ask(client, users))))
            .collect();
        let mut rows: Vec<Row> = jobs.iter().map(|(client, ask)| row(*client, ask)).collect();
        println!("{}", self.heading());
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let path = self.dir.join(format!("load-{}-{now}.json", options.case.name()));
        for round in 1..=options.rounds {
            for ((client, ask), row) in jobs.iter().zip(&mut rows) {
                println!("bench: round {round} of {}: {}", options.rounds, row.name);
                match self.run(*client, ask) {
                    Ok(run) => {
                        if let Some(why) = results::not_passed(&run) {
                            println!("bench: {}: {why}", row.name);
                        }
                        row.runs.push(Some(run));
                    }
                    // The others are measured all the same; the table says what is missing.
                    Err(error) => {
                        println!("bench: {}: {error:#}", row.name);
                        row.runs.push(None);
                        row.failures.push(format!("round {round}: {error:#}"));
                    }
                }
            }
            // After each round: what was measured is kept when the rest is not.
            self.write(&path, now, &rows)?;
        }
        println!("\n{}\n{}", self.heading(), results::table(options.case, &rows));
        let ratios = ratios::table(options.case, &rows);
        if !ratios.is_empty() {
            println!("{ratios}");
        }
        if options.case.is_paced() {
            println!("`errors`: requests without the answer that was wanted, dropped ones among them.");
        }
        println!(
            "Percentiles of Gauntlet are from the actual send, as the others'. `others`: CPU time of everything else on the \
             machine, worst round, as a share of one core."
        );
        let others = results::others(&rows);
        if others > DISTURBED {
            println!(
                "bench: others used up to {:.0} % of a core: these figures are of a disturbed machine",
                100.0 * others
            );
        }
        println!("bench: {}", path.display());
        let failed = rows.iter().filter(|row| !row.failures.is_empty()).count();
        anyhow::ensure!(failed == 0, "{failed} of {} clients did not come through all rounds", rows.len());
        Ok(())
    }

    fn heading(&self) -> String {
        let Self { options, cores, server, .. } = self;
        let rate = self.rate.map(|rate| format!(", {rate} req/s")).unwrap_or_default();
        let threads =
            if options.threads > 1 { format!(", {} threads", options.threads) } else { String::new() };
        format!(
            "case {}: {} connections{rate}{threads}, {} s, {} rounds; {}",
            options.case.name(),
            options.connections,
            options.seconds,
            options.rounds,
            cores.shown(server.name)
        )
    }

    /// What a client is asked for; `users` is a multiple of the connections.
    fn ask(&self, client: Client, users: u32) -> Ask {
        let Self { options, server, .. } = self;
        let (base, ca) = match &server.https {
            Some((port, ca)) if options.case.wants_nginx() => {
                (format!("https://127.0.0.1:{port}"), Some(ca.clone()))
            }
            _ => (format!("http://127.0.0.1:{}", server.http), None),
        };
        let json = options.case == Case::Json || client == Client::GauntletBody;
        Ask {
            case: options.case,
            base,
            path: if json { "/json/4711" } else { "/items/4711" },
            connections: options.connections,
            seconds: options.seconds,
            threads: options.threads,
            rate: self.rate,
            ca,
            users: options.connections * users,
        }
    }

    /// One run of one client.
    fn run(&self, client: Client, ask: &Ask) -> anyhow::Result<Run> {
        let dir = self.dir.join("clients").join(client.name());
        std::fs::create_dir_all(&dir)?;
        let command = if client.is_gauntlet() {
            gauntlet::command(client, ask, &dir)?
        } else {
            client.command(ask, &self.programs, &dir)?
        };
        let finished = process::Client {
            command,
            dir: &dir,
            threads: if client.is_gauntlet() { gauntlet::load_threads(ask.threads) } else { vec![] },
            server: self.server.pid,
            limit: Duration::from_secs(u64::from(ask.seconds)) + SPARE,
        }
        .run(self.cores)?;
        let (said, cpu, details) = if client.is_gauntlet() {
            let read = gauntlet::read(client, ask, &finished, &dir)?;
            let (begin, end) = read.phase;
            let in_phase = finished.cpu_between(begin, end).context("too few samples of its CPU time")?;
            let threads = finished.thread_cpu.context("a load thread of it was not seen")?;
            let cpu = vec![
                ("process, during the phase", in_phase),
                (if ask.threads > 1 { "load threads" } else { "load thread" }, threads),
                ("process, from start to end", finished.cpu),
            ];
            (read.said, cpu, read.details)
        } else {
            let said = client.read(&finished, &dir)?;
            let mut cpu = vec![("process", finished.cpu)];
            cpu.extend(said.loop_cpu.map(|seconds| ("loop, without connecting", seconds)));
            (said, cpu, Value::Null)
        };
        let Finished { wall, peak_memory, others, .. } = finished;
        Ok(Run { said, cpu, wall, peak_memory, others, details })
    }

    fn write(&self, path: &Path, now: u64, rows: &[Row]) -> anyhow::Result<()> {
        let options = self.options;
        let value = json!({
            "format": "gauntlet-bench-load/1",
            "at_unix": now,
            "case": options.case.name(),
            "connections": options.connections,
            "seconds": options.seconds,
            "rounds": options.rounds,
            "rate": self.rate,
            "threads": options.threads,
            "server": self.server.name,
            "reference": options.case.reference().name(),
            "machine": machine(),
            "rows": results::json(options.case, rows),
            "ratios": ratios::json(options.case, rows),
        });
        let text = serde_json::to_string_pretty(&value)?;
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn row(client: Client, ask: &Ask) -> Row {
    let name = match client {
        Client::GauntletUsers => format!("{} users", ask.users),
        Client::GauntletBody if ask.case != Case::Json => "gauntlet-body (1 KB JSON)".to_owned(),
        _ => client.name().to_owned(),
    };
    Row { client, name, runs: vec![], failures: vec![] }
}

/// What figures depend on.
fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    json!({
        "cpu": model.map(|(_, name)| name.trim()),
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "commit": commit(&root()),
    })
}

fn commit(root: &Path) -> Option<String> {
    let git = Command::new("git").current_dir(root).args(["rev-parse", "HEAD"]).output().ok()?;
    git.status.success().then(|| String::from_utf8_lossy(&git.stdout).trim().to_owned())
}
