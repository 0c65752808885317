//! Consumers that die, that are slow, and what the server's own memory of keys does for them.

use std::collections::BTreeMap;
use std::time::Duration;

use bus::{Bus, NatsOptions};
use protocol::v1::SampleBatch;
use tokio::task::JoinSet;

use super::users::{deployed, key, soon, until_async};

#[tokio::test]
async fn a_consumer_that_dies_before_it_acknowledged_is_followed_by_another() {
    const PRODUCERS: u8 = 3;
    const EACH: u64 = 60;
    let place = deployed();
    let (load, first, second) =
        (place.bus("load").await, place.bus("metrics").await, place.bus("metrics").await);
    let mut records = first.consume::<SampleBatch>("metrics").await.unwrap();
    let mut producers = JoinSet::new();
    for producer in 0..PRODUCERS {
        let load = load.clone();
        producers.spawn(async move {
            for sequence in 1..=EACH {
                load.record(&key(producer, sequence), &SampleBatch::default()).await.unwrap();
            }
        });
    }
    // What is applied stays, whichever life of the consumer did it.
    let mut applied: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
    let mut repeats = 0;
    let mut apply = |key: store::RecordKey| {
        let of_producer = applied.entry(key.producer[0]).or_default();
        if of_producer.contains(&key.sequence) {
            repeats += 1;
        } else {
            of_producer.push(key.sequence);
        }
    };
    for _ in 0..40 {
        let delivery = soon("a record", records.next()).await.unwrap();
        apply(delivery.key);
        delivery.ack().await.unwrap();
    }
    let unacknowledged = soon("a record", records.next()).await.unwrap();
    apply(unacknowledged.key);
    first.sever();
    soon("the end of the first life", async {
        while records.next().await.is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop((unacknowledged, records, first));
    producers.join_all().await;

    let mut records = second.consume::<SampleBatch>("metrics").await.unwrap();
    for _ in 40..u64::from(PRODUCERS) * EACH {
        let delivery = soon("a record of the second life", records.next()).await.unwrap();
        apply(delivery.key);
        delivery.ack().await.unwrap();
    }
    assert_eq!(repeats, 1);
    assert_eq!(applied.len(), usize::from(PRODUCERS));
    for (producer, sequences) in applied {
        assert!(sequences.iter().copied().eq(1..=EACH), "{producer}: {sequences:?}");
    }
}

#[tokio::test]
async fn a_key_is_refused_within_the_window_and_comes_twice_after_it() {
    const WINDOW: Duration = Duration::from_millis(400);
    let place = deployed();
    let short = |options: NatsOptions| NatsOptions { duplicate_window: WINDOW, ..options };
    let load = Bus::connect(short(place.options("load"))).await.unwrap();
    let metrics = Bus::connect(short(place.options("metrics"))).await.unwrap();
    let mut records = metrics.consume::<SampleBatch>("metrics").await.unwrap();
    let phase = |phase| SampleBatch { phase, ..Default::default() };
    // Both at once, well within the window.
    load.record(&key(1, 1), &phase(1)).await.unwrap();
    load.record(&key(1, 1), &phase(2)).await.unwrap();
    load.record(&key(1, 2), &phase(3)).await.unwrap();
    for expected in [1, 3] {
        let delivery = soon("a record", records.next()).await.unwrap();
        assert_eq!(delivery.body.phase, expected);
        delivery.ack().await.unwrap();
    }
    // The server forgets keys when the window is over, at some time.
    let again = until_async("the key to be taken again", async || {
        load.record(&key(1, 1), &phase(4)).await.unwrap();
        tokio::time::timeout(WINDOW / 4, records.next()).await.ok().flatten()
    })
    .await;
    assert_eq!((again.key, again.body.phase), (key(1, 1), 4));
    again.ack().await.unwrap();
}

#[tokio::test]
async fn a_slow_consumer_gets_each_record_once() {
    const RECORDS: u64 = 30;
    let place = deployed();
    let (load, metrics) = (place.bus("load").await, place.bus("metrics").await);
    let mut records = metrics.consume::<SampleBatch>("metrics").await.unwrap();
    for sequence in 1..=RECORDS {
        load.record(&key(1, sequence), &SampleBatch::default()).await.unwrap();
    }
    // All are fetched at once, and the last of them waits for five times the time after which it would come again.
    for sequence in 1..=RECORDS {
        let delivery = soon("a record", records.next()).await.unwrap();
        assert_eq!(delivery.key, key(1, sequence));
        tokio::time::sleep(Duration::from_millis(100)).await;
        delivery.ack().await.unwrap();
    }
    let more = tokio::time::timeout(place.options("metrics").ack_wait * 2, records.next()).await;
    assert!(more.is_err(), "a record came again: {more:?}");
}
