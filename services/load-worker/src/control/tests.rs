//! The whole worker over the in-process bus, with the http guest and a server in this process.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::{Address, Bus, CommandError, SchedulerClock};
use prost::Message as _;
use protocol::id::{RunId, WorkerId};
use protocol::message::Command as Message;
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use store::Store;

use super::{Options, run};

mod balancing;

/// Nothing here takes long; on a busy machine it may all the same.
const DEADLINE: Duration = Duration::from_secs(60);

/// The http guest as a component, built when a test asks for it first.
fn guest() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let output = Command::new(env!("CARGO"))
            .current_dir(&root)
            .args(["xtask", "guests", "http"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let line = said.lines().find(|line| line.starts_with("guests: http "));
        PathBuf::from(line.and_then(|line| line.rsplit_once(", in ")).expect("the path of the component").1)
    })
}

/// Answers every request with 200 and counts.
fn server() -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, requests) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), Arc::clone(&count));
            std::thread::spawn(move || {
                let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    seen.extend_from_slice(&buffer[..read]);
                    while let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                        seen.drain(..end + 4);
                        count.fetch_add(1, Ordering::SeqCst);
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").unwrap();
                    }
                }
            });
        }
    });
    (port, requests)
}

struct Rig {
    dir: tempfile::TempDir,
    bus: Bus,
    store: Store,
    worker: WorkerId,
    shutdown: Shutdown,
    tasks: Tasks,
    run: RunId,
}

impl Rig {
    async fn new(threads: u32, options: store::Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with(&dir.path().join("store.db"), options).unwrap();
        let bus = Bus::in_process(store.clone(), &dir.path().join("objects")).unwrap();
        let rig = Self {
            bus,
            store,
            worker: WorkerId::new(),
            shutdown: Shutdown::new(),
            tasks: Tasks::new(Shutdown::new()),
            run: RunId::new(),
            dir,
        };
        let options = Options {
            threads: Some(threads),
            heartbeat: Duration::from_millis(20),
            ..Options::new(rig.worker, rig.dir.path())
        };
        let worker = run(options, rig.bus.clone(), rig.shutdown.clone());
        rig.tasks.spawn("worker", OnError::ShutDown, worker);
        rig
    }

    async fn ask<C: Message>(&self, command: &C) -> Result<C::Reply, CommandError> {
        self.bus.command(&Address::Instance(self.worker.to_string()), command, DEADLINE).await
    }

    async fn prepare(&self, plan: &str, files: &[(&str, &[u8])]) -> v1::PrepareRunReply {
        self.prepare_with(plan, files, Vec::new()).await
    }

    async fn prepare_with(
        &self,
        plan: &str,
        files: &[(&str, &[u8])],
        detours: Vec<v1::Detour>,
    ) -> v1::PrepareRunReply {
        let mut bundle = Vec::new();
        for (name, bytes) in files {
            let digest = self.bus.put_object(bytes).await.unwrap();
            bundle.push(v1::BundleFile { name: (*name).to_owned(), digest });
        }
        let command = v1::PrepareRun {
            run: self.run.to_bytes(),
            plan_digest: self.bus.put_object(plan.as_bytes()).await.unwrap(),
            files: bundle,
            segment: Some(v1::Segment { stripe_count: 1, stripes: vec![0] }),
            spool_dir: String::new(),
            detours,
            trial: true,
        };
        self.ask(&command).await.unwrap()
    }

    async fn start(&self, phase: u32, length: Duration) {
        let command = v1::StartPhase {
            run: self.run.to_bytes(),
            phase,
            t0_unix_ns: SchedulerClock::default().unix_ns() + 5_000_000,
            duration_ns: length.as_nanos() as u64,
            ..v1::StartPhase::default()
        };
        self.ask(&command).await.unwrap();
    }

    async fn end(&self, phase: u32) -> v1::PhaseEnded {
        let command = v1::EndPhase { run: self.run.to_bytes(), phase, grace_ns: 5_000_000_000 };
        self.ask(&command).await.unwrap()
    }

    /// All batches so far, in the order of the log.
    async fn batches(&self) -> Vec<v1::SampleBatch> {
        let records = self.store.read_records("load.samples", 0, 1_000_000).await.unwrap();
        records.iter().map(|r| v1::SampleBatch::decode(r.payload.as_slice()).unwrap()).collect()
    }

    /// Waits until this much of a phase was scheduled, as its samples say.
    async fn until_scheduled(&self, phase: u32, n: u64) {
        let reached = async {
            while scheduled(&self.batches().await, phase) < n {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reached).await.expect("the phase's arrivals are scheduled");
    }

    fn spools(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("spool")).map_or(0, Iterator::count)
    }

