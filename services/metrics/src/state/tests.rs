//! Sums, seconds, windows and gaps.

use protocol::id::RunId;
use protocol::v1;
use series::Merged;
use store::RecordKey;

use super::progress::Ranges;
use super::*;
use crate::fixture::{KEYS, Worker, split, total_of};

fn add(run: &mut Run, (key, batch): (RecordKey, v1::SampleBatch)) {
    run.add(&Decoded::new(key, batch).unwrap());
}

fn ask(run: &Run, phase: Option<u32>, window: u64, filter: Filter) -> v1::Aggregate {
    match run.aggregate(phase, window * SECOND_NS, &filter) {
        Answer::Ready(stretch) => stretch.into_proto(b"run", &filter, None),
        Answer::FromStore { .. } => panic!("everything is in memory"),
    }
}

fn all() -> Filter {
    Filter::default()
}

fn total(aggregate: &v1::Aggregate) -> Merged {
    Merged::from_proto(aggregate.total.as_ref().unwrap()).unwrap()
}

#[test]
fn sums_of_workers_parts_and_orders_are_those_of_all_values() {
    let id = RunId::new();
    let (mut a, mut b) = (Worker::new(id, 1), Worker::new(id, 2));
    let mut batches = Vec::new();
    for second in 0..6 {
        batches.push(a.second(0, second, 40));
        batches.extend(split(b.second(0, second, 10 + second)));
    }
    // Out of order: the second half first, each half backwards.
    let (early, late) = batches.split_at(batches.len() / 2);
    let mut run = Run::new();
    for batch in late.iter().rev().chain(early.iter().rev()) {
        add(&mut run, batch.clone());
    }
    let mut in_order = Run::new();
    for batch in &batches {
        add(&mut in_order, batch.clone());
    }
    let (series, expected) = (run.series(0, b"run").unwrap(), in_order.series(0, b"run").unwrap());
    assert_eq!(series.series, expected.series);
    assert_eq!(series.seconds, expected.seconds);
    assert_eq!(series.total, expected.total);

    let aggregate = series.total.unwrap();
    assert_eq!(total(&aggregate), total_of(&[&a, &b]));
    for (one, key) in series.series.iter().zip(KEYS) {
        let mut truth = a.truth[&key].clone();
        truth.add(&b.truth[&key]);
        assert_eq!(*one, truth.to_proto(key.scenario, key.step, key.target));
    }
    let mut lag = a.lag.clone();
    lag.add(&b.lag);
    assert_eq!(aggregate.send_lag.unwrap(), lag.encode());
    let arrivals = aggregate.arrivals.unwrap();
    assert_eq!(arrivals.scheduled, arrivals.dropped + arrivals.started);
    assert_eq!((arrivals.dropped, arrivals.waiting, arrivals.in_flight), (12, 4, 8));
    assert_eq!((aggregate.connections_open, aggregate.users_active), (10, 14));
    assert!(
        (aggregate.wanted_rate - arrivals.scheduled as f64 / 6.0).abs() < 0.1,
        "{}",
        aggregate.wanted_rate
    );
    let threads: Vec<_> = series.threads.iter().map(|t| (t.connects, t.guest_calls, t.busy)).collect();
    assert_eq!(threads, [(6, 18, 0.25), (6, 18, 0.25)]);

    // What each worker counted makes up the whole.
    assert_eq!(series.workers, expected.workers);
    let sum = |count: fn(&v1::ArrivalCounts) -> u64| -> u64 {
        series.workers.iter().map(|worker| count(worker.arrivals.as_ref().unwrap())).sum()
    };
    assert_eq!((sum(|n| n.scheduled), sum(|n| n.started)), (arrivals.scheduled, arrivals.started));
    assert_eq!((sum(|n| n.waiting), sum(|n| n.in_flight)), (arrivals.waiting, arrivals.in_flight));
    let mut lags: Vec<_> = series.workers.iter().map(|worker| worker.send_lag.clone().unwrap()).collect();
    let mut truth = [a.lag.encode(), b.lag.encode()];
    lags.sort_by(|x, y| x.v2_deflate.cmp(&y.v2_deflate));
    truth.sort_by(|x, y| x.v2_deflate.cmp(&y.v2_deflate));
    assert_eq!(lags, truth);
}

