//! How many questions a second one orchestrator decides on one core: experts and client on another core, all in this process.
//!
//! `cargo run --release -p circle-of-experts --example circle -- --seconds 10`
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Request};
use circle_of_experts::model::Model;
use circle_of_experts::orchestrator::{self, Orchestrator, Settings};
use circle_of_experts::{Circle, Options, Running, Server};
use clap::Parser;
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Questions to a circle of experts who answer at once, as many as one orchestrator on one core decides.
#[derive(Parser)]
struct Arguments {
    /// How long, after a second of warming up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Experts that each question goes to.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    experts: u32,
    /// Questions in progress at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=50))]
    in_flight: u32,
    /// Decide as soon as the rest can change nothing, which costs the connections of those who are cancelled.
    #[arg(long)]
    early: bool,
    /// Core of the orchestrator.
    #[arg(long, default_value_t = 0)]
    core: usize,
    /// Core of experts and client.
    #[arg(long, default_value_t = 1)]
    other_core: usize,
}

type HttpClient = Client<HttpConnector, Full<Bytes>>;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // A thread begins on the cores of the one that starts it.
    pin(arguments.other_core)?;
    let all = Model { first_token_ms: [0.0, 0.0], token_ms: [0.0, 0.0], ..Model::default() };
    let circle = Circle { seed: 1, all, ..Circle::default() };
    let options = Options { experts: arguments.experts, circle, ..Options::default() };
    let experts = Running::<Server>::start(options)?;
    pin(arguments.core)?;
    let orchestrator = Running::<Orchestrator>::start(orchestrator::Options {
        lists: vec![experts.url()],
        settings: Settings { early: arguments.early, ..Settings::default() },
        ..orchestrator::Options::default()
    })?;
    pin(arguments.other_core)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&arguments, &orchestrator.url()))
}

fn pin(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("core {core} is not to be had"))
}

async fn measure(arguments: &Arguments, url: &str) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: HttpClient = Client::builder(TokioExecutor::new()).build(connector);
    let begin = Instant::now();
    while ask(&client, url, 0).await.is_err() {
        ensure!(begin.elapsed() < Duration::from_secs(30), "the orchestrator does not become ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run(&client, url, arguments.in_flight, Duration::from_secs(1)).await?;
    let before = (cpu("orchestrator")?, cpu("experts")?);
    let begin = Instant::now();
    let mut took = run(&client, url, arguments.in_flight, Duration::from_secs(arguments.seconds)).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let (orchestrator, experts) = (cpu("orchestrator")? - before.0, cpu("experts")? - before.1);
    took.sort_unstable();
    let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
    let rate = took.len() as f64 / seconds;
    writeln!(
        std::io::stdout(),
        "{rate:.0} questions/s to {} experts, {} at a time: p50 {:?}, p99 {:?}; orchestrator {:.0} % of core {}, experts {:.0} % of core {}; {:.0} questions a second of the orchestrator's CPU time",
        arguments.experts,
        arguments.in_flight,
        at(50),
        at(99),
        orchestrator / seconds * 100.0,
        arguments.core,
        experts / seconds * 100.0,
        arguments.other_core,
        took.len() as f64 / orchestrator.max(f64::MIN_POSITIVE),
    )?;
    Ok(())
}

/// Asks for so long, so many at a time, each its next question when the one before is answered; what each took.
async fn run(
    client: &HttpClient,
    url: &str,
    in_flight: u32,
    time: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let end = Instant::now() + time;
    let users = (0..in_flight).map(|user| async move {
        let mut took = Vec::new();
        while Instant::now() < end {
            let begin = Instant::now();
            ask(client, url, took.len() as u64 * u64::from(in_flight) + u64::from(user)).await?;
            took.push(begin.elapsed());
        }
        anyhow::Ok(took)
    });
    Ok(try_join_all(users).await?.concat())
}

async fn ask(client: &HttpClient, url: &str, number: u64) -> anyhow::Result<()> {
    let mut request = Request::new(Full::from(format!(r#"{{"question":"Question {number}?"}}"#)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("{url}/v1/consensus").parse()?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let response = client.request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// CPU time of this process's thread of this name, seconds, in the kernel's hundredths.
fn cpu(thread: &str) -> anyhow::Result<f64> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let stat = std::fs::read_to_string(path.join("stat"))?;
        let Some((name, rest)) = stat.rsplit_once(") ") else { continue };
        if name.split_once('(').is_some_and(|(_, name)| name == thread) {
            // The 14th and 15th fields; the third is the first behind the name.
            let times = rest.split(' ').skip(11).take(2).map(str::parse::<u64>);
            let ticks = times.sum::<Result<u64, _>>()?;
            return Ok(ticks as f64 / 100.0);
        }
    }
    anyhow::bail!("there is no thread {thread}")
}
