//! What is concluded from stages.

use super::*;

const LIMITS: Limits = Limits { start: 10.0, max: 1_000.0, precision: 0.1 };

/// A stage with a reason of its own where it was not kept.
pub(crate) fn stage(purpose: Purpose, rate: f64, found: Found) -> Stage {
    let why = match found {
        Kept => Vec::new(),
        Broken => vec![format!("p(99) < 50ms: seen {rate} ms")],
        Generator => vec![format!("send lag: p99 {rate} ms, expected p99 ≤ 5 ms")],
    };
    let summary_run = format!("run-at-{rate}");
    Stage {
        purpose,
        rate_per_second: rate,
        found,
        why,
        lasted_ms: 10_000,
        achieved_per_second: rate,
        latency_p50_us: Some(5_000.0),
        latency_p95_us: Some(6_000.0),
        latency_p99_us: (found == Kept).then_some(7_000.0),
        service_p99_us: Some(6_500.0),
        queue_p99_us: Some(20.0),
        send_lag_p99_us: Some(80.0),
        error_share: 0.0,
        dropped: 0,
        cool_down_ms: (found != Kept).then_some(2_100),
        run: summary_run,
    }
}

fn of(stages: &[(Purpose, f64, Found)]) -> Conclusion {
    let stages: Vec<Stage> =
        stages.iter().map(|(purpose, rate, found)| stage(*purpose, *rate, *found)).collect();
    conclude(&LIMITS, &stages, None)
}

use Found::{Broken, Generator, Kept};
use Purpose::{Again, Confirm, Narrow, Rise};

#[test]
fn a_knee_that_the_first_confirmation_kept_and_whose_bound_failed_twice() {
    let found = of(&[
        (Rise, 100.0, Kept),
        (Rise, 200.0, Broken),
        (Again, 200.0, Broken),
        (Narrow, 190.0, Kept),
        (Confirm, 190.0, Kept),
    ]);
    assert_eq!((found.result, found.exit_code), (Outcome::Found, 0));
    assert_eq!((found.knee_per_second, found.failed_per_second), (Some(190.0), Some(200.0)));
    assert_eq!(found.why, ["p(99) < 50ms: seen 200 ms"]);
    let confidence = found.confidence.unwrap();
    assert_eq!(confidence.level, Level::High);
    assert_eq!(
        (confidence.kept_at_or_below, confidence.failed_at_or_below, confidence.failed_above),
        (3, 0, 2)
    );
}

#[test]
fn confidence_falls_with_each_doubt() {
    let level = |stages: &[(Purpose, f64, Found)]| of(stages).confidence.unwrap().level;
    let rise = [(Rise, 100.0, Kept), (Rise, 110.0, Broken), (Again, 110.0, Broken)];
    let with = |more: &[(Purpose, f64, Found)]| level(&[&rise[..], more].concat());
    assert_eq!(with(&[(Confirm, 100.0, Kept)]), Level::High);
    assert_eq!(with(&[(Confirm, 100.0, Broken), (Confirm, 95.0, Kept)]), Level::Medium, "stepped down");
    assert_eq!(level(&[(Rise, 100.0, Kept), (Narrow, 105.0, Broken), (Confirm, 100.0, Kept)]), Level::Medium);
    assert_eq!(with(&[(Confirm, 80.0, Kept)]), Level::Low, "a wider gap than was asked for");
    let above =
        [(Narrow, 105.0, Broken), (Again, 105.0, Kept), (Confirm, 105.0, Broken), (Confirm, 100.0, Kept)];
    assert_eq!(with(&above), Level::Medium, "stages above it contradict each other");
    let spoilt = [(Rise, 50.0, Broken), (Again, 50.0, Kept), (Rise, 100.0, Kept)];
    let found = of(&[&spoilt[..], &rise[1..], &[(Confirm, 100.0, Kept)]].concat()).confidence.unwrap();
    assert_eq!((found.level, found.contradictions), (Level::Low, vec![(1, 2)]));
}

