//! Faults and recovery in whole runs: what is told, what is left when a run is ended or killed in the middle, and what the
//! command shows and does.

use std::time::Duration;

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::faults::{self, Planned, agent_dir, check, events, naming, of_kind, until_clean};
use gauntlet_tests::gauntlet::{self, Ended, Running, start_run};
use gauntlet_tests::suite::Suite;
use gauntlet_tests::wait;
use rustix::process::Signal;
use serde_json::Value;
use test_servers::ports;

/// Longer than any run here may take.
const END: Duration = Duration::from_secs(90);

/// A plan with the reference target as a process of its own.
fn plan(program: &str, port: u16, phase: &str, more: &str) -> String {
    format!(
        r#"name = "broken"
seed = 11
run-phases = ["baseline"]

[processes.core]
command = [{program:?}, "--port", "{port}"]
ready = "http://127.0.0.1:{port}/health"

[targets.core]
url = "http://127.0.0.1:{port}"
platform = {{ process = "core" }}
health = "http://127.0.0.1:{port}/health"
chaos = true

[[scenarios]]
guest = "http"
target = "core"
config.steps = [{{ name = "home", get = "/" }}]

[phases.baseline]
{phase}

[validity]
judge = false

[control]
ramp-down = "1s"

{more}
"#
    )
}

fn core_services() -> String {
    gauntlet_tests::program("core-services").display().to_string()
}

fn broken(name: &str, recipe: &str, at: &str, duration: &str) -> String {
    format!(
        "[[chaos]]\nname = \"{name}\"\nphase = \"baseline\"\ntarget = \"core\"\nrecipe = {recipe}\nduration = \"{duration}\"\n\
         stop = \"none\"\n{}",
        if at.is_empty() { String::new() } else { format!("at = \"{at}\"\n") }
    )
}

/// Waits until so many faults were injected.
fn until_injected(running: &Running, count: usize) {
    wait::until(
        &format!("{count} faults to be injected"),
        Duration::from_secs(40),
        || (of_kind(&events(&running.history()), "fault-injected").len() >= count).then_some(()),
        || running.history(),
    );
}

fn text(entry: &Value, key: &str) -> String {
    entry["event"][key].as_str().unwrap_or_default().to_owned()
}

fn stamp(entry: &Value) -> i64 {
    entry["at_unix_ns"].as_i64().unwrap()
}

fn history_of(ended: &Ended) -> Vec<Value> {
    let dir = ended.run_dir.as_ref().unwrap();
    events(&std::fs::read_to_string(dir.join("history.ndjson")).unwrap())
}

