//! Faults and recovery, in all views.

use protocol::event::Event;

use super::broken::{Broken, CHAOS, CHAOS_MS, broken, fault};
use super::run;
use crate::faults::{Fate, FaultSummary};
use crate::summary::Summary;
use crate::{RunData, html, junit};

fn page(data: &RunData) -> String {
    html::render(data, &Summary::new(data)).unwrap()
}

fn named<'s>(summary: &'s Summary, id: &str) -> &'s FaultSummary {
    summary.faults.iter().find(|fault| fault.fault == id).unwrap()
}

fn results(fault: &FaultSummary) -> Vec<&str> {
    fault.probes.iter().map(|probe| probe.result.as_str()).collect()
}

fn skip(run: &mut Broken, id: &str, recipe: &str, at: u64, reason: &str) {
    let event = Event::FaultSkipped {
        fault: id.into(),
        recipe: recipe.into(),
        target: "shop".into(),
        reason: reason.into(),
    };
    run.at(at, event);
}

/// Two found and mended, one borne, one that cannot be done here.
fn told() -> RunData {
    let (kill, hang) =
        (fault("a shop dies", "kill", 12_200, 6_000), fault("a shop hangs", "pause", 32_500, 4_000));
    let (slow, skew) =
        (fault("slow network", "latency", 52_100, 8_000), fault("wrong time", "clock-skew", 70_000, 5_000));
    let mut run = broken(90);
    run.plan(&[&kill, &hang, &slow, &skew]).whole(&kill).whole(&hang).whole(&slow);
    skip(
        &mut run,
        "wrong time",
        "clock-skew",
        70_000,
        "libfaketime is not installed; install the package faketime",
    );
    run.found("shop-1", Some(&kill), 12_236).closed("shop-1", Some(&kill), 12_236, 1_300, 5_000);
    run.found("shop-2", Some(&hang), 33_400).closed("shop-2", Some(&hang), 33_400, 900, 5_000);
    run.harm(12..14, 180, 120).harm(33..35, 90, 0).harm(52..61, 298, 0);
    run.over()
}

#[test]
fn a_life_is_told_from_schedule_to_undo() {
    let summary = Summary::new(&told());
    let kill = named(&summary, "a shop dies");
    assert_eq!((kill.fate, kill.kind.as_str(), kill.phase.as_str()), (Fate::Ended, "process", "chaos"));
    assert_eq!((kill.begun_ms, kill.injected_ms), (Some(CHAOS_MS + 12_200), Some(CHAOS_MS + 12_204)));
    assert_eq!((kill.over_ms, kill.held_ms, kill.undo_ms), (Some(CHAOS_MS + 18_200), Some(6_000), Some(12)));
    assert_eq!(kill.does, "kill on shop-a");
    assert_eq!(named(&summary, "slow network").does, "latency 200 ms ± 50 ms, both directions, on shop-a");
    assert_eq!(kill.incidents, ["shop-1"]);
    let skew = named(&summary, "wrong time");
    assert_eq!((skew.fate, skew.points, skew.probes.len()), (Fate::Skipped, None, 0));
    assert_eq!(skew.during.not_evaluable.as_deref(), Some("it was not injected"));
}

#[test]
fn before_during_and_after_are_sums_of_whole_seconds() {
    let summary = Summary::new(&told());
    let kill = named(&summary, "a shop dies");
    // 12.2 s to 18.2 s touch seven seconds; the ten before the one in which it began are free.
    assert_eq!([kill.before.length_ms, kill.during.length_ms, kill.after.length_ms], [10_000, 7_000, 10_000]);
    let during = &kill.during;
    let expected = f64::from(5 * 300 + 2 * 180) / f64::from(7 * 300);
    assert!((during.goodput_share.unwrap() - expected).abs() < 1e-9, "{during:?}");
    assert!((during.error_rate.unwrap() - 240.0 / 2_100.0).abs() < 1e-9, "{during:?}");
    assert_eq!(during.p95.map(|p95| (p95.lowest_us, p95.highest_us)), Some((3_000, 12_000)));
    assert_eq!((kill.before.steady, during.steady, kill.after.steady), (Some(true), Some(false), Some(true)));
    assert_eq!(kill.before.error_rate, Some(0.0));
}

