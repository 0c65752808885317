//! The messages behind the golden files: every field has a value of its own.
#![allow(clippy::needless_update, reason = "fields added later keep their defaults in messages of version 1")]

use protocol::v1::*;

use super::Checked;

pub(super) fn text(text: &str) -> String {
    text.to_owned()
}

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(super) fn run() -> Vec<u8> {
    (1..=16).collect()
}

fn worker() -> Vec<u8> {
    (17..=32).collect()
}

pub(super) fn file(name: &str) -> BundleFile {
    BundleFile { name: text(name), digest: text("sha256:00ff"), ..Default::default() }
}

fn segment() -> Segment {
    Segment { stripe_count: 12, stripes: vec![0, 5, 300], ..Default::default() }
}

pub(super) fn problem() -> Problem {
    Problem {
        message: text("no such file"),
        mend: text("make it"),
        kind: text("environment"),
        ..Default::default()
    }
}

fn steps() -> ScenarioSteps {
    ScenarioSteps {
        steps: texts(&["item", "cart"]),
        checks: texts(&["status"]),
        metrics: texts(&["price"]),
        ..Default::default()
    }
}

fn arrivals() -> ArrivalCounts {
    ArrivalCounts {
        scheduled: 1_000,
        dropped: 1,
        dropped_by_generator: 2,
        waiting: 3,
        started: 996,
        answered: 900,
        failed: 4,
        cancelled: 5,
        in_flight: 87,
        ..Default::default()
    }
}

fn histogram(first: u8) -> Histogram {
    Histogram { v2_deflate: vec![first, 0, 255], clamped: 1 + u64::from(first), ..Default::default() }
}

fn series() -> Series {
    Series {
        scenario: 1,
        step: 2,
        target: 3,
        started: 4,
        answered: 5,
        failed: 6,
        cancelled: 7,
        requests: 8,
        retries: 9,
        bytes_sent: 10,
        bytes_received: u64::MAX,
        good: 12,
        latency: Some(histogram(1)),
        service: Some(histogram(2)),
        queue: Some(histogram(3)),
        statuses: vec![StatusCount { status: 200, count: 5, ..Default::default() }],
        errors: vec![ErrorCount { class: text("timeout"), count: 6, ..Default::default() }],
        checks: vec![CheckCount { check: 1, passed: 2, failed: 3, ..Default::default() }],
        observations: vec![Observation { metric: 1, values: Some(histogram(4)), ..Default::default() }],
        first_byte: Some(histogram(5)),
        dropped: 13,
        bad: 14,
        ..Default::default()
    }
}

fn thread() -> ThreadStats {
    ThreadStats {
        thread: 1,
        busy: 0.25,
        send_lag: Some(histogram(6)),
        connections_open: 50,
        connects: 51,
        connect_failures: 1,
        guest_calls: 100,
        guest_ns: 40_000,
        guest_traps: 2,
        ..Default::default()
    }
}

fn batch() -> SampleBatch {
    SampleBatch {
        run: run(),
        worker: worker(),
        phase: 6,
        start_offset_ns: 3_000_000_000,
        interval_ns: 1_000_000_000,
        series: vec![series()],
        threads: vec![thread()],
        arrivals: Some(arrivals()),
        wanted_rate: 500.5,
        part: 1,
        parts: 2,
        from_spool: true,
        merged_intervals: 3,
        last: true,
        users_active: 40,
        ..Default::default()
    }
}

fn aggregate() -> Aggregate {
    Aggregate {
        run: run(),
        phase: 2,
        from_offset_ns: 1,
        to_offset_ns: 2,
        wanted_rate: 1_000.0,
        arrivals: Some(arrivals()),
        total: Some(series()),
        busy_max: 0.5,
        send_lag: Some(histogram(7)),
        connections_open: 50,
        users_active: 51,
        ..Default::default()
    }
}

fn second() -> Second {
    Second {
        offset_ns: 4_000_000_000,
        length_ns: 1_000_000_000,
        wanted_rate: 500.0,
        arrivals: Some(arrivals()),
        good: 490,
        latency_us: vec![1, 2, 3, 4, 5, 6],
        service_us: vec![7, 8, 9, 10, 11, 12],
        queue_us: vec![13, 14, 15, 16, 17, 18],
        busy_max: 0.75,
        send_lag_p99_ns: 30_000,
        errors: 10,
        connections_open: 50,
        users_active: 20,
        bytes_received: 1 << 40,
        ..Default::default()
    }
}

fn point() -> MetricPoint {
    MetricPoint { at_unix_ns: -1, value: 0.125, ..Default::default() }
}

fn metric() -> TargetMetric {
    TargetMetric { name: text("cpu"), instance: text("shop-1"), points: vec![point()], ..Default::default() }
}

fn target() -> TargetSamples {
    TargetSamples {
        target: 1,
        metrics: vec![metric()],
        absent: texts(&["memory: not declared"]),
        probes: 30,
        probe_failures: 1,
        ..Default::default()
    }
}

