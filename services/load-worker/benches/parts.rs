//! What the parts of the hot path cost, each by itself: `cargo bench --workspace --bench parts`, with a part of a name behind
//! `--` for some of them.
//!
//! Of use to compare two ways to write one part on one machine. What a whole request costs is measured by `cargo xtask bench`.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use load_worker::io::chunked::Chunked;
use load_worker::io::http1::{KnownHead, Limits, Parser, Sink};
use load_worker::io::pool::{Grant, Pool};
use load_worker::io::sse::EventStream;
use load_worker::io::wire;
use load_worker::record::{Layout, Owner, RunSpool, ScenarioLayout, Timing};
use load_worker::schedule::{Share, Timeline};
use load_worker::spec::{Endpoint, PhaseSpec};
use plan::model::{Arrivals, Balance, LoadModel};
use protocol::id::{IncarnationId, RunId, WorkerId};

type Result = std::result::Result<(), Box<dyn Error>>;

fn main() -> Result {
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    answer_parser(&mut criterion);
    chunked_decoder(&mut criterion);
    event_stream(&mut criterion);
    request_writer(&mut criterion)?;
    recorder(&mut criterion)?;
    next_arrival(&mut criterion);
    pool(&mut criterion);
    criterion.final_summary();
    Ok(())
}

/// Looks at the status, and at fields only of a head that it does not know.
struct Look(Option<KnownHead>);

impl Sink for Look {
    fn head(&mut self, status: u16, _: &[u8], fields: &[httparse::Header<'_>]) {
        black_box((status, fields));
    }

    fn body(&mut self, data: &[u8]) {
        black_box(data);
    }

    fn known_head(&mut self) -> Option<&mut KnownHead> {
        self.0.as_mut()
    }
}

/// An answer of 1 KiB in one read, its head parsed, or known from the one before.
fn answer_parser(criterion: &mut Criterion) {
    let mut answer = b"HTTP/1.1 200 OK\r\nServer: bare\r\nDate: Sun, 29 Nov 2026 12:00:00 GMT\r\n\
        Content-Type: application/json\r\nContent-Length: 1024\r\nConnection: keep-alive\r\n\r\n"
        .to_vec();
    answer.resize(answer.len() + 1024, b'x');
    let limits = Limits { max_head: 64 * 1024, max_body: 1024 * 1024 };
    let mut group = criterion.benchmark_group("answer");
    for (name, known) in [("parsed", None), ("known head", Some(KnownHead::default()))] {
        let (mut parser, mut sink) = (Parser::new(), Look(known));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                parser.begin(false);
                black_box(parser.feed(black_box(&answer), limits, &mut sink))
            });
        });
    }
    group.finish();
}

/// 64 KiB in chunks of 4 KiB, and in chunks of 16 bytes, where it is all framing.
fn chunked_decoder(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunked");
    for size in [4096, 16] {
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        let body = chunk.repeat(64 * 1024 / size) + "0\r\n\r\n";
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(format!("chunks of {size}"), |bencher| {
            bencher.iter(|| {
                let (mut decoder, mut bytes) = (Chunked::new(), 0);
                black_box(decoder.decode(black_box(body.as_bytes()), |data| bytes += data.len())).is_ok()
                    && bytes == 64 * 1024
            });
        });
    }
    group.finish();
}

/// Events as a model's tokens come in: 100 in one read.
fn event_stream(criterion: &mut Criterion) {
    let event = "id: 17\nevent: delta\ndata: {\"index\":0,\"delta\":{\"content\":\" token\"}}\n\n";
    let stream = event.repeat(100);
    let mut group = criterion.benchmark_group("events");
    group.throughput(Throughput::Elements(100));
    group.bench_function("of a stream", |bencher| {
        let mut parser = EventStream::new();
        bencher.iter(|| {
            let mut bytes = 0;
            let fed = parser.feed(black_box(stream.as_bytes()), 64 * 1024, |event| bytes += event.data.len());
            fed.is_ok() && bytes > 0
        });
    });
    group.finish();
}

