//! Any plan with faults that fit it, for properties that hold of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::parse;
use crate::Plan;
use crate::model::{
    Backup, Budgets, Cores, Direction, DiskFill, Fault, Mode, Most, PhaseName, Recipe, Recovery, Stop,
    Strategy as Way,
};

/// Targets of one, two, three and four instances; `far` is not ours. A chaos phase of ten hours.
const BASE: &str = r#"
run-phases = ["light", "chaos"]
processes.spare.command = ["p"]
phases.light.duration = "10h"
phases.chaos.duration = "10h"
targets.one.url = "http://one"
targets.one.platform.process = "a"
targets.four.url = ["http://4/0", "http://4/1", "http://4/2", "http://4/3"]
targets.four.platform.process = ["b", "c", "d", "e"]
targets.far.url = ["http://far/0", "http://far/1", "http://far/2"]
scenarios = [{ guest = "http", target = ["one", "four", "far"] }]
"#;

fn short() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..300_u64).prop_map(Duration::from_secs),
        (1..300_000_000_000_u64).prop_map(Duration::from_nanos),
    ]
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![(1..=1000_u32).prop_map(|n| f64::from(n) / 1000.0), 0.001..=1.0_f64]
}

fn bytes() -> impl Strategy<Value = u64> {
    prop_oneof![1..100_000_u64, (1..4000_u64).prop_map(|n| n << 20)]
}

fn direction() -> impl Strategy<Value = Direction> {
    proptest::sample::select(vec![Direction::Both, Direction::ToTarget, Direction::FromTarget])
}

pub(super) fn on_process_or_host() -> impl Strategy<Value = Recipe> {
    let path = || "[a-z/]{1,9}".prop_map(PathBuf::from);
    let offset =
        (1..=1_000_000_000_i64, any::<bool>()).prop_map(|(ms, behind)| if behind { -ms } else { ms });
    prop_oneof![
        Just(Recipe::Kill),
        Just(Recipe::Pause),
        Just(Recipe::Restart),
        offset.prop_map(|offset_ms| Recipe::ClockSkew { offset_ms }),
        (1..=1024_u32).prop_map(|count| Recipe::Cpu { cores: Cores::Count(count) }),
        share().prop_map(|share| Recipe::Cpu { cores: Cores::Share(share) }),
        bytes().prop_map(|bytes| Recipe::Memory { bytes }),
        (1..=1_000_000_u32).prop_map(|count| Recipe::Connections { count }),
        (path(), bytes()).prop_map(|(path, n)| Recipe::DiskFull { path, fill: DiskFill::Leave(n - 1) }),
        (path(), bytes()).prop_map(|(path, n)| Recipe::DiskFull { path, fill: DiskFill::Take(n) }),
    ]
}

pub(super) fn on_network() -> impl Strategy<Value = Recipe> {
    let on_data = prop_oneof![
        (short(), 0.0..=1.0_f64, direction()).prop_map(|(latency, part, direction)| Recipe::Latency {
            latency,
            jitter: latency.mul_f64(part).min(latency),
            direction,
        }),
        (bytes(), direction())
            .prop_map(|(bytes_per_second, direction)| Recipe::Bandwidth { bytes_per_second, direction }),
        direction().prop_map(|direction| Recipe::Partition { direction }),
        Just(Recipe::Refuse),
        short().prop_map(|after| Recipe::Reset { after }),
        short().prop_map(|delay| Recipe::SlowClose { delay }),
        (bytes(), bytes(), short(), direction()).prop_map(|(a, b, delay, direction)| Recipe::Slicer {
            size: a.max(b) + 1,
            variation: a.min(b),
            delay,
            direction,
        }),
        (bytes(), direction()).prop_map(|(bytes, direction)| Recipe::LimitData { bytes, direction }),
        (share(), 0.0..=1.0_f64, direction()).prop_map(|(loss, correlation, direction)| {
            Recipe::PacketLoss { loss, correlation, direction }
        }),
    ];
    let http = prop_oneof![
        share().prop_map(|share| Recipe::HttpAbort { share }),
        (share(), short()).prop_map(|(share, delay)| Recipe::HttpDelay { share, delay }),
        (share(), 100..=999_u16).prop_map(|(share, status)| Recipe::HttpStatus { share, status }),
        (share(), "[a-z-]{1,9}", "[ -~]{0,9}", direction()).prop_map(|(share, header, value, direction)| {
            Recipe::HttpHeader { share, header, value, direction }
        }),
        (share(), direction()).prop_map(|(share, direction)| Recipe::HttpBody { share, direction }),
    ];
    prop_oneof![on_data, http]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::One),
        Just(Mode::All),
        (1..9_u32).prop_map(Mode::Fixed),
        (1..=100_u32).prop_map(Mode::Percent)
    ]
}

fn stop() -> impl Strategy<Value = Stop> {
    let when = |(check, over): (&str, Duration)| Stop::When { check: check.parse().unwrap(), over };
    prop_oneof![
        Just(Stop::None),
        (proptest::sample::select(vec!["error_rate > 50%", "p(99) > 3s", "goodput < 5/s"]), short())
            .prop_map(when),
    ]
}