#[test]
fn a_target_that_is_killed_hangs_and_is_slow_is_brought_back_and_the_run_passes() {
    let dir = Beside::new();
    let more = [
        broken("it dies", "\"kill\"", "", "3s"),
        broken("it hangs", "\"pause\"", "", "3s"),
        broken("it is slow", "\"latency\"\nlatency = \"50ms\"", "", "2s"),
        "[recovery.core]\nstrategy = [\"restart\"]\ninterval = \"1s\"\n".to_owned(),
    ];
    let phase = "rate = 100\nduration = \"24s\"\nconnections = 10";
    let text_of_plan = plan(&core_services(), ports::free(), phase, &more.concat());
    let running = start_run(dir.path(), &text_of_plan, &[]);
    let ended = running.wait(END).expect(0);
    let history = history_of(&ended);

    let mut faults: Vec<String> = of_kind(&history, "fault-beginning")
        .iter()
        .map(|entry| entry["event"]["fault"]["fault"].as_str().unwrap().to_owned())
        .collect();
    faults.sort();
    assert_eq!(faults, ["it dies", "it hangs", "it is slow"]);
    for kind in ["fault-injected", "fault-ended"] {
        let entries = of_kind(&history, kind);
        let mut found: Vec<String> = entries.iter().map(|entry| text(entry, "fault")).collect();
        found.sort();
        assert_eq!(found, faults, "each is {kind} once");
        assert!(entries.iter().all(|entry| entry["producer"] == "chaos"));
    }
    assert_eq!(of_kind(&history, "faults-planned").len(), 1);
    for kind in ["fault-skipped", "fault-unrecovered"] {
        assert_eq!(of_kind(&history, kind), Vec::<Value>::new());
    }
    let opened = of_kind(&history, "incident-opened");
    let by = |cause: &str| opened.iter().filter(|entry| text(entry, "fault") == cause).count();
    assert_eq!((by("it dies"), by("it hangs")), (1, 1), "{opened:#?}");
    let closed = of_kind(&history, "incident-closed");
    assert_eq!(closed.len(), opened.len(), "{history:#?}");
    let restarted = of_kind(&history, "recovery-acted");
    assert!(
        restarted.iter().filter(|entry| text(entry, "action") == "restart").count() >= 2,
        "{restarted:#?}"
    );

    for line in ["it dies: kill on core", "it dies: undone after", "core-1: restart done", "core-1: closed"] {
        assert!(ended.stderr.contains(line), "{line:?} is not told: {}", ended.stderr);
    }
    assert!(
        ended.stdout.contains("faults: 3 injected, 3 undone, 0 skipped, 0 unrecovered"),
        "{}",
        ended.stdout
    );
    let (code, said) = check(&agent_dir(dir.path()));
    assert_eq!(code, Some(0), "{said}");
    wait::until(
        "agent and proxy to be gone",
        Duration::from_secs(10),
        || naming(&dir.path().join("runs/chaos")).is_empty().then_some(()),
        || format!("{:?}", naming(&dir.path().join("runs/chaos"))),
    );
}

#[test]
fn ctrl_c_in_the_middle_begins_the_undo_within_a_third_of_a_second_and_leaves_nothing() {
    let dir = Beside::new();
    let more = [
        broken("it hangs", "\"pause\"", "1s", "50s"),
        broken("it is slow", "\"latency\"\nlatency = \"200ms\"", "1s", "50s"),
        broken("the host is busy", "\"cpu\"\ncores = 1", "1s", "50s"),
    ];
    let phase = "rate = 50\nduration = \"60s\"\nconnections = 10";
    let text_of_plan = plan(&core_services(), ports::free(), phase, &more.concat());
    let running = start_run(dir.path(), &text_of_plan, &[]);
    let core = Planned::of(&running, "core");
    until_injected(&running, 3);
    assert_eq!(core.state(), Some('T'), "it hangs");
    gauntlet_tests::signal(running.child(), Signal::INT);
    let ended = running.wait(END).expect(130);
    let history = history_of(&ended);
    let stop = stamp(&of_kind(&history, "stop-requested")[0]);
    let undone = of_kind(&history, "fault-ended");
    assert_eq!(undone.len(), 3, "{history:#?}");
    for entry in undone {
        let took = i64::try_from(entry["event"]["undo_ms"].as_u64().unwrap()).unwrap() * 1_000_000;
        let began = stamp(&entry) - took - stop;
        assert!(began < 333_000_000, "{} began {began} ns after the stop", text(&entry, "fault"));
        assert_eq!(text(&entry, "how"), "signal SIGINT");
    }
    let (code, said) = check(&agent_dir(dir.path()));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(core.state(), None, "the plan's process is gone");
}