#[test]
fn borne_without_harm_counts_as_found() {
    let summary = Summary::new(&told());
    let slow = named(&summary, "slow network");
    assert_eq!(results(slow), ["pass"; 5]);
    assert!(slow.probes[2].seen.contains("borne without harm"), "{:?}", slow.probes);
    assert_eq!(slow.points, Some(1.0));
    // Three of four are worth 1, the one that was skipped nothing.
    let resilience = &summary.resilience;
    assert_eq!((resilience.score, resilience.planned, resilience.run), (Some(75), 4, 3));
    assert_eq!(resilience.coverage, Some(0.75));
}

#[test]
fn harm_that_nobody_finds_and_that_stays_costs_points() {
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).whole(&kill).harm(20..60, 100, 200);
    let summary = Summary::new(&run.over());
    let kill = named(&summary, "kill");
    assert_eq!(results(kill), ["pass", "fail", "fail", "fail", "pass"]);
    assert_eq!(summary.resilience.score, Some(40));
}

#[test]
fn a_fault_in_an_unsteady_state_shows_nothing() {
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).whole(&kill).harm(5..20, 200, 100);
    let summary = Summary::new(&run.over());
    assert_eq!(results(named(&summary, "kill")), ["fail", "pass", "pass", "pass", "pass"]);
    assert_eq!(summary.resilience.score, Some(0));
}

#[test]
fn overlapping_faults_take_each_other_what_is_free() {
    let slow = fault("slow", "latency", 20_000, 30_000);
    let busy = fault("busy", "cpu", 35_000, 5_000);
    let mut run = broken(70);
    run.plan(&[&slow, &busy]).whole(&slow).whole(&busy);
    let data = run.over();
    let summary = Summary::new(&data);
    let busy = named(&summary, "busy");
    let reason = "no second within 10 s was free of other faults (slow)";
    assert_eq!(busy.before.not_evaluable.as_deref(), Some(reason));
    assert_eq!(busy.after.not_evaluable.as_deref(), Some(reason));
    assert_eq!(results(busy), ["not-evaluable", "not-evaluable", "pass", "pass", "pass"]);
    assert_eq!(busy.points, Some(0.6));
    assert_eq!(busy.does, "cpu 2 cores, on the host of shop");
    let slow = named(&summary, "slow");
    assert_eq!((slow.before.length_ms, slow.after.length_ms), (10_000, 10_000));
    assert_eq!(summary.resilience.score, Some(80));
    let page = page(&data);
    assert!(page.contains("not evaluable: no second within 10 s"), "an empty cell without a reason");
    // The names, then on the whole timeline and its close-up a row for each of the two.
    assert_eq!(page.matches("<div class=\"lane\">").count(), 4, "two at once have a row each");
}

#[test]
fn the_edges_of_a_phase_are_named() {
    let (first, last) = (fault("first", "pause", 0, 5_000), fault("last", "pause", 50_000, 10_000));
    let mut run = broken(60);
    run.plan(&[&first, &last]).whole(&first).whole(&last);
    let summary = Summary::new(&run.over());
    let reason = |fault: &str, after: bool| {
        let fault = named(&summary, fault);
        if after { &fault.after } else { &fault.before }.not_evaluable.clone().unwrap_or_default()
    };
    assert_eq!(reason("first", false), "the phase began with it");
    assert_eq!(reason("last", true), "its phase ended with it");
}

#[test]
fn no_load_is_no_steady_state() {
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).whole(&kill);
    for second in &mut run.chaos().seconds {
        second.wanted_rate = 0.0;
    }
    let closed_model = Summary::new(&run.over());
    let during = &named(&closed_model, "kill").during;
    assert_eq!((during.goodput_share, during.goodput), (None, Some(300.0)));
    assert_eq!(during.not_evaluable.as_deref(), Some("no rate was wanted (a closed model has none)"));
    assert_eq!(closed_model.resilience.score, Some(20), "only the undo can be told");
    run.chaos().seconds.clear();
    let silent = Summary::new(&run.over());
    let kill = named(&silent, "kill");
    assert_eq!(kill.before.not_evaluable.as_deref(), Some("nothing was measured in its phase"));
    assert_eq!(kill.during.not_evaluable.as_deref(), Some("nothing was measured while it was there"));
}

