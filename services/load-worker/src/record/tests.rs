use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use bus::Bus;
use proptest::prelude::*;
use prost::Message as _;
use protocol::failure::FailureClass;
use protocol::id::{IncarnationId, RunId, WorkerId};
use protocol::v1;
use series::{Hist, Merged};
use store::{RecordKey, Store};

use super::*;

mod truth;

fn owner() -> Owner {
    Owner { run: RunId::new(), worker: WorkerId::new(), incarnation: IncarnationId::new() }
}

fn layout() -> Layout {
    Layout::new(vec![
        ScenarioLayout { steps: 2, targets: vec![0, 3], checks: 2, metrics: 1 },
        ScenarioLayout { steps: 1, targets: vec![1], checks: 0, metrics: 0 },
    ])
}

fn spool(dir: &Path, threads: u32) -> (RunSpool, Vec<Recorder>) {
    RunSpool::create(dir, owner(), layout(), threads).unwrap()
}

/// One interval of the spool, all recorders flipped at `offset`.
fn flip(spool: &RunSpool, recorders: &mut [Recorder], offset: u64) -> v1::SampleBatch {
    assert!(spool.ask_flip());
    assert!(spool.read().is_none() || recorders.is_empty(), "nobody has flipped yet");
    recorders.iter_mut().for_each(|r| r.flip_if_asked(offset));
    let interval = spool.read().unwrap();
    let sequence = interval.sequence;
    let mut batches = interval.into_batches(spool.layout(), &v1::SampleBatch::default());
    spool.clear(sequence);
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

fn merged<'a>(batches: impl IntoIterator<Item = &'a v1::SampleBatch>) -> Merged {
    let mut all = Merged::new();
    batches.into_iter().flat_map(|b| &b.series).for_each(|s| all.add_proto(s).unwrap());
    all
}

#[test]
fn everything_that_is_recorded_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut recorders) = spool(dir.path(), 2);
    for r in &mut recorders {
        r.begin_phase(4, 0);
        r.scheduled(5);
        r.dropped(1, true);
        r.started(3);
        r.request_sent(3, 100, false);
        r.request_sent(3, 50, true);
        r.answered(
            3,
            &Timing { latency_us: 900, service_us: 800, queue_us: 0, first_byte_us: 700 },
            503,
            77,
            true,
        );
        r.started(4);
        r.failed(4, FailureClass::Timeout);
        r.started(0);
        r.cancelled(0);
        r.check(3, 0, true);
        r.check(3, 1, false);
        r.check(3, 2, false);
        r.observe(3, 0, 1.5);
        r.send_lag(123_456);
        r.guest_call(1_000);
        r.trap();
        r.connect(true);
        r.connect(false);
        r.connections(7);
        r.waiting(1);
        r.in_flight(2);
        r.users_active(3);
        r.busy(250, 1_000);
        r.started(999);
    }
    let batch = flip(&spool, &mut recorders, 1_000_000_000);
    assert_eq!((batch.phase, batch.start_offset_ns, batch.interval_ns), (4, 0, 1_000_000_000));
    assert_eq!(batch.users_active, 6);
    let expected = v1::ArrivalCounts {
        scheduled: 10,
        dropped: 2,
        dropped_by_generator: 2,
        waiting: 2,
        started: 6,
        answered: 2,
        failed: 2,
        cancelled: 2,
        in_flight: 4,
    };
    assert_eq!(batch.arrivals, Some(expected));
    let keys: Vec<_> = batch.series.iter().map(|s| (s.scenario, s.step, s.target)).collect();
    assert_eq!(keys, [(0, 0, 0), (0, 1, 3), (1, 0, 1)]);
    let answered =
        merged([&v1::SampleBatch { series: vec![batch.series[1].clone()], ..v1::SampleBatch::default() }]);
    assert_eq!((answered.counts.requests, answered.counts.retries, answered.counts.bytes_sent), (4, 2, 300));
    assert_eq!((answered.counts.good, answered.counts.bad, answered.counts.bytes_received), (2, 2, 154));
    assert_eq!(answered.statuses[&503], 2);
    assert_eq!((answered.checks[&0].passed, answered.checks[&1].failed), (2, 2));
    assert_eq!(answered.checks.len(), 2, "an unknown check is not counted");
    assert_eq!(answered.observations[&0].max(), Some(1_500));
    let maxima = [&answered.latency, &answered.service, &answered.queue, &answered.first_byte].map(Hist::max);
    assert_eq!(maxima, [Some(900), Some(800), Some(0), Some(700)]);
    let lost =
        merged([&v1::SampleBatch { series: vec![batch.series[2].clone()], ..v1::SampleBatch::default() }]);
    assert_eq!((lost.errors["timeout"], lost.counts.dropped), (2, 2));
    assert_eq!(batch.threads.len(), 2);
    let thread = &batch.threads[1];
    let lag = Hist::decode(thread.send_lag.as_ref().unwrap()).unwrap();
    assert_eq!((lag.len(), lag.percentile(50.0).unwrap().abs_diff(123_456) < 124), (1, true));
    assert_eq!((thread.thread, thread.busy, thread.connections_open), (1, 0.25, 7));
    assert_eq!((thread.connects, thread.connect_failures, thread.guest_traps), (1, 1, 1));
    assert_eq!((thread.guest_calls, thread.guest_ns), (1, 1_000));

    // The next interval begins at zero; gauges go on.
    let next = flip(&spool, &mut recorders, 2_000_000_000);
    assert_eq!((next.start_offset_ns, next.interval_ns), (1_000_000_000, 1_000_000_000));
    assert!(next.series.is_empty());
    let gauges = v1::ArrivalCounts { waiting: 2, in_flight: 4, ..v1::ArrivalCounts::default() };
    assert_eq!((next.arrivals, next.threads[0].connections_open), (Some(gauges), 7));
    let again = flip(&spool, &mut recorders, 3_000_000_000);
    assert!(again.series.is_empty(), "both halves were cleared");
    assert_eq!(recorders[0].totals().started, 4, "totals go on, and count what has no series too");
}

