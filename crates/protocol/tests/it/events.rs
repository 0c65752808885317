//! The history's JSON: what was written stays readable, by older and by newer programs.

use protocol::event::{
    ClockReading, Entry, Event, Life, LoadShare, NamedDigest, Outcome, OutcomeResult, PhaseChange,
    ScenarioNames, Verdict,
};
use protocol::faults::{ActionOutcome, CapabilityView, Issue, PlannedFault};

fn outcome(result: OutcomeResult) -> Outcome {
    Outcome { name: "p(99) < 300ms".into(), expected: "below".into(), seen: "120 ms".into(), result }
}

fn told(number: u32, change: PhaseChange) -> Event {
    Event::ChangeTold { phase: 1, number, at_ns: 2, change }
}

fn planned() -> PlannedFault {
    PlannedFault {
        fault: "a shop dies#2".into(),
        recipe: "kill".into(),
        target: "shop".into(),
        phase: 6,
        at_ms: 1,
        duration_ms: 2,
        victims: vec!["shop-a".into()],
        parameters: String::new(),
        stop: "none".into(),
        by: "plan".into(),
    }
}

/// What happens to faults.
fn faults() -> Vec<(&'static str, Event)> {
    let text = str::to_owned;
    let capability = CapabilityView {
        recipe: text("clock-skew"),
        backend: text("fault agent"),
        available: false,
        reason: text("no libfaketime"),
    };
    let fault = || text("a shop dies#2");
    vec![
        ("faults-planned", Event::FaultsPlanned { faults: vec![planned()], capabilities: vec![capability] }),
        (
            "fault-skipped",
            Event::FaultSkipped {
                fault: fault(),
                recipe: text("kill"),
                target: text("shop"),
                reason: text("gone"),
            },
        ),
        ("fault-beginning", Event::FaultBeginning { fault: planned() }),
        (
            "fault-injected",
            Event::FaultInjected { fault: fault(), backend: text("fault agent"), seen: text("state T") },
        ),
        (
            "fault-ended",
            Event::FaultEnded {
                fault: fault(),
                how: text("its time is over"),
                held_ms: Some(1),
                undo_ms: Some(2),
                verified: text("state S"),
            },
        ),
        (
            "fault-unrecovered",
            Event::FaultUnrecovered { fault: fault(), target: text("shop"), detail: text("still stopped") },
        ),
    ]
}

/// What recovery sees and does.
fn incidents() -> Vec<(&'static str, Event)> {
    let text = str::to_owned;
    vec![
        (
            "incident-opened",
            Event::IncidentOpened {
                incident: text("shop-1"),
                target: text("shop"),
                issue: Issue::ComponentFailure,
                instance: Some(text("shop-a")),
                seen: text("connection refused"),
                fault: None,
                detected_after_ms: Some(3),
            },
        ),
        (
            "recovery-acted",
            Event::RecoveryActed {
                incident: text("shop-1"),
                target: text("shop"),
                action: text("restart"),
                outcome: ActionOutcome::NotPossible,
                detail: text("no restart is left"),
                took_ms: 4,
            },
        ),
        (
            "incident-closed",
            Event::IncidentClosed {
                incident: text("shop-1"),
                target: text("shop"),
                how: text("restart"),
                fault: Some(text("a shop dies#2")),
                recovered_after_ms: 5,
                validated_after_ms: 6,
            },
        ),
    ]
}

/// One of each, with the kind that it is known by.
fn all() -> Vec<(&'static str, Event)> {
    let mut all = of_the_run();
    all.extend(faults());
    all.extend(incidents());
    all
}