    async fn close(self) {
        self.shutdown.trigger("the test is over");
        assert_eq!(self.tasks.finish(DEADLINE).await, Vec::<&str>::new());
        assert_eq!(self.tasks.failures(), []);
        assert_eq!(self.spools(), 0, "no spool is left behind");
    }
}

fn scheduled(batches: &[v1::SampleBatch], phase: u32) -> u64 {
    batches.iter().filter(|b| b.phase == phase).filter_map(|b| b.arrivals).map(|a| a.scheduled).sum()
}

fn plan(port: u16, phases: &str, scenario: &str) -> String {
    format!(
        "name = \"t\"\nseed = 7\nrun-phases = [\"baseline\", \"light\"]\n[load]\ninterval = \"100ms\"\n\
         [targets.web]\nurl = \"http://127.0.0.1:{port}\"\n[[scenarios]]\nguest = \"http\"\ntarget = \"web\"\n\
         config.steps = [{{ {scenario} }}]\n{phases}"
    )
}

const STEP: &str = "name = \"a\", get = \"/a\", check = { status = 200 }";
const PHASES: &str = "[phases.baseline]\nduration = \"600ms\"\nrate = 500\nconnections = 10\n\
                      [phases.light]\nduration = \"400ms\"\nrate = 300\nconnections = 3\n\
                      scenarios.http.steps = [{ name = \"b\", get = \"/b\" }]\n";