#[test]
fn each_other_end_has_its_word_and_its_code() {
    let ends = |stages: &[(Purpose, f64, Found)]| {
        let found = of(stages);
        (found.result, found.exit_code, found.knee_per_second)
    };
    assert_eq!(
        ends(&[(Rise, 1_000.0, Kept), (Confirm, 1_000.0, Kept)]),
        (Outcome::NotReached, 0, Some(1_000.0))
    );
    assert_eq!(ends(&[(Rise, 10.0, Broken), (Again, 10.0, Broken)]), (Outcome::BelowStart, 99, None));
    assert_eq!(
        ends(&[(Rise, 10.0, Generator), (Again, 10.0, Generator)]),
        (Outcome::GeneratorLimit, 98, None)
    );
    let bound = [(Rise, 100.0, Kept), (Rise, 105.0, Generator), (Again, 105.0, Generator)];
    assert_eq!(
        ends(&[&bound[..], &[(Confirm, 100.0, Kept)]].concat()),
        (Outcome::GeneratorLimit, 98, Some(100.0))
    );
    let both = [(Rise, 100.0, Kept), (Rise, 105.0, Generator), (Again, 105.0, Broken)];
    assert_eq!(ends(&[&both[..], &[(Confirm, 100.0, Kept)]].concat()), (Outcome::Found, 0, Some(100.0)));
    let never = [(Rise, 100.0, Kept), (Confirm, 100.0, Broken), (Confirm, 95.0, Broken)];
    assert_eq!(ends(&never), (Outcome::Unconfirmed, 99, None));
    // Where every rate that was kept lies above a longer stage that failed, it is not the start that failed.
    assert_eq!(of(&never).kept_per_second, None);
    let stages = [stage(Rise, 100.0, Kept), stage(Confirm, 100.0, Kept)];
    let ended = conclude(&LIMITS, &stages, Some((130, vec!["stopped by signal SIGINT".to_owned()])));
    assert_eq!((ended.result, ended.exit_code, ended.knee_per_second), (Outcome::Ended, 130, None));
    assert_eq!(ended.kept_per_second, Some(100.0));
}

#[test]
fn it_reads_back_with_and_without_an_end() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Knee::read(dir.path()).unwrap().is_none());
    let mut knee = knee(vec![stage(Rise, 100.0, Kept), stage(Confirm, 100.0, Kept)]);
    for ended in [false, true] {
        if ended {
            knee.conclude(None);
        }
        knee.keep(dir.path()).unwrap();
        let read = Knee::read(dir.path()).unwrap().unwrap();
        assert_eq!(read.json().unwrap(), knee.json().unwrap());
        assert_eq!(read.conclusion, knee.conclusion);
    }
    std::fs::write(dir.path().join(FILE), "{").unwrap();
    assert!(Knee::read(dir.path()).unwrap_err().to_string().contains("damaged"));
}

/// A search with these stages.
pub(crate) fn knee(stages: Vec<Stage>) -> Knee {
    Knee {
        format: "gauntlet-knee/1".to_owned(),
        gauntlet: "0.1.0".to_owned(),
        name: "shop".to_owned(),
        phase: "heavy".to_owned(),
        connections: 50,
        thresholds: vec!["p(99) < 50ms".to_owned()],
        asked: Asked {
            start_per_second: LIMITS.start,
            max_per_second: LIMITS.max,
            precision: LIMITS.precision,
            stage_ms: 10_000,
            confirm_ms: 30_000,
            cool_down_ms: 60_000,
        },
        lasted_ms: 81_000,
        conclusion: None,
        stages,
    }
}

#[test]
fn the_result_follows_its_schema() {
    let mut found =
        knee(vec![stage(Rise, 100.0, Kept), stage(Rise, 200.0, Broken), stage(Confirm, 100.0, Kept)]);
    found.conclude(None);
    let (schema, value) = (Knee::schema(), serde_json::to_value(&found).unwrap());
    for key in value.as_object().unwrap().keys() {
        assert!(schema["properties"].get(key).is_some(), "{key} is not in the schema");
    }
    for (name, of) in
        [("Stage", &value["stages"][0]), ("Conclusion", &value["conclusion"]), ("Asked", &value["asked"])]
    {
        let known = &schema["$defs"][name]["properties"];
        for key in of.as_object().unwrap().keys() {
            assert!(known.get(key).is_some(), "{key} of {name} is not in the schema");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    found.keep(dir.path()).unwrap();
    for file in ["knee.json", "knee.schema.json", "report.html"] {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
}
