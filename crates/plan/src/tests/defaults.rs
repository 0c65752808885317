//! Each default of R1, R1.1, R1.4, R3.1 and of the settings: one table each, which fails when one is changed.

use std::fmt::Write as _;

use super::{SMALLEST, and, parse, phase, with};
use crate::model::{Arrivals, Http, LoadModel, OnFailure, Phase, PhaseName, Plan, Range, TlsVersion};
use crate::units::{print_duration, print_share, print_size};

fn load(model: &LoadModel) -> String {
    match model {
        LoadModel::None => "none".to_owned(),
        LoadModel::Open { start_rate, rate, ramp, arrivals: Arrivals::Even } if ramp.is_zero() => {
            assert_eq!(start_rate, rate);
            format!("{rate}/s")
        }
        LoadModel::Open { start_rate, rate, ramp, arrivals: Arrivals::Even } => {
            format!("{start_rate}→{rate}/s in {}", print_duration(*ramp))
        }
        LoadModel::Walk { floor, ceiling, step, arrivals: Arrivals::Even } => {
            format!("{floor}~{ceiling}/s each {}", print_duration(*step))
        }
        other => format!("{other:?}"),
    }
}

fn range(range: Option<Range>) -> String {
    range.map_or_else(|| "–".to_owned(), |r| format!("{}..{}", print_share(r.min), print_share(r.max)))
}

fn row(phase: &Phase) -> String {
    format!(
        "{} {} | {} | conn {} users {} waiting {} | cpu {} mem {} | trace {} log {}",
        phase.name.name(),
        print_duration(phase.duration),
        load(&phase.model),
        phase.connections,
        phase.max_users,
        phase.max_waiting,
        range(phase.cpu),
        range(phase.memory),
        print_share(phase.trace_sampling),
        phase.log_level.name(),
    )
}

fn table(plan: &Plan) -> String {
    plan.phases.iter().map(row).fold(String::new(), |mut all, row| {
        writeln!(all, "{row}").unwrap();
        all
    })
}

#[test]
fn r1_phases_without_a_tier() {
    let plan = parse(SMALLEST).unwrap();
    assert_eq!(
        table(&plan),
        "\
idle 5m | none | conn 0 users 0 waiting 0 | cpu 0%..5% mem 0%..10% | trace 10% log info
baseline 15m | 100/s | conn 50 users 50 waiting 1000 | cpu 10%..20% mem 20%..30% | trace 20% log info
light 20m | 1000/s | conn 500 users 500 waiting 10000 | cpu 30%..40% mem 40%..50% | trace 50% log debug
medium 30m | 5000/s | conn 2500 users 2500 waiting 50000 | cpu 50%..60% mem 60%..70% | trace 100% log debug
heavy 30m | 10000/s | conn 5000 users 5000 waiting 100000 | cpu 70%..80% mem 75%..85% | trace 100% log trace
extreme 20m | 50000/s | conn 10000 users 10000 waiting 500000 | cpu 85%..95% mem 85%..95% | trace 100% log trace
chaos 20m | 0~100000/s each 10s | conn 20000 users 20000 waiting 1000000 | cpu – mem – | trace 100% log trace
"
    );
    assert!(plan.phases.iter().all(|phase| phase.on_objective_failure == OnFailure::Continue));
    assert!(plan.phases.iter().all(|phase| phase.thresholds.is_empty() && phase.scenario_config.is_empty()));
}

#[test]
fn r1_1_objective_parameters() {
    let plan = parse(SMALLEST).unwrap();
    let all: Vec<String> =
        plan.phases.iter().map(|phase| format!("{} {:?}", phase.name.name(), phase.objectives)).collect();
    assert_eq!(
        all,
        [
            r#"idle {"probe-intervals": 2.0, "samples": 30.0}"#,
            r#"baseline {"checks": 1.0, "error-rate": 0.01}"#,
            r#"light {"cache-hit-ratio": 0.8, "scaling": 0.2}"#,
            r#"medium {"balance": 1.25, "scaleout-p95": 0.2}"#,
            r#"heavy {"breakers": 1.0, "goodput": 0.8, "knee-goodput": 0.95, "knee-latency": 3.0}"#,
            r#"extreme {"accuracy": 0.01, "breaking": 0.5, "recovery-seconds": 150.0}"#,
            r#"chaos {"recovery-seconds": 150.0, "steady-errors": 0.01, "steady-goodput": 0.95}"#,
        ]
    );
}