#[test]
fn the_last_interval_of_a_phase_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut recorders) = spool(dir.path(), 2);
    recorders.iter_mut().for_each(|r| r.begin_phase(1, 0));
    recorders[0].scheduled(1);
    recorders[0].waiting(1);
    recorders[0].end_phase(500);
    assert!(!flip(&spool, &mut recorders, 600).last);
    recorders[1].end_phase(700);
    let batch = flip(&spool, &mut recorders, 0);
    assert!(batch.last);
    recorders.iter_mut().for_each(|r| r.begin_phase(2, 0));
    let batch = flip(&spool, &mut recorders, 100);
    assert_eq!((batch.phase, batch.last, batch.interval_ns), (2, false, 100));
    assert_eq!(batch.arrivals, Some(v1::ArrivalCounts::default()));
}

#[test]
fn an_interval_that_is_not_cleared_is_merged_with_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut recorders) = spool(dir.path(), 1);
    recorders[0].begin_phase(0, 0);
    recorders[0].started(0);
    assert!(spool.ask_flip());
    recorders[0].flip_if_asked(1);
    for at in 2..5 {
        recorders[0].started(0);
        assert!(!spool.ask_flip(), "the quiet half is not free");
        recorders[0].flip_if_asked(at);
    }
    assert_eq!(spool.read().unwrap().arrivals.started, 1);
    spool.clear(1);
    assert!(spool.ask_flip());
    recorders[0].flip_if_asked(5);
    let merged = spool.read().unwrap();
    assert_eq!((merged.arrivals.started, merged.start_ns(), merged.end_ns()), (3, 1, 5));
}

