use bus::{BusError, MAX_MESSAGE};
use protocol::v1::{Aggregate, Heartbeat, HistoryEntry};

use super::*;

fn beat(phase: u32) -> Heartbeat {
    Heartbeat { phase, run: vec![7; 16], ..Default::default() }
}

pub(crate) async fn a_broadcast_reaches_all_who_listen_in_order(Setup { bus, .. }: Setup) {
    let mut first = bus.subscribe::<Heartbeat>().await.unwrap();
    let mut second = bus.clone().subscribe::<Heartbeat>().await.unwrap();
    for phase in 0..10 {
        // Of different runs: a subscriber hears all.
        bus.broadcast(&Heartbeat { run: vec![phase as u8; 16], ..beat(phase) }).await.unwrap();
    }
    for subscription in [&mut first, &mut second] {
        for phase in 0..10 {
            assert_eq!(soon(subscription.next()).await.unwrap().phase, phase);
        }
        assert_eq!((subscription.lost(), subscription.malformed()), (0, 0));
    }
}

pub(crate) async fn nobody_listening_is_no_error(Setup { bus, .. }: Setup) {
    bus.broadcast(&beat(1)).await.unwrap();
    let mut late = bus.subscribe::<Heartbeat>().await.unwrap();
    nothing(late.next()).await;
    drop(late);
    bus.broadcast(&beat(2)).await.unwrap();
}

pub(crate) async fn a_subscriber_hears_only_what_it_asked_for(Setup { bus, .. }: Setup) {
    let mut live = bus.subscribe::<Aggregate>().await.unwrap();
    bus.broadcast(&beat(1)).await.unwrap();
    bus.broadcast(&HistoryEntry::default()).await.unwrap();
    bus.broadcast(&Aggregate { phase: 3, ..Default::default() }).await.unwrap();
    assert_eq!(soon(live.next()).await.unwrap().phase, 3);
}

pub(crate) async fn a_slow_subscriber_loses_messages_and_knows_how_many(Setup { bus, .. }: Setup) {
    const SENT: u64 = 10_000;
    let mut slow = bus.subscribe::<Heartbeat>().await.unwrap();
    for phase in 0..SENT {
        bus.broadcast(&beat(phase as u32)).await.unwrap();
    }
    let (mut heard, mut last) = (0, None);
    while last != Some(SENT as u32 - 1) {
        let phase = soon(slow.next()).await.unwrap().phase;
        assert!(last < Some(phase), "in order");
        last = Some(phase);
        heard += 1;
    }
    assert!(slow.lost() > 0, "its queue has a bound");
    assert_eq!(heard + slow.lost(), SENT);
}

pub(crate) async fn a_message_that_is_too_large_is_refused(Setup { bus, .. }: Setup) {
    let entry = HistoryEntry { event_json: "x".repeat(MAX_MESSAGE), ..Default::default() };
    match bus.broadcast(&entry).await {
        Err(BusError::TooLarge { subject, bytes }) => {
            assert_eq!(subject, "gauntlet.v1.scheduler.*.history");
            assert!(bytes > MAX_MESSAGE);
        }
        result => panic!("{result:?}"),
    }
}

pub(crate) async fn subscriptions_end_with_the_bus(Setup { bus, again }: Setup) {
    let mut subscription = bus.subscribe::<Heartbeat>().await.unwrap();
    drop((bus, again));
    assert!(soon(subscription.next()).await.is_none());
}
