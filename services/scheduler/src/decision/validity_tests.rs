use std::collections::BTreeMap;

use plan::model::{LogLevel, OnFailure, PhaseName};
use protocol::event::OutcomeResult::{Fail, NotEvaluable, Pass};

use super::*;

const SECOND: u64 = 1_000_000_000;

fn phase(model: LoadModel) -> Phase {
    Phase {
        name: PhaseName::Baseline,
        duration: Duration::from_secs(20),
        model,
        connections: 10,
        max_users: 10,
        max_waiting: 1000,
        cpu: None,
        memory: None,
        trace_sampling: 0.1,
        log_level: LogLevel::Info,
        thresholds: Vec::new(),
        scenario_config: BTreeMap::new(),
        objectives: BTreeMap::new(),
        on_objective_failure: OnFailure::Continue,
    }
}

fn open(arrivals: Arrivals) -> LoadModel {
    LoadModel::Open { start_rate: 100.0, rate: 100.0, ramp: Duration::ZERO, arrivals }
}

fn closed() -> LoadModel {
    LoadModel::Closed { start_users: 5, users: 5, ramp: Duration::ZERO, think: Duration::ZERO }
}

fn second(at: u64) -> v1::Second {
    let counts = v1::ArrivalCounts { scheduled: 100, started: 100, answered: 100, ..Default::default() };
    v1::Second {
        offset_ns: at * SECOND,
        length_ns: SECOND,
        wanted_rate: 100.0,
        arrivals: Some(counts),
        busy_max: 0.5,
        ..Default::default()
    }
}

fn seconds(edit: impl Fn(u64, &mut v1::Second)) -> Vec<v1::Second> {
    (0..20)
        .map(|at| {
            let mut second = second(at);
            edit(at, &mut second);
            second
        })
        .collect()
}

fn counts(second: &mut v1::Second) -> &mut v1::ArrivalCounts {
    second.arrivals.as_mut().unwrap()
}

fn measured(lag_ns: u64, service_us: u64, dropped_by_generator: u64) -> Measured {
    let (mut lag, mut service) = (Hist::nanos(), Hist::micros());
    lag.record_n(lag_ns, 100);
    service.record_n(service_us, 100);
    let total = v1::Aggregate {
        arrivals: Some(v1::ArrivalCounts {
            scheduled: 2_000,
            dropped: dropped_by_generator,
            dropped_by_generator,
            started: 2_000 - dropped_by_generator,
            answered: 2_000 - dropped_by_generator,
            ..Default::default()
        }),
        total: Some(v1::Series { service: Some(service.encode()), ..Default::default() }),
        send_lag: Some(lag.encode()),
        ..Default::default()
    };
    let series = v1::PhaseSeries { total: Some(total), ..Default::default() };
    Measured { phase: phase(open(Arrivals::Even)), t0_unix_ns: 0, series }
}

#[test]
fn send_lag_may_be_five_milliseconds_or_a_tenth_of_the_service_time() {
    let rules = Validity::default();
    let result = |lag_us: u64, service_us| send_lag(&rules, &measured(lag_us * 1_000, service_us, 0)).result;
    assert_eq!(result(4_990, 1_000), Pass);
    assert_eq!(result(5_050, 1_000), Fail);
    // The service p99 is 100 ms: a tenth of it counts.
    assert_eq!(result(9_900, 100_000), Pass);
    assert_eq!(result(10_200, 100_000), Fail);
    assert!(matches!(
        send_lag(&rules, &Measured { series: v1::PhaseSeries::default(), ..measured(1, 1, 0) }).result,
        NotEvaluable { .. }
    ));
}