#[test]
fn a_run_that_is_killed_leaves_no_fault_behind_its_lease() {
    let dir = Beside::new();
    let more = [
        broken("it hangs", "\"pause\"", "1s", "50s"),
        broken("it is cut off", "\"partition\"", "1s", "50s"),
        broken("the host is busy", "\"cpu\"\ncores = 1", "1s", "50s"),
        broken("memory is short", "\"memory\"\nsize = \"64MiB\"", "1s", "50s"),
    ];
    let phase = "rate = 50\nduration = \"60s\"\nconnections = 10";
    let text_of_plan = plan(&core_services(), ports::free(), phase, &more.concat());
    let running = start_run(dir.path(), &text_of_plan, &[]);
    let core = Planned::of(&running, "core");
    until_injected(&running, 4);
    let (code, said) = check(&agent_dir(dir.path()));
    assert_eq!(code, Some(97), "the checker sees what is there: {said}");
    gauntlet_tests::signal(running.child(), Signal::KILL);
    let _ = running.wait(END);
    // The lease of 5 s, and 5 s.
    let clean = until_clean(&agent_dir(dir.path()), Duration::from_secs(10));
    assert_ne!(core.state(), Some('T'), "it does not hang any more, {clean:?} after the kill");
    // The fault proxy lets load through until its own lease has ended.
    wait::until(
        "agent and proxy to be gone",
        Duration::from_secs(60),
        || naming(&dir.path().join("runs/chaos")).is_empty().then_some(()),
        || format!("{:?}", naming(&dir.path().join("runs/chaos"))),
    );
}

/// Two endpoints, faults of the network with victims that are drawn.
fn network_plan(urls: [&str; 2]) -> String {
    format!(
        r#"name = "the same"
seed = 23
run-phases = ["baseline"]

[targets.core]
url = ["{}", "{}"]
chaos = {{ most = 1 }}

[[scenarios]]
guest = "http"
target = "core"
config.steps = [{{ name = "home", get = "/" }}]

[phases.baseline]
rate = 60
duration = "20s"
connections = 6

[validity]
judge = false

[[chaos]]
name = "slow"
recipe = "latency"
phase = "baseline"
target = "core"
duration = "1s"
stop = "none"
times = 3
latency = "20ms"
jitter = "10ms"
share = 0.5

[[chaos]]
name = "refused"
recipe = "refuse"
phase = "baseline"
target = "core"
duration = "1s"
stop = "none"
"#,
        urls[0], urls[1]
    )
}

#[test]
fn the_same_seed_breaks_the_same_in_one_process_and_over_nats() {
    let dir = Beside::new();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    for dir in [&a, &b] {
        std::fs::create_dir(dir).unwrap();
    }
    let (first, second) = (Core::start(&a, "{}"), Core::start(&b, "{}"));
    let plan = network_plan([&first.url(), &second.url()]);
    let seen = |history: &[Value]| {
        let planned = of_kind(history, "faults-planned")[0]["event"]["faults"].clone();
        let began = of_kind(history, "fault-beginning");
        let began: Vec<Value> = began.iter().map(|entry| entry["event"]["fault"].clone()).collect();
        let ended = of_kind(history, "fault-ended");
        let ended: Vec<String> = ended.iter().map(|entry| text(entry, "fault")).collect();
        (planned, began, ended)
    };
    // Connections meet toxics when they are there; what is drawn for each is the same, whichever they are.
    let drawn = |running: &Running, chaos: &str| {
        wait::until(
            "all faults to have ended",
            Duration::from_secs(40),
            || (of_kind(&events(&running.history()), "fault-ended").len() == 4).then_some(()),
            || running.history(),
        );
        faults::draws(&dir.path().join(chaos), &["core-0", "core-1"])
    };
    let running = start_run(&a, &plan, &[]);
    let first_draws = drawn(&running, "a/runs/chaos");
    let embedded = running.wait(END).expect(0);
    let suite = Suite::start(dir.path(), 2);
    let running = suite.start_run(&b, &plan);
    let second_draws = drawn(&running, "suite/chaos");
    let deployed = running.wait(END).expect(0);
    let common: Vec<_> = first_draws.keys().filter(|key| second_draws.contains_key(key)).collect();
    assert!(common.len() >= 4, "{first_draws:?} and {second_draws:?}");
    for key in common {
        assert_eq!(first_draws[key], second_draws[key], "{key:?}");
    }
    let (planned, began, ended) = seen(&history_of(&embedded));
    assert_eq!(planned.as_array().unwrap().len(), 4);
    assert_eq!(began.len(), 4, "{began:#?}");
    assert_eq!(ended.len(), 4, "{ended:#?}");
    assert_eq!(seen(&history_of(&deployed)), (planned, began, ended));
}

