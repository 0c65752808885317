//! When faults come and whom they hit.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::parse;
use super::plans_with_faults::{bare, plan};
use crate::Plan;
use crate::chaos::{Hit, Placed, clash, lead_in, schedule, validation, victims};
use crate::model::{Fault, Mode, Most, PhaseName, Recipe, Stop};

fn fault(name: &str, recipe: Recipe, target: &str, seconds: u64) -> Fault {
    Fault {
        name: name.to_owned(),
        recipe,
        toxicity: 1.0,
        target: target.to_owned(),
        phase: PhaseName::Chaos,
        mode: Mode::One,
        duration: Duration::from_secs(seconds),
        stop: Stop::None,
        at: None,
        times: 1,
    }
}

fn text(placed: &[Placed]) -> Vec<String> {
    placed.iter().map(|p| format!("{} {}ms {:?} {:x}", p.id, p.at.as_millis(), p.victims, p.draw)).collect()
}

/// The demo's chaos phase: three faults in thirty seconds.
const DEMO: &str = r#"
seed = 7
time-scale = 0.01
run-phases = ["chaos"]
processes.a.command = ["p"]
processes.b.command = ["p"]
targets.shop.url = ["http://shop/a", "http://shop/b"]
targets.shop.platform.process = ["a", "b"]
targets.shop.chaos = true
scenarios = [{ guest = "http" }]
chaos = [
  { recipe = "kill", target = "shop", duration = "4s", stop = "none" },
  { recipe = "pause", target = "shop", duration = "3s", stop = "none", times = 2 },
  { recipe = "latency", target = "shop", duration = "3s", stop = "none", latency = "200ms" },
]
"#;

#[test]
fn the_schedule_of_a_seed_never_changes() {
    let plan = parse(DEMO).unwrap();
    let placed = schedule(&plan).unwrap();
    assert_eq!(
        text(&placed),
        [
            "pause 1671ms [1] a1f7fa13db5743db",
            "kill 7937ms [1] e0a9613aa1ab06f5",
            "pause#2 14466ms [0] b0307027f019e69f",
            "latency 19514ms [1] 3bf81e874afcaf21",
        ]
    );
    let other = Plan { seed: 8, ..plan };
    assert_ne!(text(&schedule(&other).unwrap()), text(&placed));
}

#[test]
fn phases_are_scaled_and_faults_are_not() {
    let plan = parse(&DEMO.replace("time-scale = 0.01", "time-scale = 0.1\nphases.chaos.duration = \"10m\""))
        .unwrap();
    let last = schedule(&plan).unwrap().pop().unwrap();
    assert!(last.at > Duration::from_secs(30) && last.at < Duration::from_secs(60), "{last:?}");
}

#[test]
fn modes_hit_as_many_as_they_say() {
    let mut kill = fault("kill", Recipe::Kill, "four", 1);
    for (mode, count) in [
        (Mode::One, 1),
        (Mode::All, 4),
        (Mode::Fixed(3), 3),
        (Mode::Fixed(9), 4),
        (Mode::Percent(1), 1),
        (Mode::Percent(50), 2),
        (Mode::Percent(51), 3),
        (Mode::Percent(100), 4),
    ] {
        kill.mode = mode;
        let hit = victims(&kill, 4, 99);
        assert_eq!(hit.len(), count, "{mode:?}");
        assert!(hit.is_sorted() && hit.iter().all(|instance| *instance < 4), "{hit:?}");
    }
    let most = |most: Most| [1, 2, 3, 4].map(|instances| most.of(instances));
    assert_eq!(most(Most::All), [1, 2, 3, 4]);
    assert_eq!(most(Most::Fixed(2)), [1, 2, 2, 2]);
    assert_eq!(most(Most::Percent(50)), [1, 1, 1, 2]);
    kill.recipe = Recipe::Memory { bytes: 1 };
    assert!(victims(&kill, 4, 99).is_empty(), "the host is no instance");
}

