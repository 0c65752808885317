//! Chaos and recovery beside a run: when they are asked for what, what their news become, and what their loss does.

use std::time::Duration;

use protocol::event::{Entry, Event, OutcomeResult};
use protocol::id::RunId;
use protocol::v1;
use protocol::v1::control_run::Action;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::bench::{Bench, baseline};
use crate::beside::{closed, opened, planned};

/// A plan of one phase that needs both.
async fn create(bench: &Bench, phases: &str) -> RunId {
    let head = crate::bench::HEAD.replace("[targets.app]", "[targets.app]\nchaos = true");
    let plan = format!("{phases}\n{head}\n[recovery.app]\nstrategy = [\"shed-load\"]\n");
    let (run, problems) = bench.try_create(&plan).await;
    assert_eq!(problems, Vec::<String>::new());
    run
}

fn of<'a>(log: &'a [String], whom: &[&str]) -> Vec<&'a str> {
    let of_them = |line: &&str| whom.iter().any(|who| line.starts_with(who));
    log.iter().map(String::as_str).filter(of_them).collect()
}

/// The place of a command in the log.
fn at(log: &[String], command: &str) -> usize {
    log.iter().position(|line| line == command).unwrap_or_else(|| panic!("no {command:?}: {log:#?}"))
}

#[tokio::test(start_paused = true)]
async fn both_are_opened_told_of_phases_and_closed_before_processes_would_be_stopped() {
    let bench = Bench::paced().await;
    let run = create(&bench, &baseline(2, "")).await;
    assert_eq!(bench.ended(run).await, (0, Vec::new()));
    let log = bench.peers.log();
    assert_eq!(
        of(&log, &["chaos", "recovery"]),
        [
            "chaos open",
            "recovery open http://127.0.0.1:8 secret 1",
            "chaos begin 0",
            "recovery begin 0",
            "chaos end 0",
            "recovery end 0",
            "recovery close",
            "chaos close",
        ]
    );
    assert!(at(&log, "chaos open") < at(&log, "worker prepare"), "{log:#?}");
    assert_eq!(bench.peers.script().detours[0].address, "127.0.0.1:9");
}

#[tokio::test(start_paused = true)]
async fn recovery_is_given_the_certificates_of_the_bundle_and_nothing_else_of_it() {
    let bench = Bench::paced().await;
    let run = create(&bench, &baseline(2, "")).await;
    assert_eq!(bench.ended(run).await, (0, Vec::new()));
    let files = bench.beside.script().recovery_files.clone();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["ca:app", "cert:app", "key:app"]);
    let key = bench.bus.fetch_object(&files[2].digest).await.unwrap();
    assert_eq!(std::fs::read(key).unwrap(), b"key:app");
}

