//! What ends faults before their time: a stop condition, a person, the phase, the service's end.

use bus::Address;
use platform::identity::Signal;
use protocol::event::Event;
use protocol::v1;
use service::{OnError, Shutdown, Tasks};

use crate::lab::{LONG, Lab, fault};
use crate::target::ask;

/// Metrics that see so many of a hundred operations fail.
async fn metrics(lab: &Lab, failed: u64) -> Tasks {
    let tasks = Tasks::new(Shutdown::new());
    let mut queries = lab.bus.serve::<v1::QueryAggregate>(Address::Service).await.unwrap();
    tasks.spawn("metrics", OnError::Log, async move {
        while let Some(request) = queries.next().await {
            assert_eq!((request.body.phase, request.body.target), (Some(1), Some(0)));
            assert!(request.body.window_ns <= 3_000_000_000, "{}", request.body.window_ns);
            let answered = 100 - failed;
            let total = v1::Series { answered, failed, good: answered, ..v1::Series::default() };
            let aggregate = v1::Aggregate { total: Some(total), to_offset_ns: 1, ..v1::Aggregate::default() };
            request.reply(Ok(aggregate));
        }
        Ok::<(), String>(())
    });
    tasks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_condition_ends_a_fault_and_what_would_come_of_it() {
    let lines = "times = 2\nstop = \"error_rate > 50%\"\nstop-over = \"3s\"";
    let lab = Lab::new(&fault("hangs", "pause", "", "12s", lines)).await;
    let _metrics = metrics(&lab, 61).await;
    lab.open().await;
    let (first, second) = in_order(&lab).await;
    // As if the phase had begun earlier: the first one is due now.
    let at_ms = i64::try_from(first.at_ms).unwrap();
    lab.begin_at(crate::lab::unix_ns() - at_ms * 1_000_000).await;
    lab.injected(&first.fault).await;
    let (how, _) = lab.ended(&first.fault).await;
    assert_eq!(how, "stop condition error_rate > 50% over 3s: seen 61%");
    assert_eq!(lab.end("").await.unrecovered, Vec::<String>::new());
    let why = lab.skipped(&second.fault).await;
    assert!(why.contains("its phase had ended") || why.contains("seen 61%"), "{why}");
    lab.close().await;
    lab.nothing_left().await;
}

async fn in_order(lab: &Lab) -> (protocol::faults::PlannedFault, protocol::faults::PlannedFault) {
    let planned = lab.told("FaultsPlanned", |event| matches!(event, Event::FaultsPlanned { .. })).await;
    let Event::FaultsPlanned { faults, .. } = planned else { unreachable!() };
    let [first, second] = faults.as_slice() else { panic!("{faults:?}") };
    (first.clone(), second.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_stop_condition_the_next_coming_is_skipped() {
    let faults =
        fault("busy", "pause", "", "1500ms", "times = 2\nstop = \"error_rate > 50%\"\nstop-over = \"3s\"");
    let lab = Lab::new(&faults).await;
    let _metrics = metrics(&lab, 100).await;
    lab.open().await;
    let (first, second) = in_order(&lab).await;
    // The second is due a second from now, after the first was tried by hand's reach: begun so late that only it is left.
    let at_ms = i64::try_from(first.at_ms).unwrap();
    lab.begin_at(crate::lab::unix_ns() - at_ms * 1_000_000).await;
    lab.ended(&first.fault).await;
    let wait = second.at_ms - first.at_ms;
    assert!(wait < 55_000, "{wait}");
    let why = lab.skipped(&second.fault).await;
    assert!(why.contains("stop condition error_rate > 50% over 3s"), "{why}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_condition_that_nobody_can_evaluate_ends_its_fault() {
    let lab = Lab::new(&fault("hangs", "pause", "100ms", "50s", "stop = \"error_rate > 50%\"")).await;
    lab.open().await;
    lab.begin().await;
    let (how, _) = lab.ended("hangs").await;
    assert!(how.starts_with("stop condition error_rate > 50% over 5s cannot be evaluated"), "{how}");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_that_does_not_hold_ends_nothing() {
    let lines = "stop = \"error_rate > 50%\"\nstop-over = \"3s\"";
    let lab = Lab::new(&fault("hangs", "pause", "100ms", "3s", lines)).await;
    let _metrics = metrics(&lab, 10).await;
    lab.open().await;
    lab.begin().await;
    assert_eq!(lab.ended("hangs").await.0, "its time is over");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_phase_ends_all_faults_and_skips_the_rest() {
    let faults = [
        fault("hangs", "pause", "100ms", "50s", ""),
        fault("busy", "cpu", "100ms", "50s", "cores = 1"),
        fault("slow", "latency", "100ms", "50s", "latency = \"10ms\""),
        fault("never", "memory", "50s", "5s", "size = \"1MiB\""),
    ];
    let lab = Lab::new(&faults.concat()).await;
    lab.open().await;
    lab.begin().await;
    for id in ["hangs", "busy", "slow"] {
        lab.injected(id).await;
    }
    let ended = lab.end("signal SIGINT").await;
    assert_eq!(ended.unrecovered, Vec::<String>::new());
    lab.nothing_left().await;
    for id in ["hangs", "busy", "slow"] {
        assert_eq!(lab.ended(id).await.0, "signal SIGINT");
    }
    assert_eq!(lab.skipped("never").await, "its phase had ended: signal SIGINT");
    assert_eq!(lab.end("again").await, ended);
    let told = u64::try_from(lab.events().len()).unwrap();
    assert_eq!(ended.last_sequence, told);
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_in_the_middle_of_chaos_leaves_nothing() {
    let faults = [
        fault("hangs", "pause", "100ms", "50s", ""),
        fault("busy", "cpu", "100ms", "50s", "cores = 1"),
        fault("slow", "latency", "100ms", "50s", "latency = \"10ms\""),
    ];
    let lab = Lab::new(&faults.concat()).await;
    let way = lab.open().await.detours[0].address.clone();
    lab.begin().await;
    for id in ["hangs", "busy", "slow"] {
        lab.injected(id).await;
    }
    let (agent, proxy) = (lab.helper("fault-agent").await, lab.helper("fault-proxy").await);
    lab.shutdown.trigger("signal SIGTERM");
    lab.chaos_ended().await;
    lab.nothing_left().await;
    assert!(!agent.is_alive().unwrap());
    // The run goes on, and with it the load.
    tokio::task::spawn_blocking(move || ask(&way, LONG)).await.unwrap().unwrap();
    proxy.open().unwrap().unwrap().signal(Signal::KILL).unwrap();
    for id in ["hangs", "busy", "slow"] {
        assert_eq!(lab.ended(id).await.0, "the chaos service ends: signal SIGTERM");
    }
}