fn of_the_run() -> Vec<(&'static str, Event)> {
    let text = str::to_owned;
    vec![
        (
            "run-created",
            Event::RunCreated {
                run: text("0190"),
                name: text("shop"),
                seed: u64::MAX,
                plan_digest: text("sha256:ab"),
                time_scale: 0.01,
                load_scale: 1.0,
                version: text("0.1.0"),
                files: vec![NamedDigest { name: text("guest:0"), digest: text("sha256:cd") }],
            },
        ),
        ("process-started", Event::ProcessStarted { process: text("shop"), pid: 1, ready_after_ms: 2 }),
        ("process-exited", Event::ProcessExited { process: text("shop"), status: text("signal 9") }),
        (
            "workers-ready",
            Event::WorkersReady {
                workers: 1,
                load_threads: 2,
                scenarios: vec![ScenarioNames {
                    scenario: text("browse"),
                    guest: text("http sha256:cd"),
                    steps: vec![text("item")],
                    checks: vec![text("status")],
                    metrics: vec![text("price")],
                }],
            },
        ),
        (
            "pre-phase-check",
            Event::PrePhaseCheck {
                phase: 1,
                check: text("target ready"),
                passed: false,
                seen: text("connection refused"),
                mend: text("start it"),
            },
        ),
        (
            "phase-started",
            Event::PhaseStarted {
                phase: 0,
                name: text("idle"),
                duration_ms: 1,
                rate: None,
                connections: 0,
                users: Some(3),
            },
        ),
        ("run-resumed", Event::RunResumed { scheduler: text("scheduler-1") }),
        (
            "load-divided",
            Event::LoadDivided {
                phase: 1,
                epoch: 2,
                from_ns: 3,
                shares: vec![LoadShare { worker: text("0190"), weight: 1.5, stripes: 3, of: 5 }],
            },
        ),
        ("phase-timed", Event::PhaseTimed { phase: 1, t0_unix_ns: i64::MAX }),
        ("change-told", told(1, PhaseChange::Rate(0.1))),
        ("change-told", told(2, PhaseChange::Pause)),
        ("change-told", told(3, PhaseChange::Resume)),
        ("change-told", told(4, PhaseChange::ExtendTo(u64::MAX))),
        ("change-told", told(5, PhaseChange::RampDown(7))),
        ("change-told", told(6, PhaseChange::Factor(0.5))),
        ("load-changed", Event::LoadChanged { phase: 1, at_ms: 2, change: text("pause"), by: text("cli") }),
        (
            "threshold-changed",
            Event::ThresholdChanged {
                phase: None,
                threshold: text("error_rate < 1%"),
                holds: true,
                seen: text("0 %"),
                abort: true,
            },
        ),
        (
            "guest-faulted",
            Event::GuestFaulted {
                phase: 1,
                guest: text("http"),
                fault: text("trap"),
                message: text("unreachable"),
                operations_cancelled: 2,
                scenario: 3,
                offset_ns: u64::MAX,
            },
        ),
        (
            "endpoint-changed",
            Event::EndpointChanged {
                phase: 1,
                target: text("shop"),
                endpoint: text("http://shop:1"),
                worker: text("0190"),
                out: true,
                cause: text("outlier-detection"),
                detail: text("load thread 0: 5 failures in a row"),
            },
        ),
        ("target-health", Event::TargetHealth { target: text("shop"), healthy: true, seen: text("200") }),
        (
            "worker-changed",
            Event::WorkerChanged {
                worker: text("0190"),
                change: text("lost"),
                detail: text("3 s"),
                clock: Some(ClockReading { ahead_ns: -1, error_ns: u64::MAX }),
                life: Some(Life {
                    incarnation: text("0191"),
                    load_threads: 2,
                    weight: Some(1.5),
                    thread_speed: Some(480_000.5),
                }),
            },
        ),
        (
            "phase-ended",
            Event::PhaseEnded {
                phase: 1,
                name: text("baseline"),
                lasted_ms: 9,
                objectives: vec![outcome(OutcomeResult::Pass)],
                expectations: vec![outcome(OutcomeResult::Fail)],
                thresholds: vec![outcome(OutcomeResult::NotEvaluable { reason: text("no samples") })],
                validity: vec![],
                decision: text("continue"),
                reason: text("all hold"),
            },
        ),
        ("stop-requested", Event::StopRequested { by: text("api"), exit_code: 96 }),
        ("notice", Event::Notice { message: text("\u{fc}nic\u{f6}de \"quoted\"") }),
        (
            "run-ended",
            Event::RunEnded {
                verdict: Verdict::Invalid,
                exit_code: 98,
                reasons: vec![text("send lag")],
                thresholds: vec![],
            },
        ),
    ]
}

#[test]
fn every_event_comes_back_from_its_json_and_keeps_its_kind() {
    for (sequence, (kind, event)) in (1..).zip(all()) {
        let entry = Entry { sequence, at_unix_ns: i64::MIN, producer: "scheduler".into(), event };
        let json = serde_json::to_string(&entry).unwrap();
        assert!(json.contains(&format!(r#""kind":"{kind}""#)), "{json}");
        assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
    }
}

#[test]
fn verdicts_and_results_keep_their_words() {
    let words = [Verdict::Passed, Verdict::Failed, Verdict::Aborted, Verdict::Invalid]
        .map(|verdict| serde_json::to_string(&verdict).unwrap());
    assert_eq!(words, [r#""passed""#, r#""failed""#, r#""aborted""#, r#""invalid""#]);
    let result = OutcomeResult::NotEvaluable { reason: "no probe".into() };
    assert_eq!(serde_json::to_string(&result).unwrap(), r#"{"is":"not-evaluable","reason":"no probe"}"#);
}

#[test]
fn a_kind_of_a_newer_version_is_unknown_and_no_error() {
    let json = r#"{"sequence":3,"at_unix_ns":4,"producer":"chaos","event":{"kind":"not-of-this-version","target":"shop"}}"#;
    let entry: Entry = serde_json::from_str(json).unwrap();
    assert_eq!((entry.sequence, entry.event), (3, Event::Unknown));
}

#[test]
fn a_worker_changed_without_a_clock_is_written_as_before_there_was_one() {
    let json = r#"{"kind":"worker-changed","worker":"0190","change":"lost","detail":"3 s"}"#;
    let event: Event = serde_json::from_str(json).unwrap();
    assert!(matches!(event, Event::WorkerChanged { clock: None, life: None, .. }), "{event:?}");
    assert_eq!(serde_json::to_string(&event).unwrap(), json);
}

#[test]
fn a_life_of_which_no_weight_is_known_is_written_as_before_there_was_one() {
    let json = r#"{"incarnation":"0191","load_threads":2}"#;
    let life: Life = serde_json::from_str(json).unwrap();
    assert_eq!((life.weight, life.thread_speed), (None, None));
    assert_eq!(serde_json::to_string(&life).unwrap(), json);
}

#[test]
fn a_field_of_a_newer_version_is_skipped() {
    let json = r#"{"kind":"notice","message":"x","severity":"low"}"#;
    assert_eq!(serde_json::from_str::<Event>(json).unwrap(), Event::Notice { message: "x".into() });
}