/// A fault by itself: names of targets and places in time come later.
fn fault(name: String) -> impl Strategy<Value = Fault> {
    let recipe = prop_oneof![on_process_or_host(), on_network()];
    let phase = proptest::sample::select(vec![PhaseName::Light, PhaseName::Chaos]);
    let target = proptest::sample::select(vec!["one", "four", "far"]);
    let toxicity = prop_oneof![Just(1.0), share()];
    (recipe, target, phase, mode(), short(), stop(), (any::<bool>(), 1..4_u32, toxicity)).prop_map(
        move |(recipe, target, phase, mode, duration, stop, (fixed, times, toxicity))| Fault {
            name: name.clone(),
            target: match recipe.kind() {
                crate::model::RecipeKind::Process if target == "far" => "four".to_owned(),
                _ => target.to_owned(),
            },
            mode: if recipe.has_victims() { mode } else { Mode::One },
            toxicity: match recipe {
                Recipe::Latency { .. }
                | Recipe::Bandwidth { .. }
                | Recipe::Reset { .. }
                | Recipe::SlowClose { .. }
                | Recipe::Slicer { .. }
                | Recipe::LimitData { .. }
                | Recipe::PacketLoss { .. } => toxicity,
                _ => 1.0,
            },
            recipe,
            phase,
            duration,
            stop,
            at: fixed.then_some(Duration::ZERO),
            times: if fixed { 1 } else { times },
        },
    )
}

fn recovery() -> impl Strategy<Value = Recovery> {
    let ways = proptest::sample::subsequence(vec![Way::Restart, Way::Failover, Way::ShedLoad], 0..=3);
    (ways.prop_shuffle(), short(), 0.0..=1.0_f64, vec(1..1000_u32, 3), 0.001..0.999_f64, any::<bool>())
        .prop_map(|(strategy, interval, part, counts, shed, process)| Recovery {
            backup: strategy.contains(&Way::Failover).then(|| Backup {
                url: "http://backup".to_owned(),
                process: process.then(|| "spare".to_owned()),
            }),
            strategy,
            interval,
            timeout: interval.mul_f64(part).clamp(Duration::from_nanos(1), interval),
            fall: counts[0],
            rise: counts[1],
            restarts: counts[2],
            shed,
        })
}

/// The base with these faults, those with a time an hour apart, and modes within what the targets allow.
fn settle(mut plan: Plan, most: &[Most], mut faults: Vec<Fault>) -> Plan {
    for (target, most) in plan.targets.iter_mut().zip(most) {
        target.chaos = Some(*most);
    }
    let mut names = BTreeSet::new();
    faults.retain(|fault| names.insert(fault.name.clone()));
    let mut hour = 1;
    for fault in &mut faults {
        if fault.at.is_some() {
            fault.at = Some(Duration::from_secs(3600 * hour));
            hour += 1;
        }
        let target = plan.targets.iter().find(|target| target.name == fault.target).unwrap();
        let instances = target.urls.len();
        if fault.recipe.takes_away() && fault.mode.of(instances) > target.chaos.unwrap().of(instances) {
            fault.mode = Mode::One;
        }
    }
    plan.chaos = faults;
    plan
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let most =
        prop_oneof![Just(Most::All), (1..5_u32).prop_map(Most::Fixed), (1..=100_u32).prop_map(Most::Percent)];
    let name = "[a-zA-Z0-9 _.\"'äß-]{1,12}".prop_filter("not blank", |name| !name.trim().is_empty());
    let faults = vec(name.prop_flat_map(fault), 0..6);
    let recovery =
        btree_map(proptest::sample::select(vec!["one".to_owned(), "four".to_owned()]), recovery(), 0..3);
    let budgets = (short(), short(), short()).prop_map(|(detection, recovery, validation)| Budgets {
        detection,
        recovery,
        validation,
    });
    (any::<u32>(), vec(most, 3), faults, recovery, budgets).prop_map(
        |(seed, most, faults, recovery, budgets)| {
            let processes: String = ["a", "b", "c", "d", "e"]
                .iter()
                .map(|name| format!("processes.{name}.command = [\"p\"]\n"))
                .collect();
            let mut plan = settle(parse(&format!("{processes}{BASE}")).unwrap(), &most, faults);
            plan.seed = seed.into();
            plan.recovery = recovery;
            plan.budgets = budgets;
            plan
        },
    )
}

/// No recovery and no faults: the base alone.
pub(super) fn bare() -> Plan {
    let processes: String = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|name| format!("processes.{name}.command = [\"p\"]\n"))
        .collect();
    let mut plan = parse(&format!("{processes}{BASE}")).unwrap();
    plan.recovery = BTreeMap::new();
    for target in &mut plan.targets {
        target.chaos = Some(Most::All);
    }
    plan
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_printed_plan_with_faults_reads_back(plan in plan()) {
        let printed = plan.to_toml();
        let read = parse(&printed).map_err(|problems| TestCaseError::fail(format!("{problems}\n\n{printed}")))?;
        prop_assert_eq!(read, plan, "{}", printed);
    }
}