#[test]
fn without_an_injected_fault_there_is_no_score() {
    let summary = Summary::new(&run());
    assert_eq!((summary.resilience.score, summary.resilience.coverage), (None, None));
    assert_eq!(summary.resilience.reason.as_deref(), Some("no fault was planned"));
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(30);
    run.plan(&[&kill]);
    let data = run.over();
    let summary = Summary::new(&data);
    assert_eq!((summary.resilience.score, summary.resilience.coverage), (None, Some(0.0)));
    assert_eq!(named(&summary, "kill").fate, Fate::Planned);
    let page = page(&data);
    assert!(page.contains("the run ended before its time came"), "why it was not injected");
    assert!(!page.contains("class=\"shade"), "a fault that was not there is shaded");
    assert!(junit::render(&summary).unwrap().contains("the run ended before its time came"));
}

#[test]
fn a_run_that_ended_before_its_chaos_owes_its_faults() {
    let mut data = run();
    let text = "name = \"made up\"\n[processes.shop]\ncommand = [\"shop\"]\n[targets.shop]\nurl = \
                \"http://127.0.0.1:1\"\nplatform.process = \"shop\"\nchaos = true\n[[scenarios]]\nguest = \"http\"\n\
                target = \"shop\"\nconfig.steps = [{ name = \"item\", get = \"/\" }]\n[recovery-budgets]\n\
                recovery = \"90s\"\n[[chaos]]\nrecipe = \"kill\"\ntarget = \"shop\"\nduration = \"20s\"\n\
                stop = \"none\"\ntimes = 2\n";
    data.plan = plan::parse(text, std::path::Path::new("plan.toml")).unwrap();
    let summary = Summary::new(&data);
    assert_eq!(
        summary.faults.iter().map(|fault| fault.fault.as_str()).collect::<Vec<_>>(),
        ["kill", "kill#2"]
    );
    assert_eq!((summary.resilience.planned, summary.resilience.run), (2, 0));
    assert_eq!((summary.resilience.score, summary.resilience.coverage), (None, Some(0.0)));
    assert_eq!(summary.budgets.recovery_ms, 90_000, "the plan's own budget");
    assert!(page(&data).contains("None of 2 faults was injected; no incident was found."));
}

#[test]
fn faults_by_hand_are_shown_and_not_scored() {
    let mut hand = fault("by hand", "kill", 20_000, 5_000);
    hand.by = "cli".into();
    let mut run = broken(60);
    run.whole(&hand);
    let data = run.over();
    let summary = Summary::new(&data);
    assert!(!named(&summary, "by hand").scheduled);
    assert_eq!(summary.resilience.score, None);
    assert_eq!(
        summary.resilience.reason.as_deref(),
        Some("no fault was planned; those by hand are not scored")
    );
    assert!(page(&data).contains("by hand (cli), not scored"));
}

#[test]
fn what_is_not_undone_is_said_first_and_fails_the_build() {
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).inject(&kill);
    let detail = "still stopped after 3 tries; kill -CONT 4711";
    run.at(
        25_000,
        Event::FaultUnrecovered { fault: "kill".into(), target: "shop".into(), detail: detail.into() },
    );
    let data = run.over();
    let summary = Summary::new(&data);
    let kill = named(&summary, "kill");
    assert_eq!((kill.fate, results(kill)[4]), (Fate::Unrecovered, "fail"));
    assert_eq!(kill.after.not_evaluable.as_deref(), Some("it was not undone"));
    assert_eq!(kill.during.length_ms, 40_000, "it lasts to the end");
    let page = page(&data);
    let alarm = page.find("Not known to be undone").unwrap();
    assert!(page[alarm..].contains(detail) && alarm < page.find("Phase by phase").unwrap());
    let text = junit::render(&summary).unwrap();
    assert!(text.contains("not undone: still stopped") && text.contains("failures=\"1\""), "{text}");
}

