//! Samples: applied once, whatever happens on the way.

use prost::Message as _;
use protocol::id::RunId;
use protocol::v1;
use series::Merged;
use store::RecordKey;

use super::suite::{Suite, Target, until};
use crate::fixture::{Worker, split, total_of};

fn total(aggregate: Option<&v1::Aggregate>) -> Merged {
    Merged::from_proto(aggregate.unwrap().total.as_ref().unwrap()).unwrap()
}

#[tokio::test]
async fn samples_count_once_in_any_order_and_after_a_restart() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    suite.watch(run, &target.plan(""), Vec::new()).await;
    suite.mark(run, 0).await;
    suite.mark(run, 1).await;
    let (mut a, mut b) = (Worker::new(run, 1), Worker::new(run, 2));
    let mut parts = Vec::new();
    for second in 0..4 {
        parts.extend(split(a.second(1, second, 30)));
        parts.push(b.second(1, second, 20));
    }
    parts.reverse();
    for part in &parts {
        suite.record(part).await;
        suite.record(part).await;
    }
    let before = suite.phase_with(run, 1, 8).await;
    assert_eq!(total(before.total.as_ref()), total_of(&[&a, &b]));
    assert_eq!(before.seconds.len(), 4);

    // A record that is delivered again although it was applied: the log has forgotten it, the samples have not.
    for (key, batch) in &parts {
        let applied = suite.store.apply_sample(run, 1, key, batch.encode_to_vec()).await.unwrap();
        assert!(!applied);
        suite.record(&(*key, batch.clone())).await;
    }
    let marker = b.second(1, 4, 1);
    suite.record(&marker).await;
    let before = suite.phase_with(run, 1, 9).await;
    assert_eq!(total(before.total.as_ref()), total_of(&[&a, &b]));

    let suite = suite.restart().await;
    let mut after = suite.phase(run, 1).await;
    // Probes go on meanwhile.
    after.targets.clone_from(&before.targets);
    assert_eq!(after, before);
    // And more may come.
    suite.record(&a.second(1, 4, 5)).await;
    let more = suite.phase_with(run, 1, 10).await;
    assert_eq!(total(more.total.as_ref()), total_of(&[&a, &b]));
}

#[tokio::test]
async fn windows_beyond_memory_come_from_the_store() {
    let suite = Suite::start().await;
    let run = RunId::new();
    let mut worker = Worker::new(run, 3);
    let batches: Vec<_> = (0..140).map(|second| worker.second(0, second, 1)).collect();
    for batch in &batches {
        suite.record(batch).await;
    }
    suite.phase_with(run, 0, 140).await;
    let ask = async |seconds: u64| {
        let window_ns = seconds * 1_000_000_000;
        let query =
            v1::QueryAggregate { run: run.to_bytes(), phase: Some(0), window_ns, ..Default::default() };
        suite.ask(query).await.unwrap()
    };
    for seconds in [10, 130, 135, 10, 140] {
        let aggregate = ask(seconds).await;
        assert_eq!(aggregate.arrivals.unwrap().scheduled, 7 * seconds, "{seconds} s");
        assert_eq!(ask(seconds).await, aggregate);
    }
    assert_eq!(total(Some(&ask(140).await)), worker.total());
}

#[tokio::test]
async fn a_scenario_gets_its_share_of_the_wanted_rate() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    suite.watch(run, &target.plan(""), Vec::new()).await;
    let mut worker = Worker::new(run, 4);
    suite.record(&worker.second(0, 0, 9)).await;
    suite.phase_with(run, 0, 1).await;
    let query = v1::QueryAggregate { run: run.to_bytes(), scenario: Some(0), ..Default::default() };
    // 31 wanted, of which three in four are the first scenario's.
    assert!((suite.ask(query).await.unwrap().wanted_rate - 31.0 * 0.75).abs() < 1e-9);
    let query = v1::QueryAggregate { run: run.to_bytes(), step: Some(0), ..Default::default() };
    assert!(suite.ask(query).await.unwrap().wanted_rate.abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_damaged_batch_is_listed_and_keeps_nothing_waiting() {
    let suite = Suite::start().await;
    let run = RunId::new();
    let mut worker = Worker::new(run, 5);
    let (key, mut batch) = worker.second(0, 0, 3);
    batch.series[0].queue.as_mut().unwrap().v2_deflate = vec![1, 2, 3];
    suite.record(&(key, batch)).await;
    // Neither does a record of no run.
    let (key, batch) = worker.second(0, 1, 3);
    suite.record(&(RecordKey { part: 7, ..key }, v1::SampleBatch { run: vec![1], ..batch.clone() })).await;
    suite.record(&(key, batch)).await;
    let series = suite.phase_with(run, 0, 1).await;
    assert!(series.gaps[0].contains("batch 1 part 0 cannot be read"), "{:?}", series.gaps);
    let suite = suite.restart().await;
    assert_eq!(suite.phase(run, 0).await.gaps, series.gaps);
}

#[tokio::test]
async fn guest_faults_count_once_and_beside_samples_of_the_same_number() {
    let suite = Suite::start().await;
    let target = Target::start().await;
    let run = RunId::new();
    suite.watch(run, &target.plan(""), Vec::new()).await;
    let mut worker = Worker::new(run, 6);
    let batch = worker.second(0, 0, 3);
    let fault = v1::GuestFault { run: run.to_bytes(), kind: "trap".into(), ..Default::default() };
    for _ in 0..2 {
        suite.bus.record(&batch.0, &fault).await.unwrap();
        suite.record(&batch).await;
    }
    suite.phase_with(run, 0, 1).await;
    let shown =
        |text: String| text.contains("gauntlet_guest_faults_total{scenario=\"buy\",kind=\"trap\"} 1\n");
    until("the fault is shown", async || shown(super::exposition::scrape(&suite).await).then_some(())).await;
    let suite = suite.restart().await;
    assert!(shown(super::exposition::scrape(&suite).await));
}
