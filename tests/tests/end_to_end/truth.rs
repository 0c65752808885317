//! What a run reports is what its target saw: percentiles against the target's log, counts and bytes exactly.
//!
//! Elsewhere tests assert no time below a second. Here times are the subject. The cores are shared with the target and
//! whatever else runs on the machine, so the times get three runs and the best one counts; counts and bytes must be exact
//! in each.

use std::time::Duration;

use gauntlet_tests::Alone;
use gauntlet_tests::setting::Setting;
use gauntlet_tests::suite::Suite;
use rustix::process::Signal;
use serde_json::Value;
use test_servers::logged::{Entry, Fate, Logged};

use crate::plans::{OnePhase, assert_closes, count, phase};

gauntlet_tests::on_both_suites! {
    counts_and_bytes_are_the_targets_when_ctrl_c_ends_the_run_in_the_middle,
}

/// What the generator, the network and the schedulers of both ends may add, microseconds.
const MOST: f64 = 2_000.0;
/// Values of 1 to 2 s are told apart to 1.024 ms, and reported as the highest that a value could be.
const RESOLUTION: f64 = 1_024.0;

/// Two hundred arrivals a second, for two steps.
fn plan(target: &Logged, seconds: u32) -> OnePhase {
    let url = format!("http://{}", target.addr());
    let load = format!("rate = 200\nduration = \"{seconds}s\"\nconnections = 400");
    let mut plan = OnePhase::new(&url, &load);
    plan.step =
        r#"{ name = "one", get = "/one/{arrival}" }, { name = "two", get = "/two/{arrival}" }"#.to_owned();
    plan
}

fn named(list: &Value, name: &str) -> u64 {
    let list = list.as_array().unwrap();
    list.iter().find(|entry| entry["name"] == name).map_or(0, |entry| entry["count"].as_u64().unwrap())
}

/// What is told of a phase, or of one of its steps, beside arrivals, is what the log has of it.
fn assert_told(told: &Value, log: &[&Entry]) {
    let whole = || log.iter().filter(|entry| entry.fate == Fate::Whole);
    let count = |status: u16| whole().filter(|entry| entry.status == status).count() as u64;
    let statuses = [200, 404, 503].map(|status| (status, count(status)));
    for (status, logged) in statuses {
        assert_eq!(named(&told["statuses"], &status.to_string()), logged, "status {status}: {told}");
    }
    let spoilt = log.len() as u64 - statuses.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!(named(&told["failures"], "reset"), spoilt, "{told}");
    assert!(told["failures"].as_array().unwrap().iter().all(|class| class["name"] == "reset"), "{told}");
    let (read, written) =
        (log.iter().map(|entry| entry.read).sum::<u64>(), whole().map(|entry| entry.written).sum::<u64>());
    assert_eq!((&told["bytes_sent"], &told["bytes_received"]), (&read.into(), &written.into()), "{told}");
}

/// Counts and bytes of the run's phase and of its steps are those of the log.
fn assert_counts(phase: &Value, log: &[Entry]) {
    assert_closes(phase);
    let all: Vec<&Entry> = log.iter().collect();
    let answered = log.iter().filter(|entry| entry.fate == Fate::Whole).count() as u64;
    assert_eq!((count(phase, "started"), count(phase, "answered")), (log.len() as u64, answered));
    assert_told(phase, &all);
    let steps = phase["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    for step in steps {
        let path = format!("/{}/", step["step"].as_str().unwrap());
        let of_step: Vec<&Entry> = log.iter().filter(|entry| entry.path.starts_with(&path)).collect();
        let answered = of_step.iter().filter(|entry| entry.fate == Fate::Whole).count() as u64;
        let logged = [of_step.len() as u64, answered, of_step.len() as u64 - answered];
        let told = ["started", "answered", "failed"].map(|key| step[key].as_u64().unwrap());
        assert_eq!(told, logged, "{step}");
        assert_told(step, &of_step);
    }
}

/// By how much times are above those of the log at most, microseconds.
#[derive(Clone, Copy, Debug)]
struct Above {
    /// From the actual send.
    service: f64,
    /// From the intended send, but for how late the run says that it sent.
    latency: f64,
}