#[test]
fn victims_are_drawn_evenly() {
    let kill = fault("kill", Recipe::Kill, "four", 1);
    let mut counts = [0_u32; 4];
    for draw in 0..4000 {
        counts[usize::try_from(victims(&kill, 4, draw)[0]).unwrap()] += 1;
    }
    assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
}

#[test]
fn faults_that_may_not_be_together() {
    let plan = bare();
    let mut four = plan.targets[1].clone();
    four.chaos = Some(Most::Fixed(2));
    let latency = Recipe::Latency {
        latency: Duration::from_millis(1),
        jitter: Duration::ZERO,
        direction: crate::model::Direction::Both,
    };
    let memory = Recipe::Memory { bytes: 1 };
    let joins = |a: (&Recipe, &[u32]), b: (&Recipe, &[u32])| {
        let (one, two) = (fault("a", a.0.clone(), "four", 1), fault("b", b.0.clone(), "four", 1));
        clash(&four, &[Hit { fault: &one, victims: a.1 }], &Hit { fault: &two, victims: b.1 })
    };
    assert_eq!(joins((&Recipe::Kill, &[0]), (&Recipe::Kill, &[1])), None);
    assert_eq!(joins((&latency, &[0]), (&Recipe::Refuse, &[0])), None, "network faults of two recipes");
    assert_eq!(joins((&latency, &[0, 1, 2, 3]), (&Recipe::Kill, &[0, 1])), None, "what is slow is not away");
    assert_eq!(joins((&memory, &[]), (&Recipe::Kill, &[1])), None);
    for (a, b, message) in [
        ((&Recipe::Kill, &[0][..]), (&Recipe::Kill, &[0][..]), "while a (kill) does"),
        ((&Recipe::Kill, &[0, 1]), (&Recipe::Pause, &[1]), "the instance 1 of four"),
        ((&latency, &[0, 1]), (&latency, &[1]), "the end of one would undo the other"),
        ((&memory, &[]), (&memory, &[]), "the host of four"),
        ((&Recipe::Kill, &[0, 1]), (&Recipe::Pause, &[2]), "3 instances of four"),
        ((&Recipe::Kill, &[0, 1]), (&Recipe::Refuse, &[2]), "allows at most 2"),
    ] {
        let found = joins(a, b).unwrap();
        assert!(found.message.contains(message), "{found:?}");
        assert!(!found.mend.is_empty());
    }
    let elsewhere = fault("a", Recipe::Kill, "one", 1);
    let here = fault("b", Recipe::Kill, "four", 1);
    let live = [Hit { fault: &elsewhere, victims: &[0] }];
    assert_eq!(clash(&four, &live, &Hit { fault: &here, victims: &[0] }), None, "another target");
}

#[test]
fn an_instance_of_the_plan_model_that_does_not_fit_is_refused_without_a_text() {
    let mut plan = bare();
    plan.chaos = vec![fault("kill", Recipe::Kill, "four", 11 * 3600)];
    let problems = schedule(&plan).unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert_eq!(problems.0[0].key, "chaos[0].duration");
}