#[test]
fn drops_by_the_generator_may_be_one_in_a_thousand() {
    let rules = Validity::default();
    assert_eq!(drops(&rules, &measured(1, 1, 2)).result, Pass);
    assert_eq!(drops(&rules, &measured(1, 1, 3)).result, Fail);
    // What had no port here was not sent either; what the target refused was.
    let failed = |class: &str| {
        let mut measured = measured(1, 1, 2);
        let series = measured.series.total.as_mut().unwrap().total.as_mut().unwrap();
        series.errors = vec![v1::ErrorCount { class: class.to_owned(), count: 1 }];
        drops(&rules, &measured)
    };
    assert_eq!(failed("connect").result, Pass);
    assert_eq!(failed("exhausted").result, Fail);
    assert!(
        failed("exhausted").seen.contains("1 that failed for want of a port"),
        "{}",
        failed("exhausted").seen
    );
}

#[test]
fn one_second_in_twenty_may_be_short() {
    let rules = Validity::default();
    let even = phase(open(Arrivals::Even));
    // 97 and one for the edge are 98 of 99.
    let short = |number: u64| {
        seconds(move |at, second| {
            if at < number {
                counts(second).scheduled = 97;
            }
        })
    };
    assert_eq!(achieved(&rules, &even, &short(1)).result, Pass);
    assert_eq!(achieved(&rules, &even, &short(2)).result, Fail);
    // 98 and one for the edge are 99: no second is short.
    let just = seconds(|_, second| counts(second).scheduled = 98);
    assert_eq!(achieved(&rules, &even, &just).result, Pass);
}

#[test]
fn a_slow_target_makes_no_second_short_and_the_generator_s_drops_do() {
    let rules = Validity::default();
    let even = phase(open(Arrivals::Even));
    let stalled = seconds(|_, second| {
        let counts = counts(second);
        counts.started = 10;
        counts.waiting = 60;
        counts.dropped = 30;
    });
    assert_eq!(achieved(&rules, &even, &stalled).result, Pass);
    let dropping = seconds(|_, second| counts(second).dropped_by_generator = 3);
    assert_eq!(achieved(&rules, &even, &dropping).result, Fail);
}

#[test]
fn a_rate_lowered_by_hand_is_the_new_wanted_rate() {
    let rules = Validity::default();
    let lowered = seconds(|at, second| {
        if at >= 5 {
            second.wanted_rate = 10.0;
            counts(second).scheduled = 10;
        }
    });
    assert_eq!(achieved(&rules, &phase(open(Arrivals::Even)), &lowered).result, Pass);
    let paused = seconds(|_, second| {
        second.wanted_rate = 0.0;
        counts(second).scheduled = 0;
    });
    let found = achieved(&rules, &phase(open(Arrivals::Even)), &paused).result;
    assert!(matches!(found, NotEvaluable { .. }), "{found:?}");
}

#[test]
fn random_arrivals_are_held_against_their_own_schedule_and_closed_models_have_none() {
    let rules = Validity::default();
    let poisson = phase(open(Arrivals::Poisson));
    let uneven = seconds(|at, second| counts(second).scheduled = 80 + 2 * at);
    assert_eq!(achieved(&rules, &poisson, &uneven).result, Pass);
    let dropping = seconds(|_, second| counts(second).dropped_by_generator = 2);
    assert_eq!(achieved(&rules, &poisson, &dropping).result, Fail);
    let found = achieved(&rules, &phase(closed()), &uneven).result;
    assert!(matches!(found, NotEvaluable { .. }), "{found:?}");
}

#[test]
fn a_load_thread_may_be_busy_for_nine_seconds_and_not_for_ten() {
    let rules = Validity::default();
    let busy_for = |number: u64| {
        seconds(move |at, second| {
            if at < number {
                second.busy_max = 0.91;
            }
        })
    };
    assert_eq!(busy(&rules, &busy_for(9)).result, Pass);
    assert_eq!(busy(&rules, &busy_for(10)).result, Fail);
    let interrupted = seconds(|at, second| second.busy_max = if at == 9 { 0.90 } else { 0.99 });
    assert_eq!(busy(&rules, &interrupted[..19]).result, Pass);
    assert_eq!(busy(&rules, &interrupted).result, Fail);
}

