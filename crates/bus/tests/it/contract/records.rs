use std::collections::BTreeMap;

use bus::{RecordError, Records};
use protocol::v1::{GuestFault, SampleBatch};

use super::*;

fn batch(phase: u32) -> SampleBatch {
    SampleBatch { phase, run: vec![7; 16], ..Default::default() }
}

/// Appends records 1 to `last` of producer 1, each with its number as its phase.
async fn append(bus: &Bus, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        bus.record(&key(1, number.into()), &batch(number)).await.unwrap();
    }
}

/// The phase of the next record, which is acknowledged.
async fn take(records: &mut Records<SampleBatch>) -> u32 {
    let delivery = soon(records.next()).await.unwrap();
    let phase = delivery.body.phase;
    delivery.ack().await.unwrap();
    phase
}

pub(crate) async fn records_of_each_producer_arrive_in_its_order(Setup { bus, .. }: Setup) {
    const EACH: u64 = 40;
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    let mut producers = tokio::task::JoinSet::new();
    for producer in 1..=4 {
        let bus = bus.clone();
        producers.spawn(async move {
            for sequence in 1..=EACH {
                bus.record(&key(producer, sequence), &batch(sequence as u32)).await.unwrap();
            }
        });
    }
    let mut last: BTreeMap<[u8; 16], u64> = BTreeMap::new();
    for _ in 0..4 * EACH {
        let delivery = soon(records.next()).await.unwrap();
        let last = last.entry(delivery.key.producer).or_default();
        assert_eq!(delivery.key.sequence, *last + 1);
        assert_eq!(u64::from(delivery.body.phase), *last + 1, "key and body belong together");
        *last += 1;
        delivery.ack().await.unwrap();
    }
    producers.join_all().await;
    nothing(records.next()).await;
}

pub(crate) async fn each_consumer_gets_every_record(Setup { bus, .. }: Setup) {
    let mut metrics = bus.consume::<SampleBatch>("metrics").await.unwrap();
    let mut archive = bus.consume::<SampleBatch>("archive").await.unwrap();
    let mut faults = bus.consume::<GuestFault>("metrics").await.unwrap();
    append(&bus, 1..=3).await;
    for number in 1..=3 {
        assert_eq!(take(&mut metrics).await, number);
        assert_eq!(take(&mut archive).await, number);
    }
    nothing(faults.next()).await;
}

pub(crate) async fn streams_of_one_consumer_share_its_records(Setup { bus, .. }: Setup) {
    let mut first = bus.consume::<SampleBatch>("metrics").await.unwrap();
    let mut second = bus.consume::<SampleBatch>("metrics").await.unwrap();
    append(&bus, 1..=2).await;
    let one = soon(first.next()).await.unwrap();
    let other = soon(second.next()).await.unwrap();
    assert_ne!(one.key, other.key);
    nothing(first.next()).await;
    // What one gives back, either may get.
    let key = one.key;
    drop(one);
    assert_eq!(soon(second.next()).await.unwrap().key, key);
}

pub(crate) async fn streams_begun_at_once_leave_no_record_behind(Setup { bus, .. }: Setup) {
    // More than any transport reads ahead.
    const ALL: u32 = 200;
    let begin = || bus.consume::<SampleBatch>("metrics");
    let (one, other) = tokio::join!(begin(), begin());
    let (mut one, _other) = (one.unwrap(), other.unwrap());
    append(&bus, 1..=ALL).await;
    // One of them asks for nothing, so everything is the other's.
    for number in 1..=ALL {
        assert_eq!(take(&mut one).await, number);
    }
}

pub(crate) async fn records_that_are_here_come_together(Setup { bus, again }: Setup) {
    const ALL: u32 = 20;
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    append(&bus, 1..=ALL).await;
    let phases = |batch: &[bus::Delivery<SampleBatch>]| -> Vec<u32> {
        batch.iter().map(|delivery| delivery.body.phase).collect()
    };
    // Dropped without an acknowledgement, they come again in their order.
    let dropped = soon(records.next_batch(3)).await.unwrap();
    assert_eq!(phases(&dropped)[0], 1);
    drop(dropped);
    let mut seen = 0;
    while seen < ALL / 2 {
        let batch = soon(records.next_batch(3)).await.unwrap();
        assert!((1..=3).contains(&batch.len()), "{}", batch.len());
        for phase in phases(&batch) {
            seen += 1;
            assert_eq!(phase, seen);
        }
        bus::Delivery::ack_all(batch).await.unwrap();
    }
    // What was acknowledged together does not come again to another life.
    let bus_of_next_life = again();
    let mut records = bus_of_next_life.consume::<SampleBatch>("metrics").await.unwrap();
    for number in seen + 1..=ALL {
        assert_eq!(take(&mut records).await, number);
    }
    nothing(records.next()).await;
}

