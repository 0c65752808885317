use plan::threshold::Op;
use protocol::event::OutcomeResult;

use super::*;

fn plan() -> Plan {
    let text = "name = \"t\"\nrun-phases = [\"baseline\"]\n[targets.a]\nurl = \"http://127.0.0.1:1\"\n[targets.b]\n\
                url = \"http://127.0.0.1:2\"\n[[scenarios]]\nguest = \"http\"\nname = \"one\"\ntarget = \"a\"\n\
                config.steps = [{ name = \"x\", get = \"/\" }]\n[[scenarios]]\nguest = \"http\"\nname = \"two\"\n\
                target = \"b\"\nconfig.steps = [{ name = \"y\", get = \"/\" }]\n";
    plan::parse(text, std::path::Path::new("plan.toml")).unwrap()
}

fn names() -> Vec<ScenarioNames> {
    [("one", ["x", "shared"]), ("two", ["y", "shared"])]
        .map(|(scenario, steps)| ScenarioNames {
            scenario: scenario.to_owned(),
            guest: String::new(),
            steps: steps.map(str::to_owned).into(),
            checks: Vec::new(),
            metrics: Vec::new(),
        })
        .into()
}

fn dropped(limit: f64) -> Threshold {
    Threshold {
        measure: Measure::Dropped,
        op: Op::Less,
        limit,
        over: None,
        abort: false,
        delay: Duration::ZERO,
        scenario: None,
        step: None,
        target: None,
    }
}

fn watched(threshold: &Threshold) -> Watched {
    Watched::new(threshold, Scope::Phase(3), &plan(), &names()).unwrap()
}

fn aggregate(dropped: u64) -> v1::Aggregate {
    v1::Aggregate {
        arrivals: Some(v1::ArrivalCounts { dropped, ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn names_become_indices() {
    let threshold = Threshold {
        step: Some("y".to_owned()),
        target: Some("b".to_owned()),
        over: Some(Duration::from_secs(30)),
        ..dropped(1.0)
    };
    let query = watched(&threshold).query(&[7; 16]);
    assert_eq!((query.phase, query.window_ns), (Some(3), 30_000_000_000));
    assert_eq!((query.scenario, query.step, query.target), (Some(1), Some(0), Some(1)));
    let whole = Watched::new(&dropped(1.0), Scope::Run, &plan(), &names()).unwrap().query(&[7; 16]);
    assert_eq!((whole.phase, whole.scenario, whole.step, whole.target), (None, None, None, None));
}

#[test]
fn unknown_and_ambiguous_steps_are_told_with_what_there_is() {
    let refused = |step: &str, scenario: Option<&str>| {
        let scenario = scenario.map(str::to_owned);
        let threshold = Threshold { step: Some(step.to_owned()), scenario, ..dropped(1.0) };
        Watched::new(&threshold, Scope::Run, &plan(), &names()).err()
    };
    assert!(refused("z", None).unwrap().contains("x, shared, y, shared"));
    assert!(refused("shared", None).unwrap().contains("`scenario`"));
    assert_eq!(refused("shared", Some("two")), None);
}

#[test]
fn only_changes_are_told_and_the_last_value_counts() {
    let mut watched = watched(&dropped(5.0));
    assert!(matches!(watched.outcome().result, OutcomeResult::NotEvaluable { .. }));
    assert_eq!(watched.observe(&aggregate(0)), None);
    let broken = watched.observe(&aggregate(5)).unwrap();
    assert!(!broken.holds);
    assert_eq!(broken.seen, "5");
    assert_eq!(watched.observe(&aggregate(6)), None);
    assert!(watched.observe(&aggregate(4)).unwrap().holds);
    assert_eq!(watched.outcome().result, OutcomeResult::Pass);
}

#[test]
fn a_sliding_window_that_broke_once_stays_broken() {
    let mut watched = watched(&Threshold { over: Some(Duration::from_secs(10)), ..dropped(5.0) });
    watched.observe(&aggregate(9));
    watched.observe(&aggregate(0));
    let outcome = watched.outcome();
    assert_eq!((outcome.result, outcome.seen.as_str()), (OutcomeResult::Fail, "9"));
}

#[test]
fn nothing_is_due_before_its_delay_or_before_its_window_is_full() {
    let at = |threshold: &Threshold, seconds| watched(threshold).is_due(Duration::from_secs(seconds));
    let delayed = Threshold { delay: Duration::from_secs(5), ..dropped(1.0) };
    assert!(!at(&delayed, 4));
    assert!(at(&delayed, 5));
    let windowed = Threshold { over: Some(Duration::from_secs(30)), ..dropped(1.0) };
    assert!(!at(&windowed, 29));
    assert!(at(&windowed, 30));
}
