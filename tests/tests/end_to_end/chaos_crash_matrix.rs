//! Whatever of a deployed suite is killed in the middle of faults, at whatever moment: after the lease and five seconds,
//! nothing of ours is in effect (issue 4).
//!
//! Faults of processes are not among these: a deployed suite has no processes of a plan. The crash matrix of the fault agent has
//! them.
//!
//! `GAUNTLET_CRASH_MOMENTS` tells how many moments there are, in turn of each kind; `GAUNTLET_CRASH_SEED` which.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use gauntlet_tests::Beside;
use gauntlet_tests::core::Core;
use gauntlet_tests::faults::{ask_proxy, check, events, naming, of_kind};
use gauntlet_tests::gauntlet::Running;
use gauntlet_tests::suite::{Parts, Suite};
use gauntlet_tests::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::deployed::pass;

/// Of the faults, when chaos is gone; and of chaos, when the scheduler is.
const LEASE: Duration = Duration::from_secs(2);
/// What the issue grants beyond the lease.
const GRANTED: Duration = Duration::from_secs(5);
/// How long nothing is to be found before it counts as gone for good.
const QUIET: Duration = Duration::from_secs(1);
/// How long faults are held that end by themselves.
const SHORT: Duration = Duration::from_millis(1_500);
/// Longer than any of this takes.
const END: Duration = Duration::from_secs(90);
/// In each moment's plan.
const FAULTS: usize = 7;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Agent,
    Guardian,
    Proxy,
    Worker,
    /// The controller of agent and proxy.
    Chaos,
    Scheduler,
    /// It stays away.
    Nats,
}

/// In this order, for after NATS was killed there is a new suite.
const KINDS: [Kind; 7] =
    [Kind::Agent, Kind::Guardian, Kind::Proxy, Kind::Worker, Kind::Chaos, Kind::Scheduler, Kind::Nats];

impl Kind {
    /// Nobody is left who ends faults but their leases.
    const fn leaves_nobody(self) -> bool {
        matches!(self, Self::Chaos | Self::Scheduler | Self::Nats)
    }
}

/// When it is killed.
#[derive(Clone, Copy, Debug)]
enum Step {
    Inject,
    Hold,
    Undo,
}

#[test]
fn whatever_is_killed_no_fault_outlives_its_lease() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
    };
    let moments = number("GAUNTLET_CRASH_MOMENTS", KINDS.len() as u64);
    let seed = number("GAUNTLET_CRASH_SEED", 4);
    let mut worst: BTreeMap<Kind, (usize, Duration)> = BTreeMap::new();
    let dir = Beside::new();
    let mut suite = None;
    for moment in 0..moments {
        let kind = KINDS[(moment % KINDS.len() as u64) as usize];
        let draw = |most, which| draws::up_to(most, draws::at(seed, 2 * moment + which));
        let step = [Step::Inject, Step::Hold, Step::Undo][draw(2, 0) as usize];
        let after = Duration::from_millis(draw(250, 1));
        println!("{moment}: {kind:?} {} ms after {step:?}", after.as_millis());
        let place = dir.path().join(format!("moment-{moment}"));
        std::fs::create_dir_all(place.join("disk")).unwrap();
        let alive = suite.get_or_insert_with(|| started(&place));
        let took = one(alive, &place, kind, step, after, moment).unwrap_or_else(|left| {
            panic!("{moment}: {kind:?} {after:?} after {step:?} (seed {seed}) left {left:#?}")
        });
        println!("  clean after {} ms", took.as_millis());
        let entry = worst.entry(kind).or_default();
        *entry = (entry.0 + 1, entry.1.max(took));
        if kind == Kind::Nats {
            suite = None;
        }
    }
    let figures: Vec<String> = worst
        .iter()
        .map(|(kind, (count, worst))| format!("{kind:?} {count} × ≤ {} ms", worst.as_millis()))
        .collect();
    println!(
        "crash matrix of a deployed run: {moments} of {moments} moments clean, lease {} ms: {}",
        LEASE.as_millis(),
        figures.join(", ")
    );
}

fn started(place: &Path) -> Suite {
    let chaos = vec![format!("--fault-lease={}", LEASE.as_millis())];
    Suite::of(place, 2, Parts { chaos, ..Parts::default() })
}