/// No time is below the log's, and by how much they are above it. Up to p99.9 the p99.9 of send lag is taken off latency, which
/// all but one request in a thousand keep to; of the longest latency the longest send lag, which all do.
fn above(phase: &Value, log: &[Entry]) -> Above {
    let whole = log.iter().filter(|entry| entry.fate == Fate::Whole);
    let mut logged: Vec<u128> = whole.map(|entry| entry.took.as_micros()).collect();
    logged.sort_unstable();
    let rank = |q: f64| usize::try_from(series::rank(q, logged.len() as u64)).unwrap();
    let above = |part: &str, lag: &Value| {
        let late = |name: &str| lag[name].as_f64().unwrap_or(0.0);
        let percentiles = [("p50", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p999", 99.9)];
        let percentiles = percentiles.map(|(name, q)| (name, rank(q), late("p999")));
        let all = percentiles.into_iter().chain([("max", logged.len(), late("max"))]);
        let differences = all.map(|(name, rank, late)| {
            let above = phase[part][name].as_f64().unwrap() - logged[rank - 1] as f64;
            assert!(above >= 0.0, "{name} of {part} is {above} us below the log");
            above - late
        });
        differences.fold(f64::MIN, f64::max)
    };
    Above { service: above("service", &Value::Null), latency: above("latency", &phase["send_lag"]) }
}

/// The requests of the plan; whether the target is ready was asked, too.
fn of_plan(target: &Logged) -> Vec<Entry> {
    let mut log = target.entries();
    log.retain(|entry| entry.path.starts_with("/one/") || entry.path.starts_with("/two/"));
    log
}

/// The log of a run that is over, all of it: an answer is written before it is logged.
fn whole_log(target: &Logged, phase: &Value) -> Vec<Entry> {
    gauntlet_tests::wait::until(
        "the target's log of all requests",
        Duration::from_secs(10),
        || Some(of_plan(target)).filter(|log| log.len() as u64 >= count(phase, "started")),
        || format!("{} requests of {}", of_plan(target).len(), phase["arrivals"]),
    )
}

/// Three tries at the times; counts and bytes are exact in each.
fn compare_thrice(run: impl Fn(&Logged) -> Value) {
    let mut seen = Vec::new();
    for seed in 0..3 {
        // Three in a hundred are reset, and as many half written.
        let target = Logged::start(seed, 3);
        let summary = run(&target);
        let phase = phase(&summary);
        let log = whole_log(&target, phase);
        assert_eq!(count(phase, "scheduled"), 1_000);
        assert_counts(phase, &log);
        let above = above(phase, &log);
        if above.service <= MOST + RESOLUTION && above.latency <= MOST + RESOLUTION {
            return;
        }
        seen.push(above);
    }
    panic!("microseconds by which times are above the log, in three runs: {seen:?}");
}

#[test]
fn a_run_in_one_process_reports_what_its_target_logged() {
    let setting = Setting::embedded();
    compare_thrice(|target| setting.run(&plan(target, 5).text()).summary());
}

#[test]
fn fleets_of_one_two_and_four_workers_report_what_their_targets_logged() {
    for workers in [1, 2, 4] {
        let dir = Alone::new();
        let suite = Suite::start(dir.path(), workers);
        compare_thrice(|target| {
            suite.start_run(dir.path(), &plan(target, 5).text()).wait(Duration::from_secs(30)).summary()
        });
    }
}

fn counts_and_bytes_are_the_targets_when_ctrl_c_ends_the_run_in_the_middle(setting: &Setting) {
    // Of seed 0 the path that is asked whether the target is ready is answered.
    let target = Logged::start(0, 3);
    let mut plan = plan(&target, 60);
    // Whatever is under way when the load has ended is waited for, however busy the machine is.
    plan.end = "[control]\nramp-down = \"1s\"\n[load]\ngrace = \"20s\"".to_owned();
    let running = setting.start_run(&plan.text());
    gauntlet_tests::wait::until(
        "400 answers of the target",
        Duration::from_secs(30),
        || (of_plan(&target).len() >= 400).then_some(()),
        || running.history(),
    );
    gauntlet_tests::signal(running.child(), Signal::INT);
    let summary = running.wait(Duration::from_secs(60)).expect(130).summary();
    assert_eq!(summary["verdict"], "aborted");
    let phase = phase(&summary);
    assert!(count(phase, "scheduled") < 11_000, "the run was not ended in the middle");
    assert_eq!((count(phase, "cancelled"), count(phase, "in_flight")), (0, 0), "{}", phase["arrivals"]);
    assert_counts(phase, &whole_log(&target, phase));
}
