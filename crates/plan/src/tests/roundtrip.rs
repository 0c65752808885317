//! parse(print(p)) = p for any plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Strategy;

use super::parse;
use crate::model::*;
use crate::presets;
use crate::threshold::{Measure, Op, Threshold};

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 _.\"'äß-]{1,12}".prop_filter("a name is not blank", |name| !name.trim().is_empty())
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{1,20}".prop_filter("a text is not blank", |text| !text.trim().is_empty())
}

pub(super) fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1..10_000_u64).prop_map(Duration::from_millis),
        (1..1_000_000_000_000_u64).prop_map(Duration::from_nanos),
    ]
}

pub(super) fn share() -> impl Strategy<Value = f64> {
    prop_oneof![(0..=1000_u32).prop_map(|n| f64::from(n) / 1000.0), 0.0..=1.0_f64]
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![(1..100_000_u32).prop_map(f64::from), 0.001..1e6_f64]
}

fn url() -> impl Strategy<Value = String> {
    "(http|https)://[a-z]{1,8}\\.example(:[1-9][0-9]{1,3})?(/[a-z]{0,5})?"
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        (-1e12..1e12_f64).prop_map(serde_json::Value::from),
        ".{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            object(inner).prop_map(serde_json::Value::Object),
        ]
    })
}