#[test]
fn a_fault_that_cannot_be_undone_is_97() {
    let dir = Beside::new();
    // A program of the test's own, which it takes away while it is dead.
    let program = dir.path().join("own-core-services");
    std::fs::copy(gauntlet_tests::program("core-services"), &program).unwrap();
    let more = broken("it dies for good", "\"kill\"", "1s", "4s");
    let phase = "rate = 50\nduration = \"12s\"\nconnections = 10";
    let text_of_plan = plan(&program.display().to_string(), ports::free(), phase, &more);
    let running = start_run(dir.path(), &text_of_plan, &[]);
    until_injected(&running, 1);
    std::fs::remove_file(&program).unwrap();
    let ended = running.wait(END).expect(97);
    let summary = ended.summary();
    assert_eq!(summary["verdict"], "failed");
    let reasons = summary["reasons"].to_string();
    assert!(reasons.contains("fault it dies for good could not be undone"), "{reasons}");
    assert_eq!(of_kind(&history_of(&ended), "fault-unrecovered").len(), 1);
    assert!(ended.stdout.contains("1 unrecovered"), "{}", ended.stdout);
}

#[test]
fn faults_are_listed_injected_and_ended_by_hand_and_recovery_is_looked_at() {
    let dir = Beside::new();
    let more = [
        broken("it is slow", "\"latency\"\nlatency = \"20ms\"", "50s", "5s"),
        "[recovery.core]\nstrategy = []\ninterval = \"1s\"\n".to_owned(),
    ];
    let phase = "rate = 50\nduration = \"62s\"\nconnections = 10";
    let text_of_plan = plan(&core_services(), ports::free(), phase, &more.concat());
    let running = start_run(dir.path(), &text_of_plan, &[]);
    let core = Planned::of(&running, "core");
    running.until_history_has("phase-started");
    let command = |arguments: &[&str]| {
        let api = running.api();
        let mut all = arguments.to_vec();
        all.extend(["--api", &api]);
        let scratch = tempfile::tempdir().unwrap();
        gauntlet::command(scratch.path(), &all)
    };
    let list = command(&["chaos", "list"]).expect(0);
    assert!(list.stdout.contains("it is slow") && list.stdout.contains("planned"), "{list:?}");

    let _ = command(&[
        "chaos",
        "run",
        "recipe=pause",
        "target=core",
        "duration=40s",
        "stop=none",
        "name=by hand",
    ])
    .expect(0);
    until_injected(&running, 1);
    assert_eq!(core.state(), Some('T'));
    let json = command(&["chaos", "list", "--json"]).expect(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let by_hand =
        json["faults"].as_array().unwrap().iter().find(|view| view["planned"]["fault"] == "by hand");
    assert_eq!(by_hand.unwrap()["planned"]["by"], "api", "{json}");
    wait::until(
        "recovery to find it",
        Duration::from_secs(20),
        || command(&["recovery", "status"]).stdout.contains("core-1").then_some(()),
        || format!("{:?}", command(&["recovery", "status"])),
    );
    let stopped = command(&["chaos", "stop", "by hand"]).expect(0);
    assert!(stopped.stdout.contains("undone, and read back: by hand"), "{stopped:?}");
    assert_ne!(core.state(), Some('T'));

    // Network faults only where load takes the way through the proxy; and only what there is.
    for (arguments, why) in [
        (vec!["recipe=pause", "target=nobody", "duration=1s", "stop=none"], "nobody"),
        (vec!["recipe=pause", "target=core", "stop=none"], "duration"),
        (vec!["recipe=pause", "target=core", "duration=10m", "stop=none"], "longer"),
    ] {
        let mut all = vec!["chaos", "run"];
        all.extend(arguments);
        let refused = command(&all).expect(2);
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    let unknown = command(&["chaos", "stop", "nothing"]).expect(2);
    assert!(unknown.stderr.contains("nothing"), "{unknown:?}");

    let _ = command(&["control", "stop"]).expect(0);
    let ended = running.wait(END).expect(96);
    let by_hand = of_kind(&history_of(&ended), "fault-ended");
    assert_eq!(text(&by_hand[0], "how"), "stopped by api");
}

/// Two network faults of a target that is there already, one of them late; and somebody who looks at its health.
fn early_and_late(url: &str) -> String {
    format!(
        r#"name = "twice"
seed = 5
run-phases = ["baseline"]

[targets.core]
url = "{url}"
health = "{url}/health"
chaos = true

[[scenarios]]
guest = "http"
target = "core"
config.steps = [{{ name = "home", get = "/" }}]

[phases.baseline]
rate = 50
duration = "45s"
connections = 5

[validity]
judge = false

[recovery.core]
strategy = []
interval = "1s"

{}{}"#,
        broken("early", "\"latency\"\nlatency = \"10ms\"", "1s", "20s"),
        broken("late", "\"latency\"\nlatency = \"10ms\"", "35s", "2s"),
    )
}

#[test]
fn chaos_and_recovery_that_are_killed_and_started_anew_go_on_with_the_run() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 1);
    let running = suite.start_run(dir.path(), &early_and_late(&core.url()));
    until_injected(&running, 1);
    for service in ["chaos", "recovery"] {
        suite.signal(service, Signal::KILL);
        suite.restart(service);
    }
    for service in ["chaos", "recovery"] {
        running.until_history_has(&format!("{service} did not go on with the run"));
    }
    let history = history_of(&running.wait(END).expect(0));
    let ended: Vec<String> =
        of_kind(&history, "fault-ended").iter().map(|entry| text(entry, "fault")).collect();
    assert_eq!(ended, ["early", "late"], "{history:#?}");
    let early = text(&of_kind(&history, "fault-ended")[0], "how");
    assert!(early.starts_with("the chaos service that held it ended: "), "{early}");
    for kind in ["fault-unrecovered", "fault-skipped"] {
        assert_eq!(of_kind(&history, kind), Vec::<Value>::new());
    }
}

