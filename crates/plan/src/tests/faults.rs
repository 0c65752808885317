//! `[[chaos]]`: what is read, its defaults, and what is refused.

use std::time::Duration;

use super::errors::only;
use super::{overridden, parse};
use crate::model::{
    Cores, Direction, DiskFill, Fault, Mode, Most, PhaseName, PlatformRef, Recipe, RecipeKind, Stop,
};
use crate::{Overrides, Plan, Problems, parse_fault};

/// Three targets: two instances of ours, of which one may be away; one that is not ours; one that nobody may touch.
const BASE: &str = r#"
run-phases = ["light", "chaos"]
phases.chaos.duration = "1m"
phases.light.duration = "1m"
processes.a.command = ["p"]
processes.b.command = ["p"]
targets.shop.url = ["http://shop/a", "http://shop/b"]
targets.shop.platform.process = ["a", "b"]
targets.shop.chaos.most = 1
targets.far.url = ["http://far/a", "http://far/b"]
targets.far.chaos = true
targets.off.url = "http://off"
scenarios = [{ guest = "http", target = "shop" }]
"#;

fn chaos(faults: &str) -> Result<Plan, Problems> {
    parse(&format!("{BASE}{faults}"))
}

/// A fault with these lines beside the four that every fault has.
fn one(lines: &str) -> Result<Plan, Problems> {
    chaos(&format!("[[chaos]]\ntarget = \"shop\"\nduration = \"5s\"\nstop = \"none\"\n{lines}\n"))
}

fn recipe(lines: &str) -> Recipe {
    one(lines).unwrap_or_else(|problems| panic!("{problems}")).chaos.remove(0).recipe
}

#[test]
fn defaults_of_a_fault() {
    let plan = one("recipe = \"kill\"").unwrap();
    let expected = Fault {
        name: "kill".to_owned(),
        recipe: Recipe::Kill,
        toxicity: 1.0,
        target: "shop".to_owned(),
        phase: PhaseName::Chaos,
        mode: Mode::One,
        duration: Duration::from_secs(5),
        stop: Stop::None,
        at: None,
        times: 1,
    };
    assert_eq!(plan.chaos, [expected]);
    let plan = chaos(
        "[[chaos]]\nrecipe = \"kill\"\ntarget = \"shop\"\nduration = \"5s\"\nstop = \"error_rate > 50%\"",
    )
    .unwrap();
    assert_eq!(
        plan.chaos[0].stop,
        Stop::When { check: "error_rate > 50%".parse().unwrap(), over: Duration::from_secs(5) }
    );
    let chaos: Vec<Option<Most>> = plan.targets.iter().map(|target| target.chaos).collect();
    assert_eq!(chaos, [Some(Most::Fixed(1)), Some(Most::All), None]);
}