fn http() -> Vec<u8> {
    std::fs::read(guest()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_two_phases_loses_and_invents_nothing() {
    let (port, requests) = server();
    let rig = Rig::new(2, store::Options::default()).await;
    let mut heartbeats = rig.bus.subscribe::<v1::Heartbeat>().await.unwrap();
    let guest = http();
    let plan = plan(port, PHASES, STEP);
    let parsed = plan::parse(&plan, Path::new("plan.toml")).unwrap();
    let overrides = !parsed.scaled()[1].scenario_config.is_empty();
    let reply = rig.prepare(&plan, &[("guest:0", &guest)]).await;
    assert_eq!(reply.problems, []);
    assert_eq!((reply.load_threads, reply.guest_ns.len()), (2, 1));
    assert!(reply.guest_ns[0] > 0);
    let steps: &[&str] = if overrides { &["a", "b"] } else { &["a"] };
    assert_eq!(reply.scenarios[0].steps, steps);
    let again = rig.prepare(&plan, &[("guest:0", &guest)]).await;
    assert_eq!(again, reply, "prepared twice is prepared once");

    let mut sequence = 0;
    for (phase, expected) in [(0, 300), (1, 120)] {
        let length = parsed.scaled()[phase as usize].duration;
        rig.start(phase, length).await;
        let running = async {
            while !heartbeats
                .next()
                .await
                .is_some_and(|h| h.state() == v1::heartbeat::State::Running && h.phase == phase)
            {}
        };
        tokio::time::timeout(DEADLINE, running).await.unwrap();
        rig.until_scheduled(phase, expected).await;
        let ended = rig.end(phase).await;
        let arrivals = ended.arrivals.unwrap();
        assert_eq!(arrivals.scheduled, expected);
        assert_eq!(arrivals.scheduled, arrivals.dropped + arrivals.waiting + arrivals.started);
        assert_eq!(arrivals.started, arrivals.answered + arrivals.failed + arrivals.cancelled);
        assert_eq!(rig.end(phase).await, ended, "asked twice, answered the same");

        let batches: Vec<_> = rig.batches().await.into_iter().filter(|b| b.phase == phase).collect();
        assert_eq!(scheduled(&batches, phase), expected);
        let last: Vec<_> = batches.iter().map(|b| b.last).collect();
        assert_eq!(last.iter().filter(|l| **l).count(), 1);
        assert!(batches.last().unwrap().last);
        assert!(batches.windows(2).all(|w| w[0].start_offset_ns < w[1].start_offset_ns));
        let answered: u64 = batches.iter().flat_map(|b| &b.series).map(|s| s.answered).sum();
        assert_eq!(answered, arrivals.answered);
        let steps: Vec<u32> = batches.iter().flat_map(|b| &b.series).map(|s| s.step).collect();
        assert!(steps.iter().all(|s| *s == if overrides { phase } else { 0 }), "{steps:?}");
        let wanted: f64 = batches.iter().map(|b| b.wanted_rate * b.interval_ns as f64 / 1e9).sum();
        assert!((wanted - expected as f64).abs() < 1e-3, "{wanted} wanted, {expected} expected");
        sequence += batches.len() as u64;
        assert_eq!(ended.last_sequence, sequence, "sequences have no gaps");
    }
    let sent: u64 = rig.batches().await.iter().flat_map(|b| &b.series).map(|s| s.requests).sum();
    assert_eq!(requests.load(Ordering::SeqCst), sent);
    assert_eq!(rig.spools(), 1);
    rig.ask(&v1::EndRun { run: rig.run.to_bytes() }).await.unwrap();
    assert_eq!(rig.spools(), 0);
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_act_and_a_run_that_is_cut_off_keeps_its_counts() {
    let (port, requests) = server();
    let rig = Rig::new(1, store::Options::default()).await;
    let guest = http();
    rig.prepare(&plan(port, PHASES, STEP), &[("guest:0", &guest)]).await;
    let run = || rig.run.to_bytes();
    let numbered = |number, change| v1::ChangePhase {
        run: run(),
        phase: 0,
        at_offset_ns: 0,
        change: Some(change),
        number,
    };
    let change = |change| numbered(0, change);
    use v1::change_phase::Change;
    let refused = rig.ask(&change(Change::Pause(true))).await.unwrap_err();
    assert_eq!(refused.to_string(), "phase 0 is not running");
    let unknown = v1::StartPhase { run: run(), phase: 9, ..v1::StartPhase::default() };
    assert_eq!(rig.ask(&unknown).await.unwrap_err().to_string(), "phase 9 does not exist: the plan has 2");
    let other = v1::EndPhase { run: RunId::new().to_bytes(), phase: 0, grace_ns: 0 };
    assert_eq!(rig.ask(&other).await.unwrap_err().to_string(), "this worker has not prepared the run");

    rig.start(0, Duration::from_secs(600)).await;
    rig.ask(&change(Change::Rate(2_000.0))).await.unwrap();
    rig.until_scheduled(0, 1_000).await;
    let early = rig.ask(&numbered(2, Change::Pause(true))).await.unwrap_err();
    assert_eq!(early.to_string(), "change 2 of phase 0 came before change 1");
    rig.ask(&numbered(1, Change::Rate(1_000.0))).await.unwrap();
    // Taken before: told again, whatever it says, it changes nothing.
    rig.ask(&numbered(1, Change::Pause(true))).await.unwrap();
    rig.until_scheduled(0, 1_500).await;
    let mut pause = change(Change::RampDownNs(50_000_000));
    // In the past for the threads: it acts at once.
    pause.at_offset_ns = 1;
    rig.ask(&pause).await.unwrap();
    // Cut off in the middle: what was counted is published all the same.
    rig.ask(&v1::EndRun { run: run() }).await.unwrap();
    let batches = rig.batches().await;
    assert!(batches.last().unwrap().last);
    let sum = |f: fn(&v1::Series) -> u64| batches.iter().flat_map(|b| &b.series).map(f).sum::<u64>();
    assert_eq!(
        sum(|s| s.started),
        sum(|s| s.answered) + sum(|s| s.failed) + sum(|s| s.cancelled) + in_flight(&batches)
    );
    assert!(requests.load(Ordering::SeqCst) <= sum(|s| s.requests));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load_takes_a_detour_in_the_phases_that_it_names() {
    let ((port, direct), (proxy, detoured)) = (server(), server());
    let rig = Rig::new(2, store::Options::default()).await;
    let guest = http();
    let detour = v1::Detour {
        target: "web".to_owned(),
        endpoint: 0,
        address: format!("127.0.0.1:{proxy}"),
        phases: vec![1],
    };
    let plan = plan(port, PHASES, STEP);
    let wrong = vec![v1::Detour { endpoint: 3, ..detour.clone() }];
    let refused = rig.prepare_with(&plan, &[("guest:0", &guest)], wrong).await;
    assert_eq!(
        refused.problems[0].message,
        "detour of target web, endpoint 3: the plan has no such endpoint"
    );
    let reply = rig.prepare_with(&plan, &[("guest:0", &guest)], vec![detour]).await;
    assert_eq!(reply.problems, []);
    for (phase, expected) in [(0, 300), (1, 120)] {
        rig.start(phase, Duration::from_millis(if phase == 0 { 600 } else { 400 })).await;
        rig.until_scheduled(phase, expected).await;
        assert_eq!(rig.end(phase).await.arrivals.unwrap().answered, expected);
    }
    assert_eq!((direct.load(Ordering::SeqCst), detoured.load(Ordering::SeqCst)), (300, 120));
    rig.ask(&v1::EndRun { run: rig.run.to_bytes() }).await.unwrap();
    rig.close().await;
}

fn in_flight(batches: &[v1::SampleBatch]) -> u64 {
    batches.last().and_then(|b| b.arrivals).map_or(0, |a| a.in_flight)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_merges_intervals_and_loses_nothing() {
    let (port, requests) = server();
    let small = store::Options { max_log_bytes: 2_500, ..store::Options::default() };
    let rig = Rig::new(1, small).await;
    let guest = http();
    rig.prepare(&plan(port, PHASES, STEP), &[("guest:0", &guest)]).await;
    let mut records = rig.bus.consume::<v1::SampleBatch>("test").await.unwrap();
    rig.start(0, Duration::from_millis(600)).await;
    // Nobody acknowledges: the log fills up. The load goes on all the same.
    let sent = async {
        while requests.load(Ordering::SeqCst) < 300 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, sent).await.unwrap();
    assert!(scheduled(&rig.batches().await, 0) < 300, "the log was to be full");
    let consume = async {
        let mut all = Vec::new();
        loop {
            let delivery = records.next().await.unwrap();
            all.push(delivery.body.clone());
            let last = delivery.body.last;
            delivery.ack().await.unwrap();
            if last {
                return all;
            }
        }
    };
    let (ended, batches) = tokio::join!(rig.end(0), tokio::time::timeout(DEADLINE, consume));
    let batches = batches.unwrap();
    assert_eq!(scheduled(&batches, 0), 300);
    assert_eq!(ended.arrivals.unwrap().scheduled, 300);
    let answered: u64 = batches.iter().flat_map(|b| &b.series).map(|s| s.answered).sum();
    assert_eq!(answered, ended.arrivals.unwrap().answered);
    assert!(
        batches.iter().any(|b| b.merged_intervals > 1),
        "{:?}",
        batches.iter().map(|b| b.merged_intervals).collect::<Vec<_>>()
    );
    rig.ask(&v1::EndRun { run: rig.run.to_bytes() }).await.unwrap();
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_come_all_at_once_and_leave_nothing_behind() {
    let (port, _) = server();
    let rig = Rig::new(1, store::Options::default()).await;
    let guest = http();
    let kinds =
        |reply: &v1::PrepareRunReply| reply.problems.iter().map(|p| p.kind.clone()).collect::<Vec<_>>();
    let texts =
        |reply: &v1::PrepareRunReply| reply.problems.iter().map(|p| p.message.clone()).collect::<Vec<_>>();

    // A feeder without the column, and a host that does not exist.
    let step = "get = \"/items/{id}\", feed = \"items.csv\"";
    let text = plan(port, PHASES, step).replace("127.0.0.1", "no-such-host.invalid");
    let reply = rig.prepare(&text, &[("guest:0", &guest), ("feed:items.csv", b"a,b\n1,2\n")]).await;
    assert_eq!(kinds(&reply), ["plan", "environment"], "{reply:?}");
    assert!(texts(&reply)[0].contains("items.csv: column id not found; it has a, b"), "{reply:?}");
    assert!(
        texts(&reply)[1].contains("the host no-such-host.invalid of http://no-such-host.invalid"),
        "{reply:?}"
    );

    let reply = rig.prepare(&plan(port, PHASES, "get = \"items\""), &[("guest:0", &guest)]).await;
    assert_eq!(kinds(&reply), ["plan"], "{reply:?}");
    assert!(texts(&reply)[0].starts_with("scenario http, config.steps[0]"), "{reply:?}");

    let reply = rig.prepare(&plan(port, PHASES, STEP), &[]).await;
    assert_eq!(texts(&reply), ["scenario http: the bundle has no file guest:0"]);
    let reply = rig.prepare(&plan(port, PHASES, STEP), &[("guest:0", b"no guest")]).await;
    assert_eq!(kinds(&reply), ["guest"], "{reply:?}");

    let many = PHASES.replace("connections = 10", "connections = 10000000");
    let reply = rig.prepare(&plan(port, &many, STEP), &[("guest:0", &guest)]).await;
    assert_eq!(kinds(&reply), ["environment"], "{reply:?}");
    assert!(
        texts(&reply)[0].starts_with("too few open files: phase baseline holds 10000000 connections"),
        "{reply:?}"
    );
    assert!(reply.problems[0].mend.contains("ulimit -Hn"), "{reply:?}");

    assert_eq!(rig.spools(), 0);
    let reply = rig.prepare(&plan(port, PHASES, STEP), &[("guest:0", &guest)]).await;
    assert_eq!(reply.problems, [], "after all these the worker still works");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_busy_with_one_run_at_a_time() {
    let (port, _) = server();
    let mut rig = Rig::new(1, store::Options::default()).await;
    let guest = http();
    rig.prepare(&plan(port, PHASES, STEP), &[("guest:0", &guest)]).await;
    let first = rig.run;
    rig.run = RunId::new();
    let command = v1::PrepareRun { run: rig.run.to_bytes(), ..v1::PrepareRun::default() };
    let refused = rig.ask(&command).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("this worker is busy with run {first}"));
    rig.ask(&v1::EndRun { run: first.to_bytes() }).await.unwrap();
    let reply = rig.prepare(&plan(port, PHASES, STEP), &[("guest:0", &guest)]).await;
    assert_eq!(reply.problems, []);
    rig.close().await;
}