fn progress() -> WorkerProgress {
    WorkerProgress {
        worker: worker(),
        incarnation: run(),
        last_sequence: 60,
        last: true,
        batches: 59,
        ..Default::default()
    }
}

fn phase_series() -> PhaseSeries {
    PhaseSeries {
        phase: 1,
        series: vec![series()],
        total: Some(aggregate()),
        seconds: vec![second()],
        threads: vec![thread()],
        targets: vec![target()],
        gaps: texts(&["worker 7 never sent its last"]),
        workers: vec![progress()],
        ..Default::default()
    }
}

fn process() -> WatchedProcess {
    WatchedProcess { target: 1, pid: 4_194_304, instance: text("shop"), ..Default::default() }
}

fn probe() -> ProbeState {
    ProbeState {
        target: 1,
        probe: text("cpu"),
        interval_ns: 1_000_000_000,
        age_ns: Some(0),
        samples: 30,
        error: text("refused"),
        healthy: true,
        ..Default::default()
    }
}

/// Every message of the protocol.
pub(super) fn all(check: &mut Checked) {
    preparation(check);
    phases(check);
    samples(check);
    queries(check);
    runs(check);
    super::faults::all(check);
}

fn preparation(check: &mut Checked) {
    check.check("BundleFile", &file("guest:0"));
    check.check("Segment", &segment());
    check.check("Problem", &problem());
    check.check("ScenarioSteps", &steps());
    let prepare = PrepareRun {
        run: run(),
        plan_digest: text("sha256:ab"),
        files: vec![file("guest:0"), file("feed:items.csv")],
        segment: Some(segment()),
        spool_dir: text("/spool"),
        ..Default::default()
    };
    check.check("PrepareRun", &prepare);
    let reply = PrepareRunReply {
        problems: vec![problem()],
        scenarios: vec![steps()],
        load_threads: 2,
        guest_ns: vec![300, 400],
        ..Default::default()
    };
    check.check("PrepareRunReply", &reply);
    check.check("PrepareRun.trial", &PrepareRun { run: run(), trial: true, ..Default::default() });
}

fn phases(check: &mut Checked) {
    let start = StartPhase { run: run(), phase: 1, t0_unix_ns: 2, duration_ns: 3, ..Default::default() };
    check.check("StartPhase", &start);
    for (name, change) in [
        ("rate", change_phase::Change::Rate(500.5)),
        ("pause", change_phase::Change::Pause(true)),
        ("resume", change_phase::Change::Resume(true)),
        ("extend", change_phase::Change::ExtendToNs(9)),
        ("ramp-down", change_phase::Change::RampDownNs(10)),
        ("factor", change_phase::Change::Factor(0.5)),
    ] {
        let change =
            ChangePhase { run: run(), phase: 1, at_offset_ns: 2, change: Some(change), ..Default::default() };
        check.check(&format!("ChangePhase.{name}"), &change);
    }
    let change = Some(change_phase::Change::Pause(true));
    let numbered = ChangePhase { run: run(), phase: 1, at_offset_ns: 2, change, number: 7 };
    check.check("ChangePhase.numbered", &numbered);
    check.check("EndPhase", &EndPhase { run: run(), phase: 1, grace_ns: 2, ..Default::default() });
    let ended = PhaseEnded { arrivals: Some(arrivals()), last_sequence: 60, ..Default::default() };
    check.check("PhaseEnded", &ended);
    check.check("PhaseEnded.alone", &PhaseEnded { alone: true, ..ended });
    check.check("EndRun", &EndRun { run: run(), ..Default::default() });
    check.check("Ack", &Ack {});
    check.check("ArrivalCounts", &arrivals());
    let beat = Heartbeat {
        worker: worker(),
        run: run(),
        state: heartbeat::State::Ending.into(),
        phase: 1,
        load_threads: 2,
        sent_unix_ns: 3,
        host: text("load-1"),
        ..Default::default()
    };
    check.check("Heartbeat", &beat);
    let beat = Heartbeat {
        state: heartbeat::State::CutOff.into(),
        incarnation: worker(),
        epoch: 4,
        clock_offset_ns: Some(-500_000_000),
        clock_error_ns: 5,
        ..beat
    };
    check.check("Heartbeat.2", &beat);
    let beat = Heartbeat { weight: 1.5, thread_speed: 480_000.5, ..Default::default() };
    check.check("Heartbeat.3", &beat);
    let assign = AssignSegment {
        run: run(),
        phase: 1,
        at_offset_ns: 2,
        segment: Some(segment()),
        epoch: 3,
        ..Default::default()
    };
    check.check("AssignSegment", &assign);
    let start = StartPhase { segment: Some(segment()), epoch: 5, joins: true, ..Default::default() };
    check.check("StartPhase.2", &start);
    let reply = PrepareRunReply {
        incarnation: worker(),
        clock_offset_ns: Some(1),
        clock_error_ns: 2,
        ..Default::default()
    };
    check.check("PrepareRunReply.2", &reply);
    check.check("SchedulerBeat", &SchedulerBeat { run: run(), ..Default::default() });
    check.check("QueryClock", &QueryClock {});
    check.check("ClockReply", &ClockReply { unix_ns: -1, ..Default::default() });
}