#[test]
fn recipes_and_the_defaults_of_their_parameters() {
    use Direction::{Both, FromTarget, ToTarget};
    let (ms, s) = (Duration::from_millis, Duration::from_secs);
    for (lines, expected, said) in [
        ("recipe = \"pause\"", Recipe::Pause, "pause"),
        ("recipe = \"restart\"", Recipe::Restart, "restart"),
        (
            "recipe = \"clock-skew\"\noffset = \"+30s\"",
            Recipe::ClockSkew { offset_ms: 30_000 },
            "clock-skew +30s",
        ),
        (
            "recipe = \"clock-skew\"\noffset = \"-1m30s\"",
            Recipe::ClockSkew { offset_ms: -90_000 },
            "clock-skew -1m30s",
        ),
        ("recipe = \"cpu\"\ncores = 2", Recipe::Cpu { cores: Cores::Count(2) }, "cpu 2 cores"),
        (
            "recipe = \"cpu\"\ncores = \"50%\"",
            Recipe::Cpu { cores: Cores::Share(0.5) },
            "cpu 50% of the cores",
        ),
        ("recipe = \"memory\"\nsize = \"64MiB\"", Recipe::Memory { bytes: 64 << 20 }, "memory 64MiB"),
        (
            "recipe = \"connections\"\nconnections = 100",
            Recipe::Connections { count: 100 },
            "100 connections",
        ),
        (
            "recipe = \"disk-full\"\npath = \"d\"\nleave = \"0B\"",
            Recipe::DiskFull { path: "d".into(), fill: DiskFill::Leave(0) },
            "disk-full d, 0B left",
        ),
        (
            "recipe = \"disk-full\"\npath = \"d\"\nsize = \"1MiB\"",
            Recipe::DiskFull { path: "d".into(), fill: DiskFill::Take(1 << 20) },
            "disk-full d, 1MiB taken",
        ),
        (
            "recipe = \"latency\"\nlatency = \"200ms\"",
            Recipe::Latency { latency: ms(200), jitter: ms(0), direction: FromTarget },
            "latency 200ms from the target",
        ),
        (
            "recipe = \"latency\"\nlatency = \"200ms\"\njitter = \"50ms\"\ndirection = \"both\"",
            Recipe::Latency { latency: ms(200), jitter: ms(50), direction: Both },
            "latency 200ms ± 50ms both ways",
        ),
        (
            "recipe = \"bandwidth\"\nrate = \"64KiB\"",
            Recipe::Bandwidth { bytes_per_second: 64 << 10, direction: FromTarget },
            "bandwidth 64KiB/s from the target",
        ),
        ("recipe = \"partition\"", Recipe::Partition { direction: Both }, "partition both ways"),
        (
            "recipe = \"partition\"\ndirection = \"to\"",
            Recipe::Partition { direction: ToTarget },
            "partition to the target",
        ),
        ("recipe = \"refuse\"", Recipe::Refuse, "refuse"),
        ("recipe = \"reset\"", Recipe::Reset { after: ms(0) }, "reset after 0s"),
        ("recipe = \"slow-close\"\ndelay = \"1s\"", Recipe::SlowClose { delay: s(1) }, "slow-close by 1s"),
        (
            "recipe = \"slicer\"\nsize = 100",
            Recipe::Slicer { size: 100, variation: 0, delay: ms(0), direction: FromTarget },
            "slicer 100B ± 0B, 0s apart, from the target",
        ),
        (
            "recipe = \"limit-data\"\nbytes = \"1KiB\"",
            Recipe::LimitData { bytes: 1024, direction: FromTarget },
            "limit-data 1KiB from the target",
        ),
        (
            "recipe = \"packet-loss\"\nloss = \"10%\"",
            Recipe::PacketLoss { loss: 0.1, correlation: 0.0, direction: FromTarget },
            "packet-loss 10% from the target",
        ),
        ("recipe = \"http-abort\"", Recipe::HttpAbort { share: 1.0 }, "http-abort of all requests"),
        (
            "recipe = \"http-delay\"\ndelay = \"1s\"\nshare = \"10%\"",
            Recipe::HttpDelay { share: 0.1, delay: s(1) },
            "http-delay 1s on 10% of requests",
        ),
        (
            "recipe = \"http-status\"",
            Recipe::HttpStatus { share: 1.0, status: 503 },
            "http-status 503 on all requests",
        ),
        (
            "recipe = \"http-header\"\nheader = \"etag\"",
            Recipe::HttpHeader {
                share: 1.0,
                header: "etag".into(),
                value: String::new(),
                direction: FromTarget,
            },
            "http-header without etag on all messages from the target",
        ),
        (
            "recipe = \"http-body\"",
            Recipe::HttpBody { share: 1.0, direction: FromTarget },
            "http-body on all messages from the target",
        ),
    ] {
        let found = recipe(lines);
        assert_eq!(found, expected);
        assert_eq!(found.describe(), said);
        assert!(lines.contains(&format!("{:?}", found.name())), "{lines}");
    }
    let lossy = one("recipe = \"reset\"\nshare = 0.5").unwrap().chaos.remove(0);
    assert_eq!((lossy.toxicity, lossy.describe().as_str()), (0.5, "reset after 0s on 50% of connections"));
}