#[test]
fn a_thread_that_ended_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut recorders) = spool(dir.path(), 2);
    recorders.iter_mut().for_each(|r| r.begin_phase(0, 0));
    recorders.iter_mut().for_each(|r| r.started(0));
    drop(recorders.remove(0));
    assert_eq!(spool.closed_thread(), Some(0));
    assert_eq!(flip(&spool, &mut recorders, 5).arrivals.unwrap().started, 2);
    recorders[0].started(0);
    recorders[0].end_phase(9);
    let last = flip(&spool, &mut recorders, 9);
    assert_eq!((last.arrivals.unwrap().started, last.last), (1, true));
}

#[test]
fn large_intervals_are_cut_into_parts() {
    let dir = tempfile::tempdir().unwrap();
    let steps = ScenarioLayout { steps: 40, targets: vec![0], checks: 0, metrics: 0 };
    let (spool, mut recorders) = RunSpool::create(dir.path(), owner(), Layout::new(vec![steps]), 1).unwrap();
    let r = &mut recorders[0];
    r.begin_phase(0, 0);
    for series in 0..40 {
        for i in 0..4_000_u64 {
            let us = (i * i * 7_919) % 3_600_000_000;
            let timing =
                Timing { latency_us: us, service_us: us / 2, queue_us: us / 3, first_byte_us: us / 5 };
            r.started(series);
            r.answered(series, &timing, 200, 1, true);
        }
    }
    r.end_phase(7);
    assert!(spool.ask_flip());
    r.flip_if_asked(9);
    let head = v1::SampleBatch {
        run: vec![1; 16],
        worker: vec![2; 16],
        wanted_rate: 5.0,
        ..v1::SampleBatch::default()
    };
    let parts = spool.read().unwrap().into_batches(spool.layout(), &head);
    assert!(parts.len() > 1);
    assert!(
        parts.iter().all(|p| p.encoded_len() < 256 << 10),
        "{:?}",
        parts.iter().map(|p| p.encoded_len()).collect::<Vec<_>>()
    );
    let numbers: Vec<_> = parts.iter().map(|p| (p.part, p.parts as usize)).collect();
    assert_eq!(numbers, (0..).zip(vec![parts.len(); parts.len()]).collect::<Vec<_>>());
    assert_eq!(merged(&parts).counts.answered, 160_000);
    let started: u64 = parts.iter().map(|p| p.arrivals.unwrap().started).sum();
    assert_eq!(started, 160_000, "arrivals stand in one part only");
}

proptest! {
    #[test]
    fn histograms_are_those_of_the_crate(values in prop::collection::vec((0_u32..43, any::<u64>()), 0..200)) {
        let dir = tempfile::tempdir().unwrap();
        let (spool, mut recorders) = spool(dir.path(), 1);
        let r = &mut recorders[0];
        r.begin_phase(0, 0);
        let (mut us, mut ns) = (Hist::micros(), Hist::nanos());
        for (shift, bits) in &values {
            let value = bits >> (63 - shift);
            let timing = Timing { latency_us: value, ..Timing::default() };
            r.answered(0, &timing, 200, 0, true);
            r.send_lag(value);
            us.record(value);
            ns.record(value);
        }
        let batch = flip(&spool, &mut recorders, 1);
        let lag = Hist::decode(batch.threads[0].send_lag.as_ref().unwrap()).unwrap();
        prop_assert_eq!((lag.clamped(), lag.len(), lag.percentile(50.0)), (ns.clamped(), ns.len(), ns.percentile(50.0)));
        let read = merged([&batch]);
        prop_assert_eq!(read.latency.clamped(), us.clamped());
        for q in [0.0, 10.0, 50.0, 90.0, 99.9, 100.0] {
            prop_assert_eq!(read.latency.percentile(q), us.percentile(q));
        }
        prop_assert_eq!(read.latency, us);
    }
}