#[test]
fn too_few_load_threads_are_told_how_many_it_takes() {
    let rules = Validity::default();
    let told = |wanted_rate: f64, busy: f64| {
        let mut measured = measured(1_000, 1_000, 1_000);
        measured.series.seconds = seconds(|_, second| {
            second.wanted_rate = wanted_rate;
            second.busy_max = 0.99;
        });
        measured.series.threads = vec![v1::ThreadStats { busy, ..Default::default() }; 2];
        let outcomes = judge(&rules, &measured, &[]);
        let told: Vec<_> = outcomes.into_iter().filter(|outcome| outcome.seen.contains("core")).collect();
        told
    };
    // Two threads half busy for 20 s started 1000 requests: 20 ms each; 270/s take 5.4 busy threads, 6 at 90 %.
    let [rate] = &told(270.0, 0.5)[..] else { panic!("one rule tells it") };
    assert_eq!((rate.name.as_str(), &rate.result), ("achieved rate", &Fail));
    let wanted = "; 270/s would take 6 load threads, each with a core of its own, not 2: a request took 20 ms of one here";
    assert!(rate.seen.ends_with(wanted), "{}", rate.seen);
    // Where the two should do, their number was not the reason.
    assert_eq!(told(90.0, 0.5), []);
    assert_eq!(told(270.0, 0.0), []);
}

#[test]
fn a_guest_may_trap_five_times_a_minute() {
    let rules = Validity::default();
    let measured = measured(1, 1, 0);
    let traps = |offsets: &[u64]| -> Vec<Trap> {
        offsets.iter().map(|at| Trap { scenario: 0, offset_ns: at * SECOND }).collect()
    };
    let result = |offsets: &[u64]| trapped(&rules, &measured, &traps(offsets)).result;
    assert_eq!(result(&[0, 1, 2, 3, 4]), Pass);
    assert_eq!(result(&[0, 1, 2, 3, 4, 59]), Fail);
    assert_eq!(result(&[0, 1, 2, 3, 4, 60]), Pass);
    // Each guest by itself.
    let mut of_two = traps(&[0, 1, 2, 3, 4]);
    of_two.push(Trap { scenario: 1, offset_ns: 0 });
    assert_eq!(trapped(&rules, &measured, &of_two).result, Pass);
}

#[test]
fn traps_that_only_samples_tell_of_count_too() {
    let rules = Validity::default();
    let with = |guest_traps| {
        let mut measured = measured(1, 1, 0);
        measured.series.threads = vec![v1::ThreadStats { guest_traps, ..Default::default() }];
        trapped(&rules, &measured, &[]).result
    };
    assert_eq!(with(5), Pass);
    assert_eq!(with(6), Fail);
}

#[test]
fn nothing_is_judged_in_a_phase_that_sends_nothing() {
    let mut idle = measured(1, 1, 1000);
    idle.phase.model = LoadModel::None;
    let outcomes = judge(&Validity::default(), &idle, &[]);
    assert_eq!(outcomes.len(), 6);
    assert!(outcomes.iter().all(|outcome| matches!(outcome.result, NotEvaluable { .. })));
}

#[test]
fn an_arrival_of_which_nobody_knows_what_became_is_found() {
    let mut measured = measured(1_000, 1_000, 0);
    assert_eq!(counts_close(&measured).named("", "").result, Pass);
    let counts = measured.series.total.as_mut().unwrap().arrivals.as_mut().unwrap();
    counts.answered -= 1;
    assert_eq!(counts_close(&measured).named("", "").result, Fail, "one was started and never ended");
    let counts = measured.series.total.as_mut().unwrap().arrivals.as_mut().unwrap();
    counts.in_flight = 1;
    assert_eq!(counts_close(&measured).named("", "").result, Pass);
    let counts = measured.series.total.as_mut().unwrap().arrivals.as_mut().unwrap();
    counts.scheduled += 1;
    assert_eq!(counts_close(&measured).named("", "").result, Fail, "one was scheduled and is nowhere");
}