#[test]
fn the_table_of_recipes_names_each_once_and_their_kinds() {
    let named: Vec<&str> = crate::spec::PARAMETERS.iter().map(|row| row.recipe).collect();
    assert_eq!(named, crate::spec::RECIPES);
    let mut used: Vec<&str> =
        crate::spec::PARAMETERS.iter().flat_map(|row| row.needed.iter().chain(row.taken)).copied().collect();
    used.sort_unstable();
    used.dedup();
    let mut known = crate::spec::PARAMETER_KEYS.to_vec();
    known.sort_unstable();
    assert_eq!(used, known);
    assert_eq!(Recipe::Pause.kind(), RecipeKind::Process);
    assert_eq!(Recipe::Memory { bytes: 1 }.kind(), RecipeKind::Host);
    assert_eq!(Recipe::Refuse.kind(), RecipeKind::Network);
}

#[test]
fn cores_are_within_the_machine() {
    let counts = |cores: Cores| [1, 2, 8].map(|machine| cores.of(machine));
    assert_eq!(counts(Cores::Count(4)), [1, 2, 4]);
    assert_eq!(counts(Cores::Share(0.5)), [1, 1, 4]);
    assert_eq!(counts(Cores::Share(0.01)), [1, 1, 1]);
}

#[test]
fn modes() {
    let mode = |text: &str| {
        one(&format!("recipe = \"latency\"\nlatency = \"1ms\"\nmode = {text}")).unwrap().chaos[0].mode
    };
    assert_eq!(mode("\"one\""), Mode::One);
    assert_eq!(mode("\"all\""), Mode::All);
    assert_eq!(mode("\"50%\""), Mode::Percent(50));
    assert_eq!(mode("{ percent = 50 }"), Mode::Percent(50));
    assert_eq!(mode("{ fixed = 2 }"), Mode::Fixed(2));
}

#[test]
fn names_are_made_where_there_is_none() {
    let fault = |name: &str| {
        format!("[[chaos]]\n{name}recipe = \"kill\"\ntarget = \"shop\"\nduration = \"2s\"\nstop = \"none\"\n")
    };
    let text: String = ["", "name = \"kill-2\"\n", "", "name = \"last\"\n", ""].map(fault).concat();
    let names: Vec<String> = chaos(&text).unwrap().chaos.into_iter().map(|fault| fault.name).collect();
    assert_eq!(names, ["kill", "kill-2", "kill-3", "last", "kill-4"]);
    let problem = only(chaos(&["name = \"x\"\n", "name = \"x\"\n"].map(fault).concat()));
    assert_eq!(problem.key, "chaos[1].name");
    assert!(problem.message.contains("a second fault of the name \"x\""), "{problem}");
}