fn samples(check: &mut Checked) {
    check.check("Histogram", &histogram(1));
    check.check("StatusCount", &StatusCount { status: 503, count: 4, ..Default::default() });
    check.check("ErrorCount", &ErrorCount { class: text("reset"), count: 4, ..Default::default() });
    check.check("CheckCount", &CheckCount { check: 1, passed: 2, failed: 3, ..Default::default() });
    check.check("Observation", &Observation { metric: 1, values: Some(histogram(2)), ..Default::default() });
    check.check("Series", &series());
    check.check("ThreadStats", &thread());
    check.check("SampleBatch", &batch());
    let fault = GuestFault {
        run: run(),
        worker: worker(),
        phase: 1,
        scenario: 2,
        guest: text("http"),
        digest: text("sha256:cd"),
        kind: text("deadline"),
        message: text("step ran over 10 ms"),
        offset_ns: 3,
        operations_cancelled: 4,
        ..Default::default()
    };
    check.check("GuestFault", &fault);
    let news = EndpointNews {
        run: run(),
        worker: worker(),
        phase: 1,
        target: text("shop"),
        endpoint: text("http://shop:1"),
        out: true,
        cause: text("health-check"),
        detail: text("3 checks in a row failed"),
        ..Default::default()
    };
    check.check("EndpointNews", &news);
    check.check("Aggregate", &aggregate());
    check.check("Second", &second());
    check.check("MetricPoint", &point());
    check.check("TargetMetric", &metric());
    check.check("TargetSamples", &target());
    check.check("WorkerProgress", &progress());
    let counted =
        WorkerProgress { arrivals: Some(arrivals()), send_lag: Some(histogram(6)), ..Default::default() };
    check.check("WorkerProgress.2", &counted);
    check.check("PhaseSeries", &phase_series());
    check.check("PhaseSeries.2", &PhaseSeries { merged_intervals: 5, ..Default::default() });
    check.check("RunSeries", &RunSeries { phases: vec![phase_series()], ..Default::default() });
}

fn queries(check: &mut Checked) {
    // An optional field that is 0 is not the same as one that is absent.
    let query = QueryAggregate {
        run: run(),
        phase: Some(0),
        window_ns: 1,
        scenario: Some(2),
        step: Some(0),
        target: Some(4),
        ..Default::default()
    };
    check.check("QueryAggregate", &query);
    check.check("QueryRun", &QueryRun { run: run(), phase: Some(0), ..Default::default() });
    check.check("QueryRun.all", &QueryRun { run: run(), phase: None, ..Default::default() });
    let watch = WatchRun {
        run: run(),
        plan_digest: text("sha256:ab"),
        processes: vec![process()],
        scenarios: vec![steps()],
        ..Default::default()
    };
    check.check("WatchRun", &watch);
    check.check("WatchedProcess", &process());
    let recorded = WatchedProcess { state_dir: text("/runs/1/processes"), ..process() };
    check.check("WatchedProcess.state_dir", &recorded);
    check.check("UnwatchRun", &UnwatchRun { run: run(), ..Default::default() });
    check.check("QueryProbes", &QueryProbes { run: run(), ..Default::default() });
    check.check("ProbeStates", &ProbeStates { probes: vec![probe()], ..Default::default() });
    check.check("ProbeState", &probe());
    check.check("MarkPhase", &MarkPhase { run: run(), phase: 1, t0_unix_ns: 2, ..Default::default() });
}

fn runs(check: &mut Checked) {
    let entry = HistoryEntry {
        run: run(),
        sequence: 1,
        at_unix_ns: 2,
        producer: text("scheduler"),
        event_json: text(r#"{"kind":"notice","message":"x"}"#),
        ..Default::default()
    };
    check.check("HistoryEntry", &entry);
    check.check("QueryHistory", &QueryHistory { run: run(), after_sequence: 7, ..Default::default() });
    check.check("History", &History { entries: vec![entry], ..Default::default() });
    let create = CreateRun {
        run: run(),
        plan_digest: text("sha256:ab"),
        files: vec![file("guest:0")],
        base_dir: text("/plans"),
        ..Default::default()
    };
    check.check("CreateRun", &create);
    check.check("CreateRunReply", &CreateRunReply { problems: texts(&["no worker"]), ..Default::default() });
    for (name, action) in [
        ("pause", control_run::Action::Pause(true)),
        ("resume", control_run::Action::Resume(true)),
        ("stop", control_run::Action::Stop(true)),
        ("skip", control_run::Action::Skip(true)),
        ("rate", control_run::Action::Rate(500.0)),
    ] {
        let control = ControlRun { run: run(), by: text("cli"), action: Some(action), ..Default::default() };
        check.check(&format!("ControlRun.{name}"), &control);
    }
    check.check("ControlReply", &ControlReply { refused: text("not running"), ..Default::default() });
}
