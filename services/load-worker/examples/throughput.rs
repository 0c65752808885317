//! What one load thread costs: requests per second of its own CPU time, and its send lag at a paced rate, against a bare
//! server on another thread and with a native generator in the guest's place.
//!
//! `cargo run --release -p load-worker --example throughput [connections] [seconds] [rate]`
#![expect(clippy::print_stdout, reason = "an example talks to who runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use load_worker::engine::{Generator, Source, ThreadHandle, start};
use load_worker::record::{Layout, Owner, RunSpool, ScenarioLayout};
use load_worker::schedule::Share;
use load_worker::spec::{
    Endpoint, EngineCommand, EngineEvent, PhaseScenario, PhaseSpec, ScenarioSpec, TargetSpec, ThreadSpec,
};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use plan::model::{Arrivals, LoadModel};
use protocol::id::{IncarnationId, RunId, WorkerId};
use sandbox::{Fault, abi};
use series::Hist;

/// One GET a turn, nothing heard of the answer.
struct Get(abi::Setup);

impl Generator for Get {
    fn setup(&self) -> &abi::Setup {
        &self.0
    }

    fn step(
        &mut self,
        _: u64,
        starts: &[abi::Start],
        _: &[abi::Completion],
        _: &[u8],
    ) -> Result<abi::Output, Fault> {
        let none = abi::Slice { off: 0, len: 0 };
        let request = |start: &abi::Start| abi::Request {
            user: start.user,
            seq: 0,
            operation: 0,
            step: 0,
            endpoint: 0,
            method: 0,
            delay_us: 0,
            timeout_us: 0,
            attempt: 0,
            connection: abi::Connection::Any,
            interest: abi::Interest::empty(),
            target: abi::Slice { off: 0, len: 1 },
            headers: none,
            body: none,
        };
        Ok(abi::Output {
            arena: b"/".to_vec(),
            requests: starts.iter().map(request).collect(),
            verdicts: vec![],
            finished: starts.iter().map(|start| abi::Finish { user: start.user, think_us: 0 }).collect(),
            commands: vec![],
        })
    }
}

struct Gets;

impl Source for Gets {
    fn instantiate(&self, _: &str, _: u64, _: u32) -> Result<Box<dyn Generator>, String> {
        Ok(Box::new(Get(abi::Setup {
            steps: vec!["get".into()],
            checks: vec![],
            metrics: vec![],
            methods: vec!["GET".into()],
            feeds: vec![],
            expectations: vec![],
            body_limit: 0,
            stateless: true,
        })))
    }
}

/// Answers whatever it reads with the same 200.
fn serve() -> std::io::Result<SocketAddr> {
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let addr = listener.local_addr()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut streams: Vec<TcpStream> = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            if let Err(error) = poll.poll(&mut events, None)
                && error.kind() != ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                if event.token() == Token(0) {
                    while let Ok((mut stream, _)) = listener.accept() {
                        stream.set_nodelay(true)?;
                        poll.registry().register(
                            &mut stream,
                            Token(streams.len() + 1),
                            Interest::READABLE,
                        )?;
                        streams.push(stream);
                    }
                } else if let Some(stream) = streams.get_mut(event.token().0 - 1) {
                    while let Ok(read) = stream.read(&mut buffer) {
                        let answer: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world";
                        if read == 0 || stream.write(answer).is_err() {
                            break;
                        }
                    }
                }
            }
        }
    });
    Ok(addr)
}

struct Bench {
    handle: ThreadHandle,
    events: Receiver<(EngineEvent, Duration)>,
    spool: RunSpool,
    layout: Layout,
    connections: u32,
}

