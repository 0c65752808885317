//! A server that goes away in the middle of everything and comes back: killed, or frozen.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::{Address, Bus, BusError, NatsOptions, RecordError, Records};
use protocol::v1::{Ack, Heartbeat, SampleBatch, StartPhase};
use tokio::task::JoinSet;

use super::users::{Deployed, LONG, deployed, key, soon, until};

const PRODUCERS: u8 = 3;
const EACH: u64 = 100;

/// What a consumer has seen: sequences by producer, in the order of their arrival, and how often records came in all.
#[derive(Default)]
struct Applied {
    keys: HashSet<(u8, u64)>,
    order: BTreeMap<u8, Vec<u64>>,
    deliveries: usize,
}

impl Applied {
    /// Consumes until everything that is to come has come. A repeat has no effect.
    async fn all(mut self, records: &mut Records<SampleBatch>, seen: &AtomicU64) -> Self {
        while self.keys.len() < usize::from(PRODUCERS) * EACH as usize {
            let delivery = soon("a record", records.next()).await.unwrap();
            self.deliveries += 1;
            let (producer, sequence) = (delivery.key.producer[0], delivery.key.sequence);
            if self.keys.insert((producer, sequence)) {
                self.order.entry(producer).or_default().push(sequence);
                seen.fetch_add(1, Ordering::Relaxed);
            }
            delivery.ack().await.unwrap();
        }
        self
    }
}