/// Line of the fault's first own line in [`one`], and problem by problem what is said.
#[test]
fn each_mistake_is_told_with_its_place_and_mend() {
    let first = BASE.lines().count() + 5;
    for (lines, key, line, message, mend) in [
        ("recipe = \"kil\"", "recipe", 0, "expected one of kill,", "did you mean \"kill\"?"),
        ("recipe = \"latency\"", "latency", -4, "missing", "add `latency`"),
        (
            "recipe = \"kill\"\nlatency = \"1s\"",
            "latency",
            1,
            "the recipe kill has no such parameter",
            "has no parameters",
        ),
        ("recipe = \"reset\"\njitter = \"1s\"", "jitter", 1, "no such parameter", "reset has: after, share"),
        ("recipe = \"kill\"\nphase = \"heavy\"", "phase", 1, "the phase heavy does not run", "run-phases"),
        (
            "recipe = \"kill\"\nat = \"50s\"\nphase = \"chaso\"",
            "phase",
            2,
            "expected one of idle",
            "did you mean",
        ),
        ("recipe = \"kill\"\nmode = { fixed = 0 }", "mode.fixed", 1, "the integer 0", "hits no instance"),
        ("recipe = \"kill\"\nmode = { percent = 0 }", "mode.percent", 1, "the integer 0", "hits no instance"),
        ("recipe = \"kill\"\nmode = { percent = 101 }", "mode.percent", 1, "from 1 to 100", ""),
        ("recipe = \"kill\"\nmode = \"0%\"", "mode", 1, "from \"1%\" to \"100%\"", ""),
        ("recipe = \"kill\"\nmode = \"120%\"", "mode", 1, "from \"1%\" to \"100%\"", ""),
        ("recipe = \"kill\"\nmode = \"two\"", "mode", 1, "\"one\", \"all\"", ""),
        ("recipe = \"kill\"\nmode = {}", "mode", 1, "exactly one of", "fixed = 2"),
        (
            "recipe = \"kill\"\nmode = \"all\"",
            "mode",
            1,
            "2 of 2 instances of shop would be taken away",
            "raise `most`",
        ),
        ("recipe = \"partition\"\nmode = \"all\"", "mode", 1, "allows at most 1", "raise `most`"),
        ("recipe = \"memory\"\nsize = 1\nmode = \"one\"", "mode", 2, "chooses no instances", "leave it out"),
        ("recipe = \"kill\"\ntimes = 2\nat = \"1s\"", "times", 1, "`at` is one time", "leave out one"),
        ("recipe = \"kill\"\ntimes = 0", "times", 1, "from 1 to 1000", ""),
        (
            "recipe = \"kill\"\nat = \"56s\"",
            "at",
            1,
            "goes on after its phase: 5s from 56s on in chaos, which runs 1m",
            "real time",
        ),
        ("recipe = \"kill\"\nstop-over = \"1s\"", "stop-over", 1, "no stop condition", "leave it out"),
        ("recipe = \"kill\"\nname = \"a#2\"", "name", 1, "#", "leave it out"),
        ("recipe = \"clock-skew\"\noffset = \"0s\"", "offset", 1, "at least 1ms", "no fault"),
        ("recipe = \"clock-skew\"\noffset = 30", "offset", 1, "an offset such as", "quotes"),
        ("recipe = \"cpu\"\ncores = 0", "cores", 1, "from 1 to 1024", ""),
        (
            "recipe = \"latency\"\nlatency = \"1s\"\njitter = \"2s\"",
            "jitter",
            2,
            "more than the latency",
            "lower it",
        ),
        ("recipe = \"slicer\"\nsize = 5\nvariation = 5", "variation", 2, "not below `size`", "lower it"),
        ("recipe = \"disk-full\"\npath = \"d\"", "path", 1, "is missing", "`leave`"),
        ("recipe = \"disk-full\"\npath = \"d\"\nleave = 1\nsize = 1", "leave", 2, "contradict", "keep"),
        ("recipe = \"http-status\"\nstatus = 99", "status", 1, "from 100 to 999", ""),
        ("recipe = \"http-header\"\nheader = \"a b\"", "header", 1, "name of a header field", ""),
        ("recipe = \"http-abort\"\nshare = 0", "share", 1, "a share of nothing", "over 0"),
        ("recipe = \"kill\"\nduraton = \"1s\"", "duraton", 1, "unknown key", "did you mean `duration`?"),
    ] {
        let problem = only(one(lines));
        assert_eq!(problem.key, format!("chaos[0].{key}"), "{problem}");
        assert_eq!(i64::try_from(problem.line).unwrap(), i64::try_from(first).unwrap() + line, "{problem}");
        assert!(problem.message.contains(message), "{lines}: {problem}");
        assert!(problem.mend.contains(mend), "{lines}: {problem}");
    }
}