impl Bench {
    /// Runs one phase and prints what it cost.
    fn phase(&self, number: u32, name: &str, model: LoadModel, seconds: u64) -> Result<(), Box<dyn Error>> {
        let duration = Duration::from_secs(seconds);
        let spec = PhaseSpec {
            phase: number,
            t0: Instant::now() + Duration::from_millis(500),
            duration,
            model,
            share: Share::whole(),
            connections: self.connections,
            total_connections: self.connections,
            users: self.connections,
            total_users: self.connections,
            capacity: self.connections,
            max_waiting: 1_000_000,
            weights: vec![1.0],
            scenarios: vec![PhaseScenario {
                config: "{}".into(),
                series: vec![0],
                targets: 1,
                checks: vec![],
                metrics: vec![],
            }],
        };
        let end = spec.t0 + duration;
        self.handle.send(EngineCommand::StartPhase(Box::new(spec)));
        let (_, before) = self.events.recv()?;
        // Nothing is sent here: the wait ends by its timeout.
        let early = self.events.recv_timeout(end.saturating_duration_since(Instant::now()));
        if let Ok((event, _)) = early {
            return Err(format!("{event:?}").into());
        }
        self.handle.send(EngineCommand::EndPhase { phase: number, grace: Duration::from_secs(5) });
        let (event, after) = self.events.recv()?;
        let EngineEvent::PhaseEnded { arrivals, .. } = event else { return Err(format!("{event:?}").into()) };
        self.spool.ask_flip();
        while !self.spool.flipped() {
            self.handle.wake();
            std::thread::yield_now();
        }
        let interval = self.spool.read().ok_or("no interval")?;
        let sequence = interval.sequence;
        let batches = interval.into_batches(&self.layout, &protocol::v1::SampleBatch::default());
        self.spool.clear(sequence);
        let batch = batches.first().ok_or("no batch")?;
        let hist = |h: Option<&protocol::v1::Histogram>| h.map(Hist::decode).transpose();
        let lag = hist(batch.threads.first().and_then(|t| t.send_lag.as_ref()))?.ok_or("no lag")?;
        let service = hist(batch.series.first().and_then(|s| s.service.as_ref()))?.ok_or("no service")?;
        let cpu = (after - before).as_secs_f64();
        let (answered, q) = (arrivals.answered as f64, |h: &Hist, q| h.percentile(q).unwrap_or(0));
        println!(
            "{name}: {:.0} req/s, {:.0} req per CPU-second ({cpu:.2} s CPU); send lag p50 {} us, p99 {} us; \
             service p50 {} us, p99 {} us; {arrivals:?}",
            answered / seconds as f64,
            answered / cpu,
            q(&lag, 50.0) / 1_000,
            q(&lag, 99.0) / 1_000,
            q(&service, 50.0),
            q(&service, 99.0),
        );
        Ok(())
    }
}

/// CPU time of the calling thread.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u32>());
    let connections = args.next().transpose()?.unwrap_or(64);
    let seconds = u64::from(args.next().transpose()?.unwrap_or(3));
    let paced = f64::from(args.next().transpose()?.unwrap_or(5_000));
    let addr = serve()?;
    let dir = tempfile::tempdir()?;
    let layout = Layout::new(vec![ScenarioLayout { steps: 1, targets: vec![0], checks: 0, metrics: 0 }]);
    let owner = Owner { run: RunId::new(), worker: WorkerId::new(), incarnation: IncarnationId::new() };
    let (spool, mut recorders) = RunSpool::create(dir.path(), owner, layout.clone(), 1)?;
    let endpoint = Endpoint {
        url: format!("http://{addr}"),
        tls: None,
        addrs: vec![addr],
        host_header: addr.to_string(),
        base_path: String::new(),
        detour: None,
    };
    let spec = ThreadSpec {
        index: 0,
        threads: 1,
        seed: 7,
        scenarios: vec![ScenarioSpec {
            name: "get".into(),
            guest: Arc::new(Gets),
            targets: vec![0],
            timeout: Duration::from_secs(30),
            feeds: BTreeMap::new(),
        }],
        targets: vec![TargetSpec { name: "bare".into(), endpoints: vec![endpoint] }],
        batch: 256,
        connect_timeout: Duration::from_secs(10),
        max_head: 64 * 1024,
        max_body: 1024 * 1024,
        lease: load_worker::lease::Lease::for_ever(),
    };
    let (sender, events) = channel();
    let recorder = recorders.pop().ok_or("no recorder")?;
    let handle = start(spec, recorder, move |event| {
        // On the load thread: its own CPU time goes with each event. A receiver that is gone needs none.
        let _ = sender.send((event, cpu()));
    })?;
    let bench = Bench { handle, events, spool, layout, connections };
    let closed = LoadModel::Closed {
        start_users: connections,
        users: connections,
        ramp: Duration::ZERO,
        think: Duration::ZERO,
    };
    bench.phase(1, "closed", closed, seconds)?;
    let open =
        LoadModel::Open { start_rate: paced, rate: paced, ramp: Duration::ZERO, arrivals: Arrivals::Even };
    bench.phase(2, "paced", open, seconds)?;
    bench.handle.join();
    Ok(())
}