fn end(plan: &Plan, placed: &Placed) -> Duration {
    placed.at + plan.chaos[placed.fault].duration
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_plan_has_one_schedule(plan in plan()) {
        let placed = schedule(&plan).unwrap();
        prop_assert_eq!(&placed, &schedule(&plan).unwrap());
        prop_assert!(placed.is_sorted_by_key(|p| (p.phase, p.at)));
        let ids: std::collections::BTreeSet<&str> = placed.iter().map(|p| p.id.as_str()).collect();
        prop_assert_eq!(ids.len(), placed.len());
        prop_assert_eq!(placed.len(), plan.chaos.iter().map(|f| f.times as usize).sum::<usize>());
        let phases = plan.scaled();
        for p in &placed {
            let (fault, phase) = (&plan.chaos[p.fault], &phases[p.phase]);
            prop_assert_eq!(phase.name, fault.phase);
            prop_assert!(end(&plan, p) <= phase.duration);
            if fault.at.is_none() {
                prop_assert!(p.at >= lead_in(phase.duration));
                prop_assert!(end(&plan, p) <= phase.duration - validation(phase.duration), "a time without faults");
            } else {
                prop_assert_eq!(Some(p.at), fault.at);
            }
            let target = plan.targets.iter().find(|t| t.name == fault.target).unwrap();
            let hit = if fault.recipe.has_victims() { fault.mode.of(target.urls.len()) } else { 0 };
            prop_assert_eq!(p.victims.len(), hit);
            if fault.recipe.takes_away() {
                prop_assert!(hit <= target.chaos.unwrap().of(target.urls.len()));
            }
        }
        for (index, fault) in plan.chaos.iter().enumerate() {
            let mut comings = placed.iter().filter(|p| p.fault == index).map(|p| p.id.as_str());
            prop_assert_eq!(comings.next(), Some(fault.name.as_str()));
            let numbered: Vec<String> = (2..=fault.times).map(|n| format!("{}#{n}", fault.name)).collect();
            prop_assert_eq!(comings.collect::<Vec<_>>(), numbered, "in the order in which they come");
        }
        for pair in placed.windows(2).filter(|pair| pair[0].phase == pair[1].phase) {
            let healthy = plan.chaos[pair[0].fault].duration / 4;
            prop_assert!(end(&plan, &pair[0]) + healthy <= pair[1].at, "a healthy stretch");
        }
    }

    #[test]
    fn another_fault_moves_no_victims(plan in plan(), at in any::<prop::sample::Index>()) {
        let before = schedule(&plan).unwrap();
        let mut more = plan.clone();
        more.chaos.insert(at.index(plan.chaos.len() + 1), fault("one more", Recipe::Kill, "four", 5));
        let after = schedule(&more).unwrap();
        for p in &before {
            let same = after.iter().find(|q| q.id == p.id).unwrap();
            prop_assert_eq!((&same.victims, same.draw), (&p.victims, p.draw));
        }
    }

    /// Whatever fits by its sum is placed, and nothing else is.
    #[test]
    fn what_fits_by_its_sum_is_placed(seed in any::<u32>(), lengths in vec(1..40_u64, 1..8), phase in 7..400_u64) {
        let mut plan = bare();
        plan.seed = seed.into();
        plan.phases[1].duration = Duration::from_secs(phase);
        let long = plan.phases[1].duration;
        plan.chaos = lengths.iter().enumerate().map(|(i, s)| fault(&format!("f{i}"), Recipe::Kill, "four", *s)).collect();
        let need: Duration = plan.chaos.iter().map(|fault| fault.duration * 5 / 4).sum();
        let fits = need + lead_in(long) + validation(long) <= long
            && plan.chaos.iter().all(|fault| fault.duration <= long);
        prop_assert_eq!(schedule(&plan).is_ok(), fits);
    }

    /// What faults with `at` leave is all that others get, and they keep their distance.
    #[test]
    fn drawn_faults_keep_clear_of_those_with_a_time(seed in any::<u32>(), at in 0..80_u64, long in 1..20_u64) {
        let mut plan = bare();
        plan.seed = seed.into();
        plan.phases[1].duration = Duration::from_secs(100);
        let mut fixed = fault("fixed", Recipe::Kill, "one", long);
        fixed.at = Some(Duration::from_secs(at));
        let mut drawn = fault("drawn", Recipe::Pause, "four", 4);
        drawn.times = 6;
        plan.chaos = vec![fixed, drawn];
        let placed = schedule(&plan).unwrap();
        for pair in placed.windows(2) {
            prop_assert!(end(&plan, &pair[0]) + plan.chaos[pair[0].fault].duration / 4 <= pair[1].at);
        }
    }
}