#[test]
fn a_living_spool_is_no_orphan_and_a_torn_one_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(orphans(&dir.path().join("not there")).0.len(), 0);
    let (spool, recorders) = spool(dir.path(), 1);
    std::fs::write(dir.path().join("b.spool"), [7; 8192]).unwrap();
    std::fs::write(dir.path().join("c.spool"), [0; 8192]).unwrap();
    std::fs::write(dir.path().join("other.txt"), "x").unwrap();
    let (found, problems) = orphans(dir.path());
    assert_eq!((found.len(), problems.len()), (0, 1));
    assert!(
        problems[0].to_string().contains("b.spool") && problems[0].to_string().contains("it is no spool")
    );
    assert!(!dir.path().join("c.spool").exists(), "one that was never complete has nothing to lose");
    drop((spool, recorders));
    assert_eq!(orphans(dir.path()).0.len(), 1, "without its worker it is an orphan");
}

#[test]
fn what_a_killed_worker_was_at_follows_from_its_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (spool, mut recorders) = spool(dir.path(), 1);
    recorders[0].begin_phase(0, 0);
    recorders[0].scheduled(3);
    recorders[0].started(0);
    recorders[0].started(0);
    recorders[0].waiting(1);
    recorders[0].in_flight(2);
    recorders[0].connections(5);
    recorders[0].users_active(2);
    flip(&spool, &mut recorders, 1);
    // Killed before its gauges say what it has counted.
    recorders[0].scheduled(2);
    recorders[0].started(0);
    recorders[0].cancelled(0);
    drop((spool, recorders));
    let (mut found, _) = orphans(dir.path());
    let batches = found.remove(0).batches();
    let [(_, parts)] = &batches[..] else { panic!("{batches:?}") };
    let counts = parts[0].arrivals.unwrap();
    assert_eq!((counts.scheduled, counts.waiting, counts.in_flight), (2, 2, 2));
    assert_eq!((parts[0].threads[0].connections_open, parts[0].users_active), (0, 0), "they died with it");
}

/// Not a test of its own: creates a spool on a file system without room for it.
#[test]
#[ignore = "run by the test that prepares the file system"]
fn child_on_a_full_disk() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let dir = Path::new(&dir);
    let error = RunSpool::create(dir, owner(), layout(), 1).unwrap_err();
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0, "nothing is left behind");
    println!("\n@{error}; {}", error.mend());
}

#[test]
fn a_full_disk_is_an_error_at_creation_and_no_signal_later() {
    let dir = tempfile::tempdir().unwrap();
    // A file system of 256 KiB in a mount namespace of its own; without privileges, in a user namespace too.
    let script = "mount -t tmpfs -o size=256k none \"$0\" && exec \"$1\" --exact record::tests::child_on_a_full_disk \
                  --ignored --nocapture";
    let flags = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let output = Command::new("unshare")
        .args([flags, "sh", "-c", script])
        .args([dir.path().as_os_str(), std::env::current_exe().unwrap().as_os_str()])
        .env(CHILD_DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let error = said.lines().find_map(|l| l.strip_prefix('@')).unwrap();
    let place = dir.path().display();
    assert!(error.starts_with(&format!("the disk under {place} has no room for the spool of ")), "{error}");
    assert!(
        error.ends_with(&format!("free space under {place} or give the worker another state directory")),
        "{error}"
    );
}

const CHILD_DIR: &str = "GAUNTLET_TEST_SPOOL_DIR";
const OPERATIONS: u64 = 400_000;

fn bus(dir: &Path) -> (Store, Bus) {
    let store = Store::open(&dir.join("store.db")).unwrap();
    (store.clone(), Bus::in_process(store, &dir.join("objects")).unwrap())
}

fn record_key(owner: Owner, sequence: u64, part: u32) -> RecordKey {
    let id = |bytes: Vec<u8>| bytes.try_into().unwrap();
    RecordKey {
        producer: id(owner.worker.to_bytes()),
        incarnation: id(owner.incarnation.to_bytes()),
        sequence,
        part,
    }
}

/// Not a test of its own: the process that `a_killed_worker_loses_nothing…` kills. It says before and after each
/// operation how many it has recorded, and publishes intervals meanwhile as a worker does.
#[test]
#[ignore = "run by the test that kills it"]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let dir = Path::new(&dir);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_store, bus) = bus(dir);
    let (spool, mut recorders) = spool(dir, 1);
    let mut recorder = recorders.remove(0);
    recorder.begin_phase(3, 0);
    let mut out = std::io::stdout().lock();
    for n in 1..=OPERATIONS {
        writeln!(out, "@{n} begins").unwrap();
        let timing = Timing { latency_us: n, service_us: n, queue_us: 0, first_byte_us: 0 };
        recorder.scheduled(1);
        recorder.started(0);
        recorder.answered(0, &timing, 200, 10, true);
        writeln!(out, "@{n} ends").unwrap();
        recorder.flip_if_asked(n);
        if n % 97 == 0 {
            spool.ask_flip();
        } else if n % 97 == 50
            && let Some(interval) = spool.read()
        {
            let sequence = interval.sequence;
            for batch in interval.into_batches(spool.layout(), &v1::SampleBatch::default()) {
                runtime
                    .block_on(bus.record(&record_key(spool.owner(), sequence, batch.part), &batch))
                    .unwrap();
            }
            // A third of the intervals is published and never cleared in time: killed then, it is published twice.
            if n % 3 > 0 {
                spool.clear(sequence);
            }
        } else if n % 97 == 90
            && let Some(interval) = spool.read()
        {
            spool.clear(interval.sequence);
        }
    }
}