#[test]
fn what_a_dead_life_of_a_worker_was_at_is_not_forgotten_for_the_next() {
    let mut worker = Worker::new(RunId::new(), 1);
    let mut run = Run::new();
    add(&mut run, worker.second(0, 0, 10));
    worker.next_life();
    add(&mut run, worker.second(0, 1, 10));
    let counts = ask(&run, Some(0), 0, all()).arrivals.unwrap();
    assert_eq!((counts.waiting, counts.in_flight), (4, 8));
}

#[test]
fn seconds_show_what_was_recorded_in_them() {
    let mut worker = Worker::new(RunId::new(), 3);
    let mut run = Run::new();
    let mut truths = Vec::new();
    for second in 0..200 {
        let batch = worker.second(0, second, 5);
        let mut truth = Merged::new();
        batch.1.series.iter().for_each(|series| truth.add_proto(series).unwrap());
        truths.push(truth);
        add(&mut run, batch);
    }
    let series = run.series(0, b"run").unwrap();
    assert_eq!(series.seconds.len(), 200);
    for (second, truth) in series.seconds.iter().zip(&truths) {
        assert_eq!(second.latency_us, truth.latency.percentiles(&[50.0, 90.0, 95.0, 99.0, 99.9, 100.0]));
        assert_eq!(second.latency_us[5], truth.latency.max().unwrap());
        assert_eq!(second.errors, truth.error_count() + 1);
        assert_eq!(second.good, truth.counts.good);
        assert_eq!(second.length_ns, SECOND_NS);
        assert_eq!(second.arrivals.unwrap().scheduled, 19);
        assert!((second.wanted_rate - 19.0).abs() < 1e-9);
        assert!(second.send_lag_p99_ns >= 20_000);
        assert_eq!((second.users_active, second.connections_open), (7, 5));
    }
}

#[test]
fn windows_are_the_last_seconds_and_filters_their_series() {
    let mut worker = Worker::new(RunId::new(), 4);
    let mut run = Run::new();
    for second in 0..20 {
        add(&mut run, worker.second(0, second, 100));
    }
    worker.truth.clear();
    for second in 20..30 {
        add(&mut run, worker.second(0, second, 10));
    }
    let window = ask(&run, Some(0), 10, all());
    assert_eq!(total(&window), worker.total());
    assert_eq!(window.arrivals.unwrap().scheduled, 10 * 34);
    assert!((window.to_offset_ns - window.from_offset_ns).abs_diff(10 * SECOND_NS) < 10_000_000);
    assert!((window.wanted_rate - 34.0).abs() < 0.1);

    let step = Filter { scenario: Some(0), step: Some(1), target: None };
    let filtered = ask(&run, Some(0), 10, step);
    assert_eq!(total(&filtered), worker.truth[&KEYS[1]]);
    // Dropped arrivals of the scenario count for each of its steps.
    assert_eq!(filtered.arrivals.unwrap().dropped, 10);
    let other = Filter { scenario: Some(1), ..all() };
    assert_eq!(ask(&run, Some(0), 10, other).arrivals.unwrap().dropped, 0);

    let whole = ask(&run, None, 0, all());
    assert_eq!(whole.arrivals.unwrap().scheduled, 20 * 304 + 10 * 34);
    assert_eq!(ask(&run, Some(0), 1_000, all()).arrivals, whole.arrivals);
    assert_eq!(ask(&run, Some(7), 10, all()).arrivals, Some(v1::ArrivalCounts::default()));
}

#[test]
fn drops_that_no_series_claims_count_for_every_scenario() {
    let mut worker = Worker::new(RunId::new(), 5);
    let mut run = Run::new();
    let (key, mut batch) = worker.second(0, 0, 10);
    batch.arrivals.as_mut().unwrap().dropped = 5;
    add(&mut run, (key, batch));
    let scenario = |scenario| Filter { scenario: Some(scenario), ..all() };
    assert_eq!(ask(&run, Some(0), 0, scenario(0)).arrivals.unwrap().dropped, 5);
    assert_eq!(ask(&run, Some(0), 0, scenario(1)).arrivals.unwrap().dropped, 4);
    assert_eq!(ask(&run, Some(0), 5, scenario(1)).arrivals.unwrap().dropped, 4);
}