#[test]
fn a_history_that_breaks_off_leaves_its_fault_open() {
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).inject(&kill);
    let summary = Summary::new(&run.over());
    let kill = named(&summary, "kill");
    assert_eq!((kill.fate, results(kill)[4]), (Fate::Injected, "fail"));
    assert!(junit::render(&summary).unwrap().contains("the history has no end of it"));
}

/// A fault that its chaos service held when it was killed, and whose end the next life of it told.
#[test]
fn a_fault_that_ended_with_its_chaos_says_so_and_stays_ended_when_it_does_not_come_again() {
    let kill = fault("kill", "kill", 20_000, 15_000);
    let mut run = broken(60);
    run.plan(&[&kill]).inject(&kill);
    let ended = Event::FaultEnded {
        fault: "kill".into(),
        how: "the chaos service that held it ended: the fault agent undid it".into(),
        held_ms: None,
        undo_ms: None,
        verified: "process 7 runs".into(),
    };
    run.at(26_000, ended);
    let skipped = Event::FaultSkipped {
        fault: "kill".into(),
        recipe: "kill".into(),
        target: "shop".into(),
        reason: "its time had passed".into(),
    };
    run.at(27_000, skipped);
    let data = run.over();
    let summary = Summary::new(&data);
    let kill = named(&summary, "kill");
    assert_eq!((kill.fate, results(kill)[4]), (Fate::Ended, "pass"));
    assert_eq!((kill.over_ms, kill.held_ms, kill.undo_ms), (Some(CHAOS_MS + 26_000), Some(5_996), None));
    assert_eq!(kill.detail, "it did not come again: its time had passed");
    assert!(page(&data).contains("the chaos service that held it ended: the fault agent undid it"));
}

#[test]
fn a_fault_that_comes_again_lasts_from_its_first_coming_to_its_last_end() {
    let kill = fault("kill", "kill", 20_000, 15_000);
    let again = fault("kill", "kill", 30_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).inject(&kill).end(&fault("kill", "kill", 20_000, 3_000)).whole(&again);
    let summary = Summary::new(&run.over());
    let kill = named(&summary, "kill");
    assert_eq!((kill.fate, kill.begun_ms), (Fate::Ended, Some(CHAOS_MS + 20_000)));
    assert_eq!(kill.over_ms, Some(CHAOS_MS + 35_000));
    assert_eq!(kill.detail, "it came again after this: its time is over");
}

#[test]
fn incidents_stand_against_their_budgets() {
    let kill = fault("kill", "kill", 5_000, 100_000);
    let mut run = broken(200);
    run.plan(&[&kill]).whole(&kill).found("shop-1", Some(&kill), 36_000);
    run.closed("shop-1", Some(&kill), 36_000, 130_000, 4_000).found("shop-2", None, 190_000);
    let data = run.over();
    let summary = Summary::new(&data);
    let [late, open] = summary.incidents.as_slice() else { panic!("{:?}", summary.incidents) };
    assert_eq!(late.over_budget, ["detection took 31 s of 30 s", "recovery took 2 min 10 s of 2 min"]);
    assert_eq!((open.closed_ms, open.fault.as_deref(), open.detected_after_ms), (None, None, None));
    assert!(open.over_budget[0].starts_with("still open 10.3 s after it was found"), "{open:?}");
    assert_eq!(results(named(&summary, "kill"))[2..], ["pass", "fail", "pass"]);
    // Findings: they skip, and do not fail a build.
    let text = junit::render(&summary).unwrap();
    assert!(
        text.contains("over budget: detection took 31 s of 30 s") && text.contains("failures=\"0\""),
        "{text}"
    );
    let page = page(&data);
    assert!(page.contains("✗ 31 s") && page.contains("1 still open at the end"), "late and open incidents");
    assert!(page.contains("no fault explains it"));
}

#[test]
fn a_cause_that_is_known_only_at_the_end_counts() {
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).whole(&kill).found("shop-1", None, 21_004).closed(
        "shop-1",
        Some(&kill),
        21_004,
        500,
        5_000,
    );
    let summary = Summary::new(&run.over());
    assert_eq!(summary.incidents[0].fault.as_deref(), Some("kill"));
    assert_eq!(summary.incidents[0].detected_after_ms, Some(1_000), "from the stamps");
    assert_eq!(named(&summary, "kill").incidents, ["shop-1"]);
}