#[test]
fn a_chaos_that_stays_away_ends_the_run_and_is_named() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 1);
    let running = suite.start_run(dir.path(), &early_and_late(&core.url()));
    until_injected(&running, 1);
    suite.signal("chaos", Signal::KILL);
    let ended = running.wait(Duration::from_secs(120)).expect(96);
    assert!(ended.stderr.contains("lost service chaos"), "{}", ended.stderr);
}

#[test]
fn a_scheduler_that_is_killed_and_started_anew_has_each_fault_in_its_history_once() {
    let dir = Beside::new();
    let core = Core::start(dir.path(), "{}");
    let mut suite = Suite::start(dir.path(), 1);
    let running = suite.start_run(dir.path(), &early_and_late(&core.url()));
    until_injected(&running, 1);
    suite.signal("scheduler", Signal::KILL);
    suite.restart("scheduler");
    running.until_history_has("run-resumed");
    let history = history_of(&running.wait(END).expect(0));
    for kind in ["fault-injected", "fault-ended"] {
        let mut faults: Vec<String> =
            of_kind(&history, kind).iter().map(|entry| text(entry, "fault")).collect();
        faults.sort();
        assert_eq!(faults, ["early", "late"], "{kind}: {history:#?}");
    }
    assert_eq!(of_kind(&history, "faults-planned").len(), 1, "chaos had the run all the while");
    assert!(!history.iter().any(|entry| text(entry, "message").contains("did not go on")), "{history:#?}");
}