/// Runs the child until it has begun operation `until`, kills it, and returns what it had begun and what it had ended.
fn killed_at(dir: &Path, until: u64) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "record::tests::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut begun, mut ended) = (0, 0);
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some((n, what)) = line.strip_prefix('@').and_then(|l| l.split_once(' ')) else { continue };
        let counter = if what == "begins" { &mut begun } else { &mut ended };
        *counter = n.parse().unwrap();
        if begun >= until && !killed {
            // SIGKILL; what it wrote until then is still in the pipe.
            child.kill().unwrap();
            killed = true;
        }
    }
    assert!(!child.wait().unwrap().success(), "it was to be killed in the middle");
    (begun, ended)
}

#[test]
fn a_killed_worker_loses_nothing_and_repeats_nothing() {
    for until in [1, 96, 97, 151, 1_000, 3_333] {
        let dir = tempfile::tempdir().unwrap();
        let (begun, ended) = killed_at(dir.path(), until);
        let (store, bus) = bus(dir.path());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut found, problems) = orphans(dir.path());
        assert_eq!((found.len(), problems.len()), (1, 0));
        let orphan = found.remove(0);
        let all = runtime.block_on(async {
            // Publishing it twice, as after a second crash, changes nothing.
            for _ in 0..2 {
                for (sequence, parts) in orphan.batches() {
                    for batch in parts {
                        assert!(batch.from_spool);
                        bus.record(&record_key(orphan.owner(), sequence, batch.part), &batch).await.unwrap();
                    }
                }
            }
            store.read_records("load.samples", 0, 1_000_000).await.unwrap()
        });
        orphan.remove().unwrap();
        assert_eq!(orphans(dir.path()).0.len(), 0);
        let batches: Vec<v1::SampleBatch> =
            all.iter().map(|r| v1::SampleBatch::decode(r.payload.as_slice()).unwrap()).collect();
        let sequences: Vec<u64> = all.iter().map(|r| r.key.sequence).collect();
        assert_eq!(sequences, (1..=all.len() as u64).collect::<Vec<_>>(), "each interval once, none missing");
        let counts = merged(&batches).counts;
        // The operation in which the kill fell may be in or not; all others are.
        assert!(
            (ended..=begun).contains(&counts.answered),
            "{ended} to {begun} were said, {counts:?} were found"
        );
        assert!(counts.started.abs_diff(counts.answered) <= 1);
        assert!(merged(&batches).latency.len().abs_diff(counts.answered) <= 1);
        assert!(batches.iter().all(|b| b.phase == 3) && batches.last().unwrap().last);
    }
}