/// Faults of the host and of the network. Where nobody may be left to end them, every other one is so long that only a lease
/// ends it.
fn plan(place: &Path, targets: [&Core; 2], kind: Kind, moment: u64) -> String {
    let [core, side] = targets.map(Core::url);
    let disk = format!("disk-full\"\npath = {:?}\nsize = \"4MiB", place.join("disk"));
    let recipes = [
        ("core", "latency\"\nlatency = \"50ms"),
        ("core", "partition"),
        ("core", "memory\"\nsize = \"16MiB"),
        ("core", "cpu\"\ncores = 1\nname = \"busy"),
        ("side", "refuse"),
        ("side", "connections\"\nconnections = 8\nname = \"many"),
        ("side", disk.as_str()),
    ];
    assert_eq!(recipes.len(), FAULTS);
    let mut faults = String::new();
    for (index, (target, recipe)) in (0_u64..).zip(recipes) {
        let long = kind.leaves_nobody() && (index + moment / KINDS.len() as u64).is_multiple_of(2);
        let duration = if long { "50s".to_owned() } else { format!("{}ms", SHORT.as_millis()) };
        faults += &format!(
            "[[chaos]]\nphase = \"baseline\"\nat = \"500ms\"\nstop = \"none\"\ntarget = \"{target}\"\n\
             duration = \"{duration}\"\nrecipe = \"{recipe}\"\n"
        );
    }
    let step = "config.steps = [{ name = \"home\", get = \"/\" }]";
    format!(
        "name = \"killed\"\nseed = {moment}\nrun-phases = [\"baseline\"]\n\
         phases.baseline = {{ rate = 50, duration = \"60s\", connections = 10 }}\nvalidity.judge = false\n\
         control = {{ ramp-down = \"100ms\", controller-lease = \"{}ms\" }}\n\
         targets.core = {{ url = \"{core}\", chaos = true }}\ntargets.side = {{ url = \"{side}\", chaos = true }}\n\
         scenarios = [\n{{ guest = \"http\", target = \"core\", {step} }},\n\
         {{ name = \"side\", guest = \"http\", target = \"side\", {step} }},\n]\n{faults}",
        LEASE.as_millis(),
    )
}

/// One moment; returns how long after it nothing was left, or what was.
fn one(
    suite: &mut Suite,
    place: &Path,
    kind: Kind,
    step: Step,
    after: Duration,
    moment: u64,
) -> Result<Duration, Vec<String>> {
    let targets = ["core", "side"].map(|name| {
        std::fs::create_dir(place.join(name)).unwrap();
        Core::start(&place.join(name), "{}")
    });
    let running = begun(suite, place, &plan(place, targets.each_ref(), kind, moment));
    until(&running, step, after);
    if matches!(step, Step::Hold) {
        assert!(!left(suite, place).is_empty(), "faults are seen where they are");
    }
    let began = Instant::now();
    match kind {
        Kind::Agent => kill(suite, " fault-agent serve "),
        Kind::Guardian => kill(suite, " fault-agent guardian "),
        Kind::Proxy => kill(suite, " fault-proxy "),
        Kind::Worker => suite.signal("worker-1", Signal::KILL),
        Kind::Chaos => suite.signal("chaos", Signal::KILL),
        Kind::Scheduler => suite.signal("scheduler", Signal::KILL),
        Kind::Nats => suite.nats.kill(),
    }
    let took = until_nothing(began, || left(suite, place))?;
    match kind {
        Kind::Worker => suite.restart("worker-1"),
        Kind::Chaos => suite.restart("chaos"),
        Kind::Scheduler => suite.restart("scheduler"),
        Kind::Nats => suite.nats.start_again(),
        Kind::Agent | Kind::Guardian | Kind::Proxy => {}
    }
    // A scheduler that was started anew closes the run of its former life by itself.
    if kind != Kind::Scheduler {
        gauntlet_tests::signal(running.child(), Signal::INT);
    }
    let ended = running.wait(END);
    assert!(ended.code.is_some_and(|code| code != 1 && code != 97), "{ended:#?}\n{}", suite.logs());
    let left = left(suite, place);
    if left.is_empty() { Ok(took) } else { Err(left) }
}