/// Appends until it is in the log, however long that takes.
async fn append(bus: &Bus, producer: u8, sequence: u64) {
    let insist = async {
        while bus.record(&key(producer, sequence), &SampleBatch::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("an append", insist).await;
}

async fn answer_one(bus: &Bus, asker: &Bus) {
    let to = Address::Instance("w1".to_owned());
    let mut requests = bus.serve::<StartPhase>(to.clone()).await.unwrap();
    let served = async { soon("a command", requests.next()).await.unwrap().reply(Ok(Ack {})) };
    let command = StartPhase::default();
    let (asked, ()) = tokio::join!(asker.command(&to, &command, LONG), served);
    asked.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_loses_no_record() {
    let mut place = deployed();
    let (load, metrics, scheduler) =
        (place.bus("load").await, place.bus("metrics").await, place.bus("scheduler").await);
    let mut heartbeats = scheduler.subscribe::<Heartbeat>().await.unwrap();
    let mut requests = load.serve::<StartPhase>(Address::Service).await.unwrap();
    let mut records = metrics.consume::<SampleBatch>("metrics").await.unwrap();
    let (appended, applied) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let (load, appended, applied) = (load.clone(), Arc::clone(&appended), Arc::clone(&applied));
        producers.spawn(async move {
            for sequence in 1..=EACH {
                append(&load, producer, sequence).await;
                appended.fetch_add(1, Ordering::Relaxed);
                // So that they are not done before the server is killed.
                until("the consumer to keep up", || {
                    appended.load(Ordering::Relaxed) < applied.load(Ordering::Relaxed) + 30
                })
                .await;
            }
        });
    }
    let seen = Arc::clone(&applied);
    let mut consumer = JoinSet::new();
    consumer.spawn(async move { Applied::default().all(&mut records, &seen).await });

    until("a third of the records", || applied.load(Ordering::Relaxed) >= EACH).await;
    tokio::task::block_in_place(|| place.server.kill());
    let all = [&load, &metrics, &scheduler];
    until("all to notice", || all.iter().all(|bus| !bus.is_connected())).await;
    assert!(
        appended.load(Ordering::Relaxed) < u64::from(PRODUCERS) * EACH,
        "killed too late to tell anything"
    );
    // A producer learns at once that it must keep its records; a broadcast is lost.
    let asked = Instant::now();
    let refused = load.record(&key(9, 1), &SampleBatch::default()).await;
    assert!(matches!(refused, Err(RecordError::Bus(BusError::Lost { .. }))), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    load.broadcast(&Heartbeat::default()).await.unwrap();
    tokio::task::block_in_place(|| place.server.start_again());
    let back = Instant::now();

    producers.join_all().await;
    let applied = soon("every record", consumer.join_next()).await.unwrap().unwrap();
    assert!(back.elapsed() < Duration::from_secs(8), "everything works again after {:?}", back.elapsed());
    for (producer, order) in &applied.order {
        assert!(order.iter().copied().eq(1..=EACH), "{producer}: {order:?}");
    }
    assert!(applied.deliveries >= applied.keys.len());
    assert!(all.iter().all(|bus| bus.is_connected()));

    // What was subscribed and served before is so still.
    let served = async { soon("a command", requests.next()).await.unwrap().reply(Ok(Ack {})) };
    let command = StartPhase::default();
    let (asked, ()) = tokio::join!(scheduler.command(&Address::Service, &command, LONG), served);
    asked.unwrap();
    load.broadcast(&Heartbeat { load_threads: 7, ..Default::default() }).await.unwrap();
    assert_eq!(soon("a broadcast", heartbeats.next()).await.unwrap().load_threads, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_log_is_kept_over_a_restart_and_takes_again_afterwards() {
    let mut place = deployed();
    let small = |options: NatsOptions| NatsOptions { max_log_bytes: 100_000, ..options };
    let load = Bus::connect(small(place.options("load"))).await.unwrap();
    let metrics = Bus::connect(small(place.options("metrics"))).await.unwrap();
    let large = SampleBatch { run: vec![7; 16], worker: vec![1; 9000], ..Default::default() };
    let mut last = 0;
    let full = loop {
        match load.record(&key(1, last + 1), &large).await {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, RecordError::Full { max_bytes: 100_000, .. }), "{full}");
    assert!((5..12).contains(&last), "{last}");
    restart(&mut place, &[&load, &metrics]).await;
    let full = load.record(&key(1, last + 1), &large).await;
    assert!(matches!(full, Err(RecordError::Full { .. })), "{full:?}");
    let mut records = metrics.consume::<SampleBatch>("metrics").await.unwrap();
    for sequence in 1..=last {
        let delivery = soon("what was kept", records.next()).await.unwrap();
        assert_eq!((delivery.key, &delivery.body), (key(1, sequence), &large));
        delivery.ack().await.unwrap();
    }
    load.record(&key(1, last + 1), &large).await.unwrap();
    assert_eq!(soon("what came after", records.next()).await.unwrap().key, key(1, last + 1));
}

/// Kills the server and starts it again, and waits until all are connected.
async fn restart(place: &mut Deployed, all: &[&Bus]) {
    tokio::task::block_in_place(|| place.server.kill());
    until("all to notice", || all.iter().all(|bus| !bus.is_connected())).await;
    tokio::task::block_in_place(|| place.server.start_again());
    until("all to be back", || all.iter().all(|bus| bus.is_connected())).await;
}

#[tokio::test]
async fn a_server_that_is_frozen_is_noticed_and_used_again() {
    const FROZEN: Duration = Duration::from_secs(4);
    let place = deployed();
    let quick = |options: NatsOptions| NatsOptions { ack_timeout: Duration::from_secs(1), ..options };
    let load = Bus::connect(quick(place.options("load"))).await.unwrap();
    let metrics = Bus::connect(quick(place.options("metrics"))).await.unwrap();
    let scheduler = Bus::connect(quick(place.options("scheduler"))).await.unwrap();
    let mut records = metrics.consume::<SampleBatch>("metrics").await.unwrap();
    load.record(&key(1, 1), &SampleBatch::default()).await.unwrap();
    soon("a record", records.next()).await.unwrap().ack().await.unwrap();

    place.server.freeze(true);
    let frozen = Instant::now();
    let cut_off = load.round_trip(Duration::from_millis(300)).await;
    assert!(matches!(cut_off, Err(BusError::Lost { .. })), "{cut_off:?}");
    assert!(frozen.elapsed() < FROZEN, "{:?}", frozen.elapsed());
    let asked = Instant::now();
    let unsure = load.record(&key(1, 2), &SampleBatch::default()).await;
    assert!(matches!(unsure, Err(RecordError::Bus(BusError::Lost { .. }))), "{unsure:?}");
    assert!(asked.elapsed() < FROZEN, "{:?}", asked.elapsed());
    // Also a log that was not used yet.
    let asked = Instant::now();
    let unsure = load.record(&key(1, 1), &protocol::v1::GuestFault::default()).await;
    assert!(matches!(unsure, Err(RecordError::Bus(BusError::Lost { .. }))), "{unsure:?}");
    assert!(asked.elapsed() < FROZEN, "{:?}", asked.elapsed());
    tokio::time::sleep(FROZEN.saturating_sub(frozen.elapsed())).await;
    place.server.freeze(false);

    for sequence in 2..=20 {
        append(&load, 1, sequence).await;
    }
    for sequence in 2..=20 {
        let delivery = soon("a record", records.next()).await.unwrap();
        assert_eq!(delivery.key, key(1, sequence));
        delivery.ack().await.unwrap();
    }
    append(&load, 1, 21).await;
    for bus in [&load, &metrics, &scheduler] {
        soon("a round trip", async { while bus.round_trip(Duration::from_secs(1)).await.is_err() {} }).await;
    }
    answer_one(&load, &scheduler).await;
}