#[test]
fn r3_1_tiers() {
    let rows = |tier: &str| {
        let plan = with(&format!("tier = \"{tier}\"")).unwrap();
        let all: Vec<String> = plan
            .phases
            .iter()
            .map(|p| format!("{} {} conn {}", p.name.name(), load(&p.model), p.connections))
            .collect();
        all.join(", ")
    };
    assert_eq!(rows("base"), "idle none conn 0, baseline 10→100/s in 15m conn 50");
    assert_eq!(
        rows("stress"),
        "idle none conn 0, baseline 10→100/s in 15m conn 50, light 1000/s conn 500, medium 5000/s conn 2500, \
         heavy 10000/s conn 5000"
    );
    assert_eq!(
        rows("chaos"),
        "idle none conn 0, baseline 100/s conn 50, light 1000/s conn 500, medium 5000/s conn 2500, \
         chaos 0~5000/s each 10s conn 1000"
    );
    assert_eq!(
        rows("ultimate"),
        "idle none conn 0, baseline 100/s conn 50, light 1000/s conn 500, medium 5000/s conn 2500, \
         heavy 10000/s conn 5000, extreme 100000/s conn 10000, chaos 0~100000/s each 10s conn 20000"
    );
}

#[test]
fn which_phases_run() {
    let names = |plan: &Plan| plan.phases.iter().map(|p| p.name.name()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&parse(SMALLEST).unwrap()), "idle baseline light medium heavy extreme chaos");
    let named = parse(&format!("tier = \"base\"\nphases.heavy.rate = 8000\n{SMALLEST}")).unwrap();
    assert_eq!(names(&named), "idle baseline heavy", "a phase that the plan names is added to the tier's");
    let chosen = with("run-phases = [\"heavy\", \"baseline\"]").unwrap();
    assert_eq!(names(&chosen), "baseline heavy", "in the order of the cycle");
    let not_chosen =
        parse(&format!("run-phases = [\"idle\"]\nphases.heavy.rate = 8000\n{SMALLEST}")).unwrap();
    assert_eq!(names(&not_chosen), "idle");
}

#[test]
fn one_line_overrides_and_the_preset_keeps_the_rest() {
    let plan = and("[phases.heavy]\nrate = 8000").unwrap();
    assert_eq!(
        row(phase(&plan, PhaseName::Heavy)),
        "heavy 30m | 8000/s | conn 5000 users 5000 waiting 80000 | cpu 70%..80% mem 75%..85% | trace 100% log trace"
    );
    let plan = and("[phases.chaos]\nceiling = 1000").unwrap();
    assert_eq!(
        row(phase(&plan, PhaseName::Chaos)),
        "chaos 20m | 0~1000/s each 10s | conn 200 users 200 waiting 10000 | cpu – mem – | trace 100% log trace"
    );
}

#[test]
fn models_of_load() {
    let model =
        |keys: &str| phase(&and(&format!("[phases.light]\n{keys}")).unwrap(), PhaseName::Light).clone();
    let secs = std::time::Duration::from_secs;
    let open = |start_rate, rate, ramp, arrivals| LoadModel::Open { start_rate, rate, ramp, arrivals };
    assert_eq!(model("start-rate = 10").model, open(10.0, 1000.0, secs(1200), Arrivals::Even));
    assert_eq!(model("ramp = \"1m\"").model, open(0.0, 1000.0, secs(60), Arrivals::Even));
    assert_eq!(
        model("rate = \"30/m\"\narrivals = \"poisson\"").model,
        open(0.5, 0.5, secs(0), Arrivals::Poisson)
    );
    for (word, arrivals) in [
        ("\"even\"", Arrivals::Even),
        ("\"sequential\"", Arrivals::Even),
        ("\"sustained\"", Arrivals::Even),
        ("\"parallel-burst\"", Arrivals::Burst { size: 10 }),
        ("{ burst = 7 }", Arrivals::Burst { size: 7 }),
        ("\"chaotic\"", Arrivals::Chaotic),
    ] {
        assert_eq!(
            model(&format!("arrivals = {word}")).model,
            open(1000.0, 1000.0, secs(0), arrivals),
            "{word}"
        );
    }
    let closed = model("users = 20\nthink = \"2s\"");
    assert_eq!(closed.model, LoadModel::Closed { start_users: 20, users: 20, ramp: secs(0), think: secs(2) });
    assert_eq!((closed.connections, closed.max_users, closed.max_waiting), (20, 20, 20));
    assert_eq!(
        model("users = 20\nramp = \"1m\"").model,
        LoadModel::Closed { start_users: 1, users: 20, ramp: secs(60), think: secs(0) }
    );
}