#[test]
fn targets_have_to_allow_faults_and_to_be_ours_for_some() {
    let on = |target: &str, recipe: &str| {
        chaos(&format!(
            "[[chaos]]\nrecipe = \"{recipe}\"\ntarget = \"{target}\"\nduration = \"5s\"\nstop = \"none\"\n"
        ))
    };
    for (target, recipe, message, mend) in [
        ("shp", "kill", "there is no target \"shp\"", "did you mean \"shop\"?"),
        ("off", "refuse", "does not allow faults", "add `chaos = true` to [targets.off]"),
        ("far", "kill", "has no `platform`", "add `platform` to [targets.far]"),
    ] {
        let problem = only(on(target, recipe));
        assert_eq!(problem.key, "chaos[0].target", "{problem}");
        assert!(problem.message.contains(message) && problem.mend.contains(mend), "{problem}");
    }
    on("far", "refuse").unwrap();
}

#[test]
fn what_every_fault_needs() {
    let problems = chaos("[[chaos]]\n").unwrap_err();
    let mut keys: Vec<&str> = problems.0.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["chaos[0].duration", "chaos[0].recipe", "chaos[0].stop", "chaos[0].target"]);
    let problem = only(chaos("chaos = 5"));
    assert!(problem.message.contains("expected a list of faults"), "{problem}");
}

#[test]
fn faults_that_do_not_fit_their_phase() {
    let long = "[[chaos]]\nrecipe = \"kill\"\ntarget = \"shop\"\nduration = \"2m\"\nstop = \"none\"\nphase = \"light\"";
    let problem = only(chaos(long));
    assert_eq!(problem.key, "chaos[0].duration");
    assert!(
        problem.message.contains("the fault is longer than its phase: 2m in light, which runs 1m"),
        "{problem}"
    );
    let problem = only(one("recipe = \"kill\"\ntimes = 20"));
    assert_eq!(problem.key, "chaos[0]");
    assert!(
        problem.message.contains(
            "20 of together 1m40s, with the healthy stretches between them 2m5s; the phase of 1m has room for 51s, \
             beside 3s before the first and 6s without faults at its end"
        ),
        "{problem}"
    );
    assert!(problem.mend.contains("lower their `times`"), "{problem}");
}

#[test]
fn faults_that_are_together_and_must_not() {
    let two = |recipe: &str, at: &str, rest: &str| {
        chaos(&format!(
            "[[chaos]]\nrecipe = \"kill\"\ntarget = \"shop\"\nduration = \"5s\"\nstop = \"none\"\nat = \"10s\"\n\
             [[chaos]]\nrecipe = \"{recipe}\"\ntarget = \"shop\"\nduration = \"5s\"\nstop = \"none\"\nat = \"{at}\"\n{rest}"
        ))
    };
    // Which instance each hits is drawn: on one they undo each other, on two they are too many.
    let problem = only(two("pause", "12s", ""));
    assert_eq!(problem.key, "chaos[1].at");
    assert!(problem.message.contains("taken away at once") || problem.message.contains("undo"), "{problem}");
    assert!(problem.mend.contains("after the other has ended"), "{problem}");
    only(two("kill", "15s", ""));
    two("kill", "16s", "").unwrap();
    two("latency", "12s", "latency = \"1ms\"").unwrap();
}

#[test]
fn the_command_line_may_change_what_fits() {
    let text = format!(
        "{BASE}[[chaos]]\nrecipe = \"kill\"\ntarget = \"shop\"\nduration = \"40s\"\nstop = \"none\"\n"
    );
    parse(&text).unwrap();
    let shorter = Overrides { time_scale: Some(0.25), ..Overrides::default() };
    let problem = only(overridden(&text, &shorter));
    assert_eq!(problem.key, "chaos[0].duration");
    let without = Overrides { phases: Some(vec![PhaseName::Light]), ..Overrides::default() };
    assert_eq!(overridden(&text, &without).unwrap().chaos, []);
    let text =
        text.replace("scenarios = [", "scenarios = [{ name = \"x\", guest = \"http\", target = \"far\" }, ");
    let elsewhere = Overrides { only: Some("far".to_owned()), ..Overrides::default() };
    assert_eq!(overridden(&text, &elsewhere).unwrap().chaos, []);
}