#[test]
fn a_window_over_the_run_goes_on_in_the_phase_before() {
    let mut worker = Worker::new(RunId::new(), 6);
    let mut run = Run::new();
    run.mark(0, 1_000);
    for second in 0..5 {
        add(&mut run, worker.second(0, second, 10));
    }
    worker.truth.clear();
    for second in 5..8 {
        add(&mut run, worker.second(0, second, 20));
    }
    // Closed sums are opened again when something comes late.
    run.mark(1, 2_000);
    add(&mut run, worker.second(0, 8, 20));
    for second in 0..4 {
        add(&mut run, worker.second(1, second, 30));
    }
    let window = ask(&run, None, 8, all());
    assert_eq!(total(&window), worker.total());
    assert_eq!((window.phase, window.from_offset_ns), (1, 0));
    assert!(window.to_offset_ns.abs_diff(8 * SECOND_NS) < 20_000_000);
    assert_eq!(window.arrivals.unwrap().in_flight, 4);
    assert_eq!(run.bounds(0), Some((1_000, 2_000)));
    assert_eq!(run.bounds(1), Some((2_000, i64::MAX)));
}

#[test]
fn a_second_is_complete_when_all_workers_told_of_it() {
    let id = RunId::new();
    let (mut a, mut b) = (Worker::new(id, 7), Worker::new(id, 8));
    let mut phase = Phase::new(0, 120);
    let mut add = |worker: &mut Worker, second, last| {
        let (key, mut batch) = worker.second(0, second, 3);
        batch.last = last;
        phase.add(&Decoded::new(key, batch).unwrap());
        (phase.newest_row(), phase.complete_row())
    };
    assert_eq!(add(&mut a, 0, false), (Some(0), Some(0)));
    assert_eq!(add(&mut a, 1, false), (Some(1), Some(1)));
    assert_eq!(add(&mut b, 0, false), (Some(0), Some(0)));
    assert_eq!(add(&mut b, 1, true), (Some(1), Some(1)));
    // b has ended: nobody waits for it.
    assert_eq!(add(&mut a, 2, false), (Some(2), Some(2)));
}

#[test]
fn memory_is_bounded_and_late_parts_are_not_lost() {
    let mut worker = Worker::new(RunId::new(), 9);
    let mut run = Run::new();
    let mut late = None;
    let mut stored = Vec::new();
    for second in 0..300 {
        let batch = worker.second(0, second, 2);
        stored.push(batch.clone());
        if second == 10 { late = Some(batch) } else { add(&mut run, batch) }
    }
    let filter = all();
    // 120 seconds are kept.
    assert!(matches!(run.aggregate(Some(0), 100 * SECOND_NS, &filter), Answer::Ready(_)));
    let Answer::FromStore { phase: 0, from_row } = run.aggregate(Some(0), 200 * SECOND_NS, &filter) else {
        panic!("older seconds were to be given back")
    };
    assert_eq!(from_row, 100);
    assert!(run.take_stale(0).is_empty());
    // Second 10 was never there, so it is a new row; a second part of it comes too late for its window.
    add(&mut run, late.unwrap());
    let (key, batch) = worker.second(0, 11, 50);
    stored.push((key, batch.clone()));
    add(&mut run, (key, batch));
    let stale = run.take_stale(0);
    assert_eq!(stale.into_iter().collect::<Vec<_>>(), [11]);

    let of_11: Vec<_> = stored.iter().filter(|(_, batch)| row_of(batch) == 11).cloned().collect();
    assert_eq!(of_11.len(), 2);
    run.restore(0, of_11, Some(&[11].into()));
    let series = run.series(0, b"run").unwrap();
    assert_eq!(series.seconds[11].arrivals.unwrap().scheduled, 10 + 154);
    assert_eq!(series.seconds.len(), 300);
    let sum: u64 = series.seconds.iter().map(|second| second.arrivals.unwrap().scheduled).sum();
    let aggregate = series.total.unwrap();
    assert_eq!(aggregate.arrivals.unwrap().scheduled, sum);
    assert_eq!(total(&aggregate), worker.total());

    let from_100: Vec<_> = stored.iter().filter(|(_, batch)| row_of(batch) >= 100).cloned().collect();
    run.restore(0, from_100, None);
    let window = ask(&run, Some(0), 200, all());
    assert_eq!(window.arrivals.unwrap().scheduled, 200 * 10);
}