pub(crate) async fn a_record_with_the_same_key_is_appended_once(Setup { bus, .. }: Setup) {
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    for _ in 0..3 {
        bus.record(&key(1, 1), &batch(1)).await.unwrap();
    }
    bus.record(&RecordKey { part: 1, ..key(1, 1) }, &batch(2)).await.unwrap();
    assert_eq!(take(&mut records).await, 1);
    assert_eq!(take(&mut records).await, 2);
    nothing(records.next()).await;
}

pub(crate) async fn a_record_not_acknowledged_comes_again(Setup { bus, .. }: Setup) {
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    append(&bus, 1..=2).await;
    for _ in 0..3 {
        // Dropped between what it brought about and the acknowledgement, as by an error on the way.
        let delivery = soon(records.next()).await.unwrap();
        assert_eq!((delivery.key, delivery.body.phase), (key(1, 1), 1));
    }
    assert_eq!(take(&mut records).await, 1);
    assert_eq!(take(&mut records).await, 2);
    nothing(records.next()).await;
}

pub(crate) async fn a_consumer_that_starts_anew_goes_on_where_it_acknowledged(Setup { bus, again }: Setup) {
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    append(&bus, 1..=4).await;
    assert_eq!(take(&mut records).await, 1);
    let killed_before_ack = soon(records.next()).await.unwrap();
    assert_eq!(killed_before_ack.body.phase, 2);
    let bus_of_next_life = again();
    let mut records = bus_of_next_life.consume::<SampleBatch>("metrics").await.unwrap();
    for number in 2..=4 {
        assert_eq!(take(&mut records).await, number);
    }
    drop(killed_before_ack);
}

pub(crate) async fn acknowledging_out_of_order_loses_nothing(Setup { bus, again }: Setup) {
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    append(&bus, 1..=3).await;
    let first = soon(records.next()).await.unwrap();
    let second = soon(records.next()).await.unwrap();
    let third = soon(records.next()).await.unwrap();
    third.ack().await.unwrap();
    first.ack().await.unwrap();
    // The second was never acknowledged, so a new life gets it; whether the third comes, too, is the transport's.
    let bus_of_next_life = again();
    let mut records = bus_of_next_life.consume::<SampleBatch>("metrics").await.unwrap();
    assert_eq!(soon(records.next()).await.unwrap().body.phase, 2);
    drop(second);
}

pub(crate) async fn a_consumer_that_starts_late_gets_what_is_kept(Setup { bus, .. }: Setup) {
    append(&bus, 1..=2).await;
    let mut records = bus.consume::<SampleBatch>("metrics").await.unwrap();
    append(&bus, 3..=3).await;
    for number in 1..=3 {
        assert_eq!(take(&mut records).await, number);
    }
}

pub(crate) async fn a_full_log_refuses_until_its_consumer_acknowledges(Setup { bus, .. }: Setup) {
    let mut records = bus.consume::<GuestFault>("metrics").await.unwrap();
    let fault = GuestFault { message: "x".repeat(10_000), ..Default::default() };
    let mut appended = 0;
    let refused = loop {
        match bus.record(&key(1, appended + 1), &fault).await {
            Ok(()) => appended += 1,
            Err(error) => break error,
        }
        assert!(appended * 10_000 < MAX_LOG, "the log has no bound");
    };
    assert!(matches!(&refused, RecordError::Full { log, .. } if log == "load.guest-faults"), "{refused}");
    assert!(appended > 0);
    for sequence in 1..=appended {
        let delivery = soon(records.next()).await.unwrap();
        assert_eq!(delivery.key.sequence, sequence, "what was refused is not there");
        delivery.ack().await.unwrap();
    }
    bus.record(&key(1, appended + 1), &fault).await.unwrap();
    assert_eq!(soon(records.next()).await.unwrap().key.sequence, appended + 1);
}