/// A run whose phase has begun. Until all that was started anew is ready, it may be refused: then it is asked for again.
fn begun(suite: &Suite, place: &Path, plan: &str) -> Running {
    let until = Instant::now() + END;
    loop {
        let mut running = suite.start_run(place, plan);
        let has_begun = |running: &Running| running.history().contains("phase-started");
        let settled = || (running.has_ended() || has_begun(&running)).then_some(());
        wait::until("a phase to begin, or the run to be refused", END, settled, || suite.logs());
        if has_begun(&running) {
            return running;
        }
        let ended = running.wait(END);
        assert!(ended.code != Some(2) && Instant::now() < until, "{ended:#?}\n{}", suite.logs());
    }
}

/// Waits for the moment.
fn until(running: &Running, step: Step, after: Duration) {
    let found = |kind: &str| of_kind(&events(&running.history()), kind);
    let awaited = |what: &str, enough: &dyn Fn() -> bool| {
        wait::until(what, Duration::from_secs(30), || enough().then_some(()), || running.history());
    };
    if matches!(step, Step::Inject) {
        awaited("a fault to begin", &|| !found("fault-beginning").is_empty());
        return pass(after);
    }
    awaited("all faults to be injected", &|| found("fault-injected").len() >= FAULTS);
    if matches!(step, Step::Hold) {
        return pass(after);
    }
    // Around the instant at which those that are short are undone.
    let injected = found("fault-injected").iter().filter_map(|entry| entry["at_unix_ns"].as_u64()).min();
    let undone = Duration::from_nanos(injected.unwrap()) + SHORT;
    let due = (undone + after).saturating_sub(Duration::from_millis(50));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    pass(due.saturating_sub(now));
}

/// Kills the process of the chaos service whose command line has these words.
fn kill(suite: &Suite, words: &str) {
    let found = naming(&suite.state_dir("chaos")).into_iter().find(|(_, line)| line.contains(words));
    let (pid, _) = found.unwrap_or_else(|| panic!("{words:?} in {:?}", naming(&suite.state_dir("chaos"))));
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// How long after `began` nothing was left, and came back.
fn until_nothing(began: Instant, look: impl Fn() -> Vec<String>) -> Result<Duration, Vec<String>> {
    let mut clean = None;
    loop {
        let looked = began.elapsed();
        let left = look();
        if left.is_empty() {
            let since = *clean.get_or_insert(looked);
            if looked >= since + QUIET {
                return Ok(since);
            }
        } else {
            clean = None;
            if looked > LEASE + GRANTED {
                return Err(left);
            }
        }
        pass(Duration::from_millis(10));
    }
}

/// All that is found of faults: by the independent checker, and once more without any of its code.
fn left(suite: &Suite, place: &Path) -> Vec<String> {
    let dir = suite.state_dir("chaos");
    let hogs = naming(&dir).into_iter().filter(|(_, line)| line.contains(" hog "));
    let mut left: Vec<String> = hogs.map(|(_, line)| line).collect();
    let files = std::fs::read_dir(place.join("disk")).unwrap().flatten();
    left.extend(files.map(|file| format!("the disk has {}", file.path().display())));
    left.extend(toxics(&dir));
    if left.is_empty() {
        let (code, said) = check(&dir.join("agent"));
        left.extend((code != Some(0)).then_some(said));
    }
    left
}

/// What the fault proxy does to connections. One that is not there does nothing.
fn toxics(chaos_dir: &Path) -> Vec<String> {
    let Some(Value::Object(proxies)) = ask_proxy(chaos_dir, "proxies") else { return Vec::new() };
    let mut left = Vec::new();
    for (name, proxy) in proxies {
        if proxy["enabled"] != true || proxy["toxics"] != Value::Array(Vec::new()) {
            left.push(format!("{name}: {proxy}"));
            continue;
        }
        // And it is as it says.
        let [there, through] = ["upstream", "listen"].map(|way| answers(proxy[way].as_str().unwrap()));
        if there && !through {
            left.push(format!("{name} says that nothing is wrong, and lets nothing through: {proxy}"));
        }
    }
    left
}

/// Whether a target is reached at an address.
fn answers(address: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, QUIET)?;
        stream.set_read_timeout(Some(QUIET))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: core\r\nconnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head == *b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}