#[test]
fn gaps_name_the_worker_and_what_is_missing() {
    let id = RunId::new();
    let mut worker = Worker::new(id, 10);
    let mut run = Run::new();
    add(&mut run, worker.second(0, 0, 1));
    worker.skip();
    add(&mut run, worker.second(0, 2, 1));
    worker.skip();
    worker.skip();
    let mut parts = split(worker.second(0, 5, 1));
    parts.remove(1);
    parts.into_iter().for_each(|part| add(&mut run, part));
    let gaps = run.series(0, b"run").unwrap().gaps;
    assert_eq!(gaps.len(), 4, "{gaps:#?}");
    assert!(gaps[0].ends_with(": batch 2 is missing"), "{gaps:#?}");
    assert!(gaps[1].ends_with(": batches 4 to 5 are missing"), "{gaps:#?}");
    assert!(gaps[2].ends_with(": batch 6 lacks part 1 of 3"), "{gaps:#?}");
    assert!(gaps[3].ends_with(": its last batch of the phase did not come"), "{gaps:#?}");

    // The numbers between two phases may have a hole.
    let mut worker = Worker::new(id, 11);
    let mut run = Run::new();
    for phase in 0..2 {
        for second in 0..2 {
            let (key, mut batch) = worker.second(phase, second, 1);
            batch.last = second == 1;
            add(&mut run, (key, batch));
        }
        worker.skip();
    }
    for phase in 0..2 {
        let series = run.series(phase, b"run").unwrap();
        assert_eq!(series.gaps, Vec::<String>::new());
        let workers: Vec<_> = series.workers.iter().map(|w| (w.last_sequence, w.last, w.batches)).collect();
        assert_eq!(workers, [(if phase == 0 { 2 } else { 5 }, true, 2)]);
    }
}

#[test]
fn merged_intervals_are_counted_once_a_batch() {
    let mut worker = Worker::new(RunId::new(), 13);
    let mut run = Run::new();
    for (second, merged) in [(0, 1), (1, 4), (5, 1)] {
        let (key, mut batch) = worker.second(0, second, 3);
        batch.merged_intervals = merged;
        split((key, batch)).into_iter().for_each(|part| add(&mut run, part));
    }
    // An older worker does not say.
    add(&mut run, worker.second(0, 6, 3));
    assert_eq!(run.series(0, b"run").unwrap().merged_intervals, 3);
}

#[test]
fn a_damaged_batch_is_a_gap() {
    let mut worker = Worker::new(RunId::new(), 12);
    let (key, mut batch) = worker.second(0, 0, 3);
    batch.series[1].latency.as_mut().unwrap().v2_deflate.truncate(5);
    let error = Decoded::new(key, batch).unwrap_err();
    let mut run = Run::new();
    run.note_damaged(0, &key, &error);
    let gaps = run.series(0, b"run").unwrap().gaps;
    assert!(
        gaps[0].contains("batch 1 part 0 cannot be read: histogram `latency` of series (scenario 0, step 1"),
        "{gaps:?}"
    );
}

#[test]
fn ranges_join() {
    let mut ranges = Ranges::default();
    for number in [5, 1, 2, 9, 7, 6, 2, 8] {
        ranges.insert(number);
    }
    assert_eq!(ranges.holes().collect::<Vec<_>>(), [(3, 4)]);
    assert_eq!(ranges.last(), Some(9));
    ranges.insert(u64::MAX);
    assert_eq!(ranges.holes().last(), Some((10, u64::MAX - 1)));
}