#[test]
fn seconds_count_from_the_instant_at_which_workers_begin() {
    let kill = fault("kill", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).whole(&kill).harm(20..25, 0, 300);
    let mut data = run.over();
    let t0 = data.history[0].at_unix_ns + i64::try_from((CHAOS_MS + 500) * 1_000_000).unwrap();
    let place = data
        .history
        .iter()
        .position(|entry| matches!(entry.event, Event::PhaseStarted { phase: CHAOS, .. }))
        .unwrap();
    let mut timed = data.history[place].clone();
    timed.event = Event::PhaseTimed { phase: CHAOS, t0_unix_ns: t0 };
    data.history.insert(place + 1, timed);
    let summary = Summary::new(&data);
    assert_eq!(summary.phases[6].start_ms, CHAOS_MS + 500);
    assert_eq!(named(&summary, "kill").during.length_ms, 6_000, "19.5 s to 24.5 s of the workers' time");
}

#[test]
fn the_page_tells_it_in_one_sentence_and_on_the_timeline() {
    let data = told();
    let page = page(&data);
    let sentence = "3 faults were injected, all undone and read back (1 more was not injected); 2 incidents found (slowest \
                    after 900 ms of 30 s), both recovered (slowest after 1.3 s of 2 min).";
    assert!(page.matches(sentence).count() >= 2, "in the story on top and in its section");
    assert!(page.contains("75 of 100") && page.contains("3 of 4 planned faults injected"));
    let charts = page.matches("class=\"chart\"").count();
    assert_eq!(page.matches("class=\"shade process\"").count(), 2 * charts);
    assert_eq!(page.matches("class=\"shade network\"").count(), charts);
    assert!(
        page.contains("title=\"incident shop-1: component failure of shop: found here: the process ended")
    );
    assert!(page.contains("Cannot be done: clock-skew: libfaketime is not installed"));
    assert!(page.contains("Every fault of the schedule weighs 1"), "the formula in words");
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(outside), "the page loads {outside}");
    }
}

#[test]
fn a_run_without_faults_says_nothing_of_them() {
    let page = page(&run());
    for word in ["Faults and recovery", "class=\"lanes\"", "Resilience", "coloured stretches"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(!junit::render(&Summary::new(&run())).unwrap().contains("\"faults\""));
}

#[test]
fn names_from_a_plan_are_text_in_the_page() {
    let kill = fault("<b>kill</b>", "kill", 20_000, 5_000);
    let mut run = broken(60);
    run.plan(&[&kill]).whole(&kill).found("shop-1", Some(&kill), 20_100).closed(
        "shop-1",
        Some(&kill),
        20_100,
        5,
        5,
    );
    assert!(!page(&run.over()).contains("<b>kill</b>"));
}

/// Every object of a value, by the path of keys, is described by the schema.
fn described(schema: &serde_json::Value, place: &serde_json::Value, value: &serde_json::Value, path: &str) {
    let resolved = place
        .get("$ref")
        .and_then(|name| name.as_str())
        .and_then(|name| schema.pointer(name.trim_start_matches('#')))
        .unwrap_or(place);
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let inner = resolved["properties"].get(key);
                let inner = inner.unwrap_or_else(|| panic!("{path}.{key} is not in the schema"));
                let any = inner["anyOf"].get(0).unwrap_or(inner);
                described(schema, any, value, &format!("{path}.{key}"));
            }
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|item| described(schema, &resolved["items"], item, path));
        }
        _ => {}
    }
}

#[test]
fn summary_json_has_it_all_and_follows_its_schema() {
    let value = serde_json::to_value(Summary::new(&told())).unwrap();
    let schema = Summary::schema();
    described(&schema, &schema, &value, "summary");
    assert_eq!(value["resilience"]["score"], 75);
    assert_eq!(value["faults"][0]["fate"], "ended");
    assert_eq!(value["incidents"][0]["actions"][0]["outcome"], "done");
    assert_eq!(value["budgets"]["recovery_ms"], 120_000);
}