#[test]
fn platforms_and_caps() {
    let plan = chaos("").unwrap();
    assert_eq!(plan.targets[0].platform, Some(PlatformRef::Processes(vec!["a".into(), "b".into()])));
    assert_eq!((plan.targets[0].instances()[1].as_str(), plan.targets[1].instances().len()), ("b", 0));
    let problem = only(parse(
        &BASE.replace("targets.off.url", "targets.off.platform.process = \"a\"\ntargets.off.url"),
    ));
    assert_eq!(problem.key, "targets.off.platform.process");
    assert!(problem.message.contains("runs the target shop already"), "{problem}");
    for (from, to, key, message) in [
        ("[\"a\", \"b\"]", "\"a\"", "targets.shop.platform.process", "one for each URL: 2"),
        ("[\"a\", \"b\"]", "[\"a\", \"a\"]", "targets.shop.platform.process", "stands here twice"),
        ("most = 1", "most = 0", "targets.shop.chaos.most", "from 1"),
        ("most = 1", "most = \"0%\"", "targets.shop.chaos.most", "from \"1%\""),
        ("most = 1", "mots = 1", "targets.shop.chaos.most", "missing"),
    ] {
        let problems = parse(&BASE.replace(from, to)).unwrap_err();
        assert_eq!(problems.0[0].key, key, "{problems}");
        assert!(problems.0[0].message.contains(message), "{problems}");
    }
    let half = parse(&BASE.replace("most = 1", "most = \"50%\"")).unwrap();
    assert_eq!(half.targets[0].chaos, Some(Most::Percent(50)));
}

#[test]
fn faults_by_hand() {
    let plan = one("recipe = \"kill\"").unwrap();
    let by_hand = |text: &str, phase| parse_fault(text, &plan, phase);
    let kill = "recipe = \"kill\"\ntarget = \"shop\"\nduration = \"5s\"\nstop = \"none\"\n";
    let fault = by_hand(kill, PhaseName::Light).unwrap();
    assert_eq!(
        (fault.name.as_str(), fault.phase, fault.at, fault.times),
        ("kill-2", PhaseName::Light, None, 1)
    );
    for (text, phase, key, message) in [
        (format!("{kill}at = \"1s\""), PhaseName::Light, "at", "by hand"),
        (format!("{kill}name = \"kill\""), PhaseName::Light, "name", "the plan has a fault of the name"),
        (
            kill.replace("5s", "2m"),
            PhaseName::Light,
            "duration",
            "longer than its phase: 2m in light, which runs 1m",
        ),
        (
            kill.replace("shop", "off").replace("kill", "refuse"),
            PhaseName::Light,
            "target",
            "does not allow faults",
        ),
        (kill.replace("kill", "latency"), PhaseName::Light, "latency", "missing"),
        (kill.to_owned(), PhaseName::Heavy, "", "the phase heavy does not run"),
    ] {
        let problems = by_hand(&text, phase).unwrap_err();
        assert_eq!(problems.0.len(), 1, "{problems}");
        assert_eq!(problems.0[0].key, key, "{problems}");
        assert!(problems.0[0].message.contains(message), "{problems}");
    }
    assert!(by_hand("recipe = ", PhaseName::Light).is_err());
}

#[test]
fn messages_that_nobody_can_read_are_not_broken() {
    let plan = |target: &str, recipe: &str| {
        format!(
            "[targets.shop]\n{target}\nchaos = true\n[[scenarios]]\nguest = \"http\"\n[[chaos]]\nrecipe = \"{recipe}\"\n\
             target = \"shop\"\nduration = \"1s\"\nstop = \"none\"\n"
        )
    };
    for (target, spoken) in
        [("url = \"https://shop\"", "speaks TLS"), ("url = \"http://shop\"\nhttp = \"2\"", "speaks HTTP/2")]
    {
        let said = only(parse(&plan(target, "http-status"))).to_string();
        assert!(said.contains(spoken) && said.contains("chaos[0].target"), "{said}");
        assert!(parse(&plan(target, "refuse")).is_ok());
    }
    assert!(parse(&plan("url = \"http://shop\"", "http-status")).is_ok());
}