fn object(
    inner: impl Strategy<Value = serde_json::Value>,
) -> impl Strategy<Value = serde_json::Map<String, serde_json::Value>> {
    vec((".{0,6}", inner), 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn process() -> impl Strategy<Value = Process> {
    (
        (text(), vec(".{0,8}", 0..3)),
        option::of(prop_oneof![url(), Just("tcp://localhost:80".to_owned())]),
        duration(),
        btree_map("[A-Z]{1,6}", ".{0,8}", 0..3),
        option::of(text().prop_map(PathBuf::from)),
        duration(),
    )
        .prop_map(|((program, mut arguments), ready, ready_timeout, env, dir, stop_timeout)| {
            arguments.insert(0, program);
            Process { command: arguments, ready, ready_timeout, env, dir, stop_timeout }
        })
}

fn target(processes: &[String]) -> impl Strategy<Value = Target> + use<> {
    let process = (any::<bool>(), proptest::sample::subsequence(processes.to_vec(), 0..=processes.len()))
        .prop_map(|(declared, names)| Some(names).filter(|names| declared && !names.is_empty()));
    let chaos = option::of(prop_oneof![
        Just(Most::All),
        (1..1000_u32).prop_map(Most::Fixed),
        (1..=100_u32).prop_map(Most::Percent)
    ]);
    let tls = (
        option::of(text().prop_map(PathBuf::from)),
        option::of((text().prop_map(PathBuf::from), text().prop_map(PathBuf::from))),
        any::<bool>(),
        option::of(text()),
        proptest::sample::subsequence(TlsVersion::ALL.to_vec(), 1..=2),
        any::<bool>(),
    )
        .prop_map(|(ca, client, insecure, server_name, versions, resumption)| Tls {
            ca,
            client,
            insecure,
            server_name,
            min_version: versions[0],
            max_version: versions[versions.len() - 1],
            resumption,
        });
    let resources = prop_oneof![
        Just(Resources::Absent),
        (1..u32::MAX).prop_map(Resources::Pid),
        url().prop_map(Resources::Prometheus),
    ];
    let metrics =
        (option::of(url()), btree_map(proptest::sample::select(crate::spec::METRICS), text(), 0..3));
    let http = prop_oneof![Just(Http::One), (1..=10_000_u32).prop_map(|streams| Http::Two { streams })];
    let names = (name(), vec(url(), 3), super::balancing::any());
    (names, process, chaos, resources, metrics, option::of(url()), (tls, http, any::<bool>())).prop_map(
        |(
            (name, mut urls, balancing),
            platform,
            chaos,
            resources,
            (metrics_url, metrics),
            health,
            (tls, http, keep_alive),
        )| Target {
            name,
            // Of a target with one URL there is nothing to say.
            balancing: if platform.as_ref().is_none_or(|names| names.len() > 1) {
                balancing
            } else {
                Balancing::default()
            },
            urls: {
                urls.truncate(platform.as_ref().map_or(2, Vec::len));
                urls
            },
            platform: platform.map(PlatformRef::Processes),
            chaos,
            // They exclude other parts of a plan; `tests::sockets` has their round trip.
            socket: None,
            proxy: None,
            resources,
            metrics: if metrics_url.is_some() {
                metrics.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
            } else {
                BTreeMap::new()
            },
            metrics_url,
            health,
            tls,
            http,
            keep_alive,
        },
    )
}

fn guest() -> impl Strategy<Value = GuestRef> {
    let digest = || "[0-9a-f]{64}".prop_map(|hex| format!("sha256:{hex}"));
    prop_oneof![
        ("[a-z-]{1,8}", option::of("[0-9]\\.[0-9]"))
            .prop_map(|(name, version)| GuestRef::Name { name, version }),
        digest().prop_map(GuestRef::Digest),
        ("(\\./)?[a-z]{1,5}\\.wasm", option::of(digest()))
            .prop_map(|(path, digest)| GuestRef::Path { path: PathBuf::from(path), digest }),
    ]
}

fn scenario(targets: Vec<String>) -> impl Strategy<Value = Scenario> {
    let count = targets.len();
    let targets = proptest::sample::subsequence(targets, 1..=count);
    let timeouts = (duration(), option::of(duration()));
    (name(), guest(), targets, rate(), object(json()), timeouts, any::<bool>()).prop_map(
        |(name, guest, targets, weight, config, (timeout, response_timeout), trial)| Scenario {
            name,
            guest,
            targets,
            weight,
            config: serde_json::Value::Object(config),
            timeout,
            response_timeout,
            trial,
        },
    )
}

fn threshold(scenarios: Vec<String>, targets: Vec<String>) -> impl Strategy<Value = Threshold> {
    let percentile = || (0..=1000_u32).prop_map(|n| f64::from(n) / 10.0);
    let micros = || duration().prop_map(|d| f64::from(u32::try_from(d.as_micros()).unwrap()));
    let measured = prop_oneof![
        (percentile(), micros()).prop_map(|(percentile, limit)| (Measure::Latency { percentile }, limit)),
        (percentile(), micros()).prop_map(|(percentile, limit)| (Measure::Service { percentile }, limit)),
        (percentile(), micros()).prop_map(|(percentile, limit)| (Measure::Queue { percentile }, limit)),
        micros().prop_map(|limit| (Measure::Mean, limit)),
        share().prop_map(|limit| (Measure::ErrorRate, limit)),
        share().prop_map(|limit| (Measure::Checks, limit)),
        rate().prop_map(|limit| (Measure::Throughput, limit)),
        rate().prop_map(|limit| (Measure::Goodput, limit)),
        any::<u32>().prop_map(|limit| (Measure::Dropped, f64::from(limit))),
        share().prop_map(|limit| (Measure::Achieved, limit)),
    ];
    let op = proptest::sample::select(vec![Op::Less, Op::LessOrEqual, Op::Greater, Op::GreaterOrEqual]);
    let names = (
        option::of(proptest::sample::select(scenarios)),
        option::of(text()),
        option::of(proptest::sample::select(targets)),
    );
    let delay = prop_oneof![Just(Duration::ZERO), duration()];
    (measured, op, option::of(duration()), any::<bool>(), delay, names).prop_map(
        |((measure, limit), op, over, abort, delay, (scenario, step, target))| Threshold {
            measure,
            op,
            limit,
            over,
            abort,
            delay,
            scenario,
            step,
            target,
        },
    )
}

fn arrivals() -> impl Strategy<Value = Arrivals> {
    prop_oneof![
        Just(Arrivals::Even),
        Just(Arrivals::Poisson),
        Just(Arrivals::Chaotic),
        (1..1000_u32).prop_map(|size| Arrivals::Burst { size }),
    ]
}

/// A model that fits the phase, with its ramp within `duration`.
fn model(name: PhaseName, duration: Duration) -> BoxedStrategy<LoadModel> {
    if name == PhaseName::Idle {
        return Just(LoadModel::None).boxed();
    }
    let ramp =
        move || (1..=100_u32).prop_map(move |part| (duration / 100 * part).max(Duration::from_nanos(1)));
    let open = prop_oneof![
        (rate(), arrivals()).prop_map(|(rate, arrivals)| LoadModel::Open {
            start_rate: rate,
            rate,
            ramp: Duration::ZERO,
            arrivals
        }),
        (rate(), 0.0..0.999_f64, ramp(), arrivals()).prop_map(|(rate, part, ramp, arrivals)| {
            LoadModel::Open { start_rate: rate * part, rate, ramp, arrivals }
        }),
    ];
    let closed = (2..10_000_u32, 0..2_u32, prop_oneof![Just(Duration::ZERO), ramp()], self::duration())
        .prop_map(|(users, start, ramp, think)| LoadModel::Closed {
            start_users: if ramp.is_zero() { users } else { start },
            users,
            ramp,
            think,
        });
    let walk =
        (0.0..1.0_f64, rate(), self::duration(), arrivals()).prop_map(|(part, ceiling, step, arrivals)| {
            LoadModel::Walk { floor: ceiling * part, ceiling, step, arrivals }
        });
    if name == PhaseName::Chaos {
        prop_oneof![open, closed, walk].boxed()
    } else {
        prop_oneof![open, closed].boxed()
    }
}

fn range() -> impl Strategy<Value = Option<Range>> {
    option::of((share(), share()).prop_map(|(a, b)| Range { min: a.min(b), max: a.max(b) }))
}

fn phase(name: PhaseName, scenarios: Vec<String>, targets: Vec<String>) -> impl Strategy<Value = Phase> {
    let levels = vec![LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    let on_failure = prop_oneof![
        Just(OnFailure::Continue),
        Just(OnFailure::Abort),
        duration().prop_map(|max| OnFailure::Hold { max }),
    ];
    let timed = duration().prop_flat_map(move |duration| (Just(duration), model(name, duration)));
    let config = btree_map(proptest::sample::select(scenarios.clone()), object(json()), 0..2);
    (
        timed,
        (1..10_000_u32, 1..10_000_u32, any::<u32>()),
        (range(), range(), share(), proptest::sample::select(levels)),
        vec(threshold(scenarios, targets), 0..3),
        config,
        vec(0.0..100.0_f64, 4),
        on_failure,
    )
        .prop_map(
            move |(
                (duration, model),
                counts,
                (cpu, memory, trace_sampling, log_level),
                thresholds,
                config,
                values,
                f,
            )| {
                let idle = model == LoadModel::None;
                Phase {
                    name,
                    duration,
                    model,
                    connections: if idle { 0 } else { counts.0 },
                    max_users: if idle { 0 } else { counts.1 },
                    max_waiting: if idle { 0 } else { u64::from(counts.2 % 1_000_000_000) },
                    cpu,
                    memory,
                    trace_sampling,
                    log_level,
                    thresholds,
                    scenario_config: config
                        .into_iter()
                        .map(|(k, v)| (k, serde_json::Value::Object(v)))
                        .collect(),
                    objectives: presets::objectives(name)
                        .iter()
                        .zip(values)
                        .map(|((key, _), value)| ((*key).to_owned(), value))
                        .collect(),
                    on_objective_failure: f,
                }
            },
        )
}

fn settings() -> impl Strategy<Value = (Load, Validity, Control, Report)> {
    let size = || prop_oneof![(1..100_000_u32), (1..4000_u32).prop_map(|n| n << 20)];
    let load = (
        option::of(1..64_u32),
        1..65_536_u32,
        vec(duration(), 5),
        vec(size(), 6),
        any::<u16>(),
        any::<bool>(),
    )
        .prop_map(|(threads, batch, durations, sizes, log_lines, io_uring)| Load {
            threads,
            batch,
            connect_timeout: durations[0],
            handshake_timeout: durations[4],
            connect_rate: 1 + sizes[0] % 1_000_000,
            interval: durations[1],
            grace: durations[2],
            guest: GuestLimits {
                call_deadline: durations[3],
                memory: sizes[0].into(),
                memory_per_user: sizes[1].into(),
                output: sizes[2].into(),
                log_lines: log_lines.into(),
            },
            max_head: sizes[3],
            max_body: sizes[4].into(),
            max_event: sizes[5],
            io_uring,
        });
    let validity = (vec(duration(), 2), vec(share(), 5), any::<u16>(), any::<bool>()).prop_map(
        |(durations, shares, traps, judge)| Validity {
            send_lag: durations[0],
            send_lag_share: shares[0],
            achieved: shares[1],
            short_seconds: shares[2],
            drops: shares[3],
            busy: shares[4],
            busy_for: durations[1],
            traps_per_minute: traps.into(),
            judge,
        },
    );
    let control = (any::<[bool; 2]>(), vec(duration(), 6), any::<u16>()).prop_map(
        |([validate, close], durations, port)| Control {
            validate,
            validate_timeout: durations[0],
            ramp_down: durations[1],
            probe_interval: durations[2],
            probe_timeout: durations[3],
            api: format!("127.0.0.1:{port}"),
            worker_timeout: durations[4],
            controller_lease: durations[5],
            scheduler_restart: if close { SchedulerRestart::Close } else { SchedulerRestart::Resume },
        },
    );
    let report =
        (text().prop_map(PathBuf::from), 0..1000_u32).prop_map(|(dir, slowest)| Report { dir, slowest });
    (load, validity, control, report)
}

fn plan() -> impl Strategy<Value = Plan> {
    let tier =
        option::of(proptest::sample::select(vec![Tier::Base, Tier::Stress, Tier::Chaos, Tier::Ultimate]));
    let scale = || 0.001..1000.0_f64;
    let phase_names = proptest::sample::subsequence(PhaseName::ALL.to_vec(), 1..=3);
    let parts = (btree_map(name(), process(), 0..3), phase_names)
        .prop_flat_map(|(processes, phases)| {
            let names: Vec<String> = processes.keys().cloned().collect();
            (Just(processes), Just(phases), vec(target(&names), 1..3))
        })
        .prop_flat_map(|(processes, phases, mut targets)| {
            targets.dedup_by(|a, b| a.name == b.name);
            if let [first, rest @ ..] = targets.as_mut_slice() {
                // A process runs one target.
                let shares =
                    |target: &&mut Target| target.instances().iter().any(|p| first.instances().contains(p));
                rest.iter_mut().filter(shares).for_each(|target| target.platform = None);
            }
            let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
            (Just(processes), Just(phases), Just(targets), vec(scenario(names), 1..3))
        })
        .prop_flat_map(|(processes, phases, targets, mut scenarios)| {
            scenarios.dedup_by(|a, b| a.name == b.name);
            let names: Vec<String> = scenarios.iter().map(|scenario| scenario.name.clone()).collect();
            let target_names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
            let phases: Vec<_> = phases
                .into_iter()
                .map(|name| phase(name, names.clone(), target_names.clone()).boxed())
                .collect();
            let run = vec(threshold(names, target_names), 0..3);
            (Just(processes), Just(targets), Just(scenarios), phases, run)
        });
    ((text(), 0..u64::MAX / 2, scale(), scale(), tier), parts, settings()).prop_map(
        |(
            (name, seed, time_scale, load_scale, tier),
            (processes, targets, scenarios, phases, thresholds),
            (load, validity, control, report),
        )| Plan {
            name,
            seed,
            time_scale,
            load_scale,
            tier,
            phases,
            processes,
            targets,
            scenarios,
            thresholds,
            chaos: Vec::new(),
            recovery: BTreeMap::new(),
            budgets: Budgets::default(),
            load,
            validity,
            control,
            report,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_printed_plan_reads_back(plan in plan()) {
        let printed = plan.to_toml();
        let read = parse(&printed).map_err(|problems| TestCaseError::fail(format!("{problems}\n\n{printed}")))?;
        prop_assert_eq!(read, plan, "{}", printed);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}|([a-z\\[\\].=\" {}\n0-9-]{0,80})") {
        let _ = crate::parse(&text, Path::new("x.toml"));
    }
}

#[test]
fn defaults_read_back() {
    let plan = parse(super::SMALLEST).unwrap();
    let printed = plan.to_toml();
    assert_eq!(parse(&printed).unwrap(), plan, "{printed}");
}