#[tokio::test(start_paused = true)]
async fn a_plan_without_faults_and_recovery_talks_to_neither() {
    let bench = Bench::paced().await;
    let run = bench.create(&baseline(7, "")).await;
    assert_eq!(bench.ended(run).await.0, 0);
    assert_eq!(of(&bench.peers.log(), &["chaos", "recovery"]), Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_faults_before_the_load_ramps_down() {
    let bench = Bench::paced().await;
    let run = create(&bench, &baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    assert_eq!(bench.control(run, Action::Stop(true), "signal SIGINT").await, "");
    assert_eq!(bench.ended(run).await.0, 130);
    let log = bench.peers.log();
    let ended = at(&log, "chaos end 0 signal SIGINT");
    assert!(ended < at(&log, "worker ramp-down 1000000000") && ended < at(&log, "worker end 0"), "{log:#?}");
}

#[tokio::test(start_paused = true)]
async fn news_become_entries_once_with_their_own_stamps_and_the_verdict_waits_for_them() {
    let bench = Bench::paced().await;
    let run = create(&bench, &baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    let id = run.to_bytes();
    let beginning = Event::FaultBeginning { fault: planned() };
    bench.beside.tell(&id, 1, 111, &beginning).await;
    bench.beside.recovery_tells(&id, 1, 112, &opened("app-1")).await;
    bench.beside.recovery_tells(&id, 2, 113, &closed("app-1", 150_000)).await;
    let unrecovered = Event::FaultUnrecovered {
        fault: "slow".to_owned(),
        target: "app".to_owned(),
        detail: "the toxic is still there".to_owned(),
    };
    {
        let mut script = bench.beside.script();
        // The second is still on its way when the phase ends.
        (script.told, script.unrecovered) = (2, vec!["slow".to_owned()]);
    }
    assert_eq!(bench.control(run, Action::Skip(true), "cli").await, "");
    while !bench.peers.log().contains(&"chaos end 0 skipped by cli".to_owned()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.beside.tell(&id, 2, 222, &unrecovered).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(
        (code, reasons),
        (97, vec!["fault slow could not be undone: the toxic is still there".to_owned()])
    );

    let entries: Vec<Entry> = bench.store.history(run, 0).await.unwrap();
    let told: Vec<(&str, i64)> = entries
        .iter()
        .filter(|entry| entry.producer != "scheduler")
        .map(|entry| (entry.producer.as_str(), entry.at_unix_ns))
        .collect();
    let mut sorted = told.clone();
    sorted.sort_unstable_by_key(|(_, at)| *at);
    assert_eq!(sorted, [("chaos", 111), ("recovery", 112), ("recovery", 113), ("chaos", 222)]);
    assert!(entries.iter().any(|entry| entry.event == beginning));
    let ended = entries.iter().position(|entry| matches!(entry.event, Event::PhaseEnded { .. })).unwrap();
    let last = entries.iter().position(|entry| entry.event == unrecovered).unwrap();
    assert!(last < ended, "the phase is judged when all is told");
}

#[tokio::test(start_paused = true)]
async fn the_objective_of_recovery_is_judged_by_its_incidents() {
    for (recovered_after_ms, expected) in [(149_960, OutcomeResult::Pass), (149_961, OutcomeResult::Fail)] {
        let bench = Bench::paced().await;
        let plan = "run-phases = [\"chaos\"]\ncontrol.validate-timeout = \"2s\"\ncontrol.ramp-down = \"1s\"\n\
                    phases.chaos.duration = \"600s\"\nload-scale = 0.001\n";
        let run = create(&bench, plan).await;
        bench.wait_for_phase(run, 0).await;
        let id = run.to_bytes();
        // The phase's start lies ahead by as much as its commands need.
        let at_unix_ns = bench.clock.unix_ns() + 1_000_000_000;
        bench.beside.recovery_tells(&id, 1, at_unix_ns, &opened("app-1")).await;
        bench.beside.recovery_tells(&id, 2, at_unix_ns, &closed("app-1", recovered_after_ms)).await;
        bench.beside.script().recovery_told = 2;
        assert_eq!(bench.control(run, Action::Skip(true), "cli").await, "");
        bench.ended(run).await;
        let ended = bench.history(run).await.into_iter().find_map(|event| match event {
            Event::PhaseEnded { objectives, .. } => Some(objectives),
            _ => None,
        });
        let recovery = ended.unwrap().into_iter().find(|one| one.name == "recovery").unwrap();
        assert_eq!(recovery.result, expected, "{recovery:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_chaos_finds_wrong_keeps_the_run_from_beginning() {
    let bench = Bench::paced().await;
    let problem = |kind: &str, message: &str| v1::Problem {
        kind: kind.to_owned(),
        message: message.to_owned(),
        mend: "mend it".to_owned(),
    };
    bench.beside.script().problems =
        vec![problem("environment", "no disk"), problem("plan", "no such fault")];
    let run = create(&bench, &baseline(2, "")).await;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(
        (code, reasons),
        (2, vec!["no such fault: mend it".to_owned(), "no disk: mend it".to_owned()])
    );
    let log = bench.peers.log();
    assert!(!log.contains(&"worker prepare".to_owned()), "{log:#?}");
    assert!(log.contains(&"chaos close".to_owned()), "{log:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_chaos_that_was_started_anew_is_given_the_run_and_its_phase_again() {
    let bench = Bench::paced().await;
    let run = create(&bench, &baseline(30, "")).await;
    bench.wait_for_phase(run, 0).await;
    let id = run.to_bytes();
    let notice = |text: &str| Event::Notice { message: text.to_owned() };
    bench.beside.tell(&id, 1, 5, &notice("in its first life")).await;
    bench.beside.restart_chaos();
    bench
        .wait_for(run, "note of it", |event| {
            matches!(event, Event::Notice { message } if message.contains("chaos did not go on with the run"))
        })
        .await;
    bench.beside.tell(&id, 1, 6, &notice("in its second life")).await;
    bench.beside.script().told = 1;
    assert_eq!(bench.ended(run).await, (0, Vec::new()));
    let log = bench.peers.log();
    let asked = of(&log, &["chaos"]);
    assert_eq!(asked[..2], ["chaos open", "chaos begin 0"]);
    assert_eq!(asked.iter().filter(|line| **line == "chaos open").count(), 2, "{asked:?}");
    let again = asked.iter().rposition(|line| *line == "chaos open").unwrap();
    assert_eq!(asked[again + 1], "chaos begin 0", "{asked:?}");
    let events = bench.history(run).await;
    for life in ["in its first life", "in its second life"] {
        assert_eq!(events.iter().filter(|event| **event == notice(life)).count(), 1, "{life}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_proxy_that_listens_elsewhere_ends_the_run() {
    let bench = Bench::paced().await;
    let run = create(&bench, &baseline(60, "")).await;
    bench.wait_for_phase(run, 0).await;
    bench.beside.script().address = "127.0.0.1:10".to_owned();
    bench.beside.restart_chaos();
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 96);
    assert!(reasons[0].starts_with("lost service chaos: it was started anew"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_chaos_that_is_lost_ends_the_run_and_is_named() {
    let bench = Bench::paced().await;
    let run = create(&bench, &baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    bench.beside.script().chaos_silent = true;
    let (code, reasons) = bench.ended(run).await;
    assert_eq!(code, 96);
    assert!(reasons[0].starts_with("lost service chaos: "), "{reasons:?}");
    let stops = bench.history(run).await.into_iter().filter(
        |event| matches!(event, Event::StopRequested { by, exit_code: 96 } if by == "lost service chaos"),
    );
    assert_eq!(stops.count(), 1);
    let log = bench.peers.log();
    assert!(
        log.contains(&"recovery close".to_owned()) && log.contains(&"worker end 0".to_owned()),
        "{log:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn load_is_shed_while_incidents_last_also_into_the_next_phase() {
    let bench = Bench::paced().await;
    let phases = baseline(600, "phases.light.duration = \"600s\"\nphases.light.rate = 50")
        .replace("[\"baseline\"]", "[\"baseline\", \"light\"]");
    let run = create(&bench, &phases).await;
    bench.wait_for_phase(run, 0).await;
    let id = run.to_bytes();
    assert_eq!(bench.beside.shed(&id, "app-1", 0.5).await, "");
    assert_eq!(bench.beside.shed(&id, "app-2", 0.25).await, "");
    assert_eq!(bench.beside.shed(&id, "app-1", 1.0).await, "", "the other one lasts");
    assert!(bench.beside.shed(&id, "app-1", 1.5).await.contains("expected 0 to 1"));
    assert_eq!(bench.control(run, Action::Skip(true), "cli").await, "");
    bench.wait_for_phase(run, 1).await;
    bench
        .wait_for(
            run,
            "less load in the second phase",
            |event| matches!(event, Event::LoadChanged { phase: 1, change, .. } if change == "shed to 25 %"),
        )
        .await;
    assert_eq!(bench.beside.shed(&id, "app-2", 1.0).await, "");
    assert_eq!(bench.control(run, Action::Skip(true), "cli").await, "");
    assert_eq!(bench.ended(run).await.0, 0);
    let log = bench.peers.log();
    assert_eq!(
        of(&log, &["worker factor", "worker start"]),
        [
            "worker start 0",
            "worker factor 0.5",
            "worker factor 0.25",
            "worker start 1",
            "worker factor 0.25",
            "worker factor 1",
        ]
    );
    let by: Vec<String> = bench
        .history(run)
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::LoadChanged { by, change, .. } if change != "skip" => Some(format!("{by}: {change}")),
            _ => None,
        })
        .collect();
    assert_eq!(
        by,
        [
            "recovery app-1: shed to 50 %",
            "recovery app-2: shed to 25 %",
            "recovery, before this phase: shed to 25 %",
            "recovery app-2: all of it is sent again",
        ]
    );
    assert_eq!(bench.beside.shed(&id, "app-2", 1.0).await, "", "of a run that is over all is sent");
    assert_eq!(bench.beside.shed(&id, "app-2", 0.5).await, "the run is over");
}

#[tokio::test]
async fn faults_and_recovery_are_looked_at_and_steered_over_http() {
    let bench = Bench::real().await;
    let run = create(&bench, &baseline(600, "")).await;
    bench.wait_for_phase(run, 0).await;
    let url = |what: &str| format!("http://{}/v1/runs/{run}/{what}", bench.api);
    let client = Client::new();
    let got = client.get(url("faults")).send().await.unwrap();
    assert_eq!(got.status(), StatusCode::OK);
    let list: Value = got.json().await.unwrap();
    assert_eq!(list["faults"][0]["planned"]["fault"], "slow");
    let status: Value = client.get(url("recovery")).send().await.unwrap().json().await.unwrap();
    assert_eq!(status["incidents"], json!([]));

    for fault in [json!("recipe = \"kill\""), json!({ "recipe": "kill" })] {
        let made = client.post(url("faults")).json(&json!({ "fault": fault })).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED);
        assert_eq!(made.json::<Value>().await.unwrap()["fault"], "by hand");
    }
    let refused = client.post(url("faults")).json(&json!({ "fault": "x = 1" })).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(refused.json::<Value>().await.unwrap()["detail"], "what is this?");
    for wrong in [json!({ "fault": 3 }), json!({ "fault": { "at": null } }), json!({ "flaut": "" })] {
        let refused = client.post(url("faults")).json(&wrong).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
    for body in [json!({}), json!({ "fault": "by hand" })] {
        let ended = client.post(url("faults/stop")).json(&body).send().await.unwrap();
        assert_eq!(ended.json::<Value>().await.unwrap(), json!({ "ended": ["by hand"] }));
    }
    let log = bench.peers.log();
    assert_eq!(
        of(&log, &["chaos inject", "chaos stop"]),
        [
            "chaos inject recipe = \"kill\" by api",
            "chaos inject \"recipe\" = \"kill\" by api",
            "chaos inject x = 1 by api",
            "chaos stop  by api",
            "chaos stop by hand by api",
        ]
    );
    assert_eq!(bench.control(run, Action::Skip(true), "cli").await, "");
    bench.ended(run).await;
    let over = client.get(url("faults")).send().await.unwrap();
    assert_eq!(over.status(), StatusCode::CONFLICT);

    let plain = bench.create(&baseline(600, "")).await;
    bench.wait_for_phase(plain, 0).await;
    for what in ["faults", "recovery"] {
        let none = client.get(format!("http://{}/v1/runs/{plain}/{what}", bench.api)).send().await.unwrap();
        assert_eq!(none.status(), StatusCode::CONFLICT, "{what}");
    }
    assert_eq!(bench.control(plain, Action::Skip(true), "cli").await, "");
    bench.ended(plain).await;
}