#[test]
fn protocols() {
    let http = |keys: &str| {
        let plan = format!("targets.a = {{ url = \"http://a\"{keys} }}\n[[scenarios]]\nguest = \"http\"\n");
        parse(&plan).unwrap().targets[0].http
    };
    assert_eq!(http(""), Http::One);
    assert_eq!(http(", http = \"1.1\""), Http::One);
    assert_eq!(http(", http = \"2\""), Http::Two { streams: 100 });
    assert_eq!(http(", http = \"2\", streams = 10000"), Http::Two { streams: 10_000 });
    let plan = parse(SMALLEST).unwrap();
    let (shop, tls) = (&plan.targets[0], &plan.targets[0].tls);
    assert!(shop.keep_alive && tls.resumption && !tls.insecure);
    assert_eq!((tls.min_version, tls.max_version), (TlsVersion::One2, TlsVersion::One3));
}

#[test]
fn settings() {
    let plan = parse(SMALLEST).unwrap();
    assert_eq!((plan.name.as_str(), plan.seed, plan.time_scale, plan.load_scale), ("shop", 1, 1.0, 1.0));
    let (l, v, c) = (&plan.load, &plan.validity, &plan.control);
    let d = print_duration;
    let found = [
        format!(
            "threads {:?} batch {} connect {} + {} at {} interval {}",
            l.threads,
            l.batch,
            d(l.connect_timeout),
            d(l.handshake_timeout),
            l.connect_rate,
            d(l.interval)
        ),
        format!(
            "grace {} head {} body {} event {} io_uring {}",
            d(l.grace),
            print_size(l.max_head.into()),
            print_size(l.max_body),
            print_size(l.max_event.into()),
            l.io_uring
        ),
        format!(
            "guest {} {} + {} output {} log {}",
            d(l.guest.call_deadline),
            print_size(l.guest.memory),
            print_size(l.guest.memory_per_user),
            print_size(l.guest.output),
            l.guest.log_lines
        ),
        format!("lag {} or {}", d(v.send_lag), print_share(v.send_lag_share)),
        format!("achieved {} short {}", print_share(v.achieved), print_share(v.short_seconds)),
        format!("drops {} busy {} for {}", print_share(v.drops), print_share(v.busy), d(v.busy_for)),
        format!("traps {} judge {}", v.traps_per_minute, v.judge),
        format!("validate {} in {} ramp-down {}", c.validate, d(c.validate_timeout), d(c.ramp_down)),
        format!("probes {} {}", d(c.probe_interval), d(c.probe_timeout)),
        format!(
            "worker {} controller {} restart {:?}",
            d(c.worker_timeout),
            d(c.controller_lease),
            c.scheduler_restart
        ),
        format!("api {} report {} slowest {}", c.api, plan.report.dir.display(), plan.report.slowest),
        format!(
            "scenario {} {} first byte {:?} weight {} trial {}",
            plan.scenarios[0].name,
            d(plan.scenarios[0].timeout),
            plan.scenarios[0].response_timeout,
            plan.scenarios[0].weight,
            plan.scenarios[0].trial
        ),
    ];
    assert_eq!(
        found,
        [
            "threads None batch 64 connect 5s + 5s at 10000 interval 1s",
            "grace 5s head 64KiB body 64MiB event 1MiB io_uring true",
            "guest 50ms 64MiB + 4KiB output 8MiB log 100",
            "lag 5ms or 10%",
            "achieved 99% short 5%",
            "drops 0.1% busy 90% for 10s",
            "traps 5 judge true",
            "validate true in 10s ramp-down 5s",
            "probes 5s 5s",
            "worker 2s controller 15s restart Resume",
            "api 127.0.0.1:0 report runs slowest 10",
            "scenario http 30s first byte None weight 1 trial true",
        ]
    );
    let process =
        parse(&format!("processes.p.command = [\"p\"]\n{SMALLEST}")).unwrap().processes["p"].clone();
    assert_eq!((d(process.ready_timeout), d(process.stop_timeout)), ("30s".to_owned(), "10s".to_owned()));
}