/// A request's bytes, with three header fields of the guest's.
fn request_writer(criterion: &mut Criterion) -> Result {
    let endpoint = Endpoint {
        url: "http://127.0.0.1:8080".into(),
        tls: None,
        addrs: vec!["127.0.0.1:8080".parse()?],
        socket: None,
        tunnel: None,
        proxy_authorization: None,
        host_header: "127.0.0.1:8080".into(),
        base_path: "/api".into(),
        detour: None,
    };
    let mut headers = Vec::new();
    let fields =
        [("accept", "application/json"), ("x-user", "1234567"), ("authorization", "Bearer 0123456789")];
    for (name, value) in fields {
        for text in [name, value] {
            headers.extend_from_slice(&u16::try_from(text.len())?.to_le_bytes());
        }
        headers.extend_from_slice(name.as_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let mut out = Vec::new();
    criterion.bench_function("request/written", |bencher| {
        bencher.iter(|| {
            out.clear();
            let path = black_box(&b"/items/1234?page=7"[..]);
            wire::write(&mut out, &endpoint, b"GET", path, black_box(&headers), &[], false);
            out.len()
        });
    });
    Ok(())
}

/// All that is counted of one answered request; times as far apart as they are in a run.
fn recorder(criterion: &mut Criterion) -> Result {
    let dir = tempfile::tempdir()?;
    let layout = Layout::new(vec![ScenarioLayout { steps: 2, targets: vec![0], checks: 1, metrics: 0 }]);
    let owner = Owner { run: RunId::new(), worker: WorkerId::new(), incarnation: IncarnationId::new() };
    let (_spool, mut recorders) = RunSpool::create(dir.path(), owner, layout, 1)?;
    let mut recorder = recorders.pop().ok_or("no recorder")?;
    recorder.begin_phase(0, 0);
    let mut number = 0;
    criterion.bench_function("recorder/a request", |bencher| {
        bencher.iter(|| {
            number += 1;
            let us = 100 + draws::up_to(20_000, draws::at(7, number));
            let timing =
                Timing { latency_us: us + 20, service_us: us, queue_us: us / 64, first_byte_us: us - 9 };
            recorder.scheduled(1);
            recorder.started(0);
            recorder.request_sent(0, 120, false);
            recorder.send_lag(us * 10);
            recorder.answered(0, &timing, 200, 1200, true);
        });
    });
    Ok(())
}

/// The schedule's next arrival, by how arrivals come and by how many threads share them.
fn next_arrival(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arrival");
    for (name, arrivals, threads) in [
        ("even", Arrivals::Even, 1),
        ("poisson", Arrivals::Poisson, 1),
        ("one in eight, poisson", Arrivals::Poisson, 8),
    ] {
        // A million a second for a day: more than a bench takes.
        let model = LoadModel::Open { start_rate: 1e6, rate: 1e6, ramp: Duration::ZERO, arrivals };
        let spec = PhaseSpec {
            phase: 0,
            t0: Instant::now(),
            duration: Duration::from_secs(24 * 3600),
            model,
            share: Share::new(1, &[0], 0, threads),
            connections: 1,
            total_connections: 1,
            users: 1,
            total_users: 1,
            capacity: 1,
            max_waiting: 0,
            weights: vec![1.0, 3.0],
            scenarios: vec![],
        };
        let mut timeline = Timeline::new(&spec, 7);
        group.bench_function(name, |bencher| bencher.iter(|| black_box(timeline.pop())));
    }
    group.finish();
}

/// A lane taken and given back, with 64 connections to one endpoint and to eight.
fn pool(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool");
    for (name, endpoints, balance) in [
        ("one endpoint", 1, Balance::RoundRobin),
        ("eight in turn", 8, Balance::RoundRobin),
        ("the least used of eight", 8, Balance::LeastConnections),
        ("the better of two of eight", 8, Balance::PowerOfTwo),
    ] {
        let mut pool = Pool::new(endpoints, balance, 0);
        pool.want(64);
        // Which endpoint each connection leads to, by its key.
        let mut of = Vec::new();
        while let Some(endpoint) = pool.make(64, |_| true) {
            let key = of.len() as u32;
            of.push(endpoint);
            pool.made(true, endpoint, key, 1);
            let _kept = pool.put_back(endpoint, key);
        }
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number += 1;
                match pool.grant(draws::at(7, number)) {
                    Some(Grant::Idle(key)) => pool.put_back(of[key as usize], key),
                    Some(Grant::Make { .. }) | None => false,
                }
            });
        });
    }
    group.finish();
}
