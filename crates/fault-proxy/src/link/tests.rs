use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::toxic::{Attributes, Stream, ToxicCounters};

fn toxic(id: u64, type_name: &str, attributes: &Value) -> Arc<Toxic> {
    let defaults = Attributes::of_type(type_name).unwrap();
    Arc::new(Toxic {
        id,
        revision: 0,
        name: format!("{type_name}_{id}"),
        stream: Stream::Both,
        upstream: None,
        toxicity: 1.0,
        attributes: defaults.with(attributes.as_object().unwrap()).unwrap(),
        lease: None,
        counters: Arc::new(ToxicCounters::default()),
    })
}

fn link(toxics: &[Arc<Toxic>], now: Instant) -> Link {
    Link::new(Identity::new(1, "p", 1), Direction::Downstream, toxics, Budget::new(1 << 20), now)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All that is ready, a text a write.
fn ready(link: &mut Link) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(data) = link.front().cloned() {
        all.push(String::from_utf8_lossy(&data).into_owned());
        link.sent(data.len());
    }
    all
}

/// Bytes that came out until the link wants to wait beyond `until`, with the time of each write since `start`.
fn run(link: &mut Link, start: Instant, until: Duration) -> Vec<(u128, usize)> {
    let (mut now, mut out) = (start, Vec::new());
    loop {
        let again = link.advance(now);
        let before = out.len();
        while let Some(data) = link.front().cloned() {
            out.push(((now - start).as_millis(), data.len()));
            link.sent(data.len());
        }
        match again {
            Some(again) if again <= start + until => now = again.max(now),
            _ if out.len() > before => {}
            _ => return out,
        }
    }
}

#[test]
fn without_toxics_bytes_pass_and_the_end_follows_them() {
    let now = Instant::now();
    let mut link = link(&[], now);
    assert!(link.is_clear());
    link.push(Bytes::from_static(b"abc"), now);
    link.close(End::Eof);
    assert_eq!(link.finished(), None);
    assert_eq!(ready(&mut link), ["abc"]);
    assert_eq!(link.finished(), Some(End::Eof));
    assert!(!link.wants_more());
}

#[test]
fn latency_counts_from_reception_and_adds_up() {
    let start = Instant::now();
    let (one, two) =
        (toxic(1, "latency", &json!({"latency": 100})), toxic(2, "latency", &json!({"latency": 50})));
    let mut link = link(&[Arc::clone(&one), two], start);
    link.push(Bytes::from_static(b"a"), start);
    link.push(Bytes::from_static(b"bb"), start + ms(30));
    assert_eq!(run(&mut link, start, ms(1_000)), [(150, 1), (180, 2)]);
    assert_eq!(one.counters.effects.load(Ordering::Relaxed), 2);
}

#[test]
fn jitter_is_even_seeded_and_keeps_the_order() {
    let start = Instant::now();
    let delays = |seed| {
        let toxics = [toxic(1, "latency", &json!({"latency": 100, "jitter": 20}))];
        let mut link =
            Link::new(Identity::new(seed, "p", 1), Direction::Upstream, &toxics, Budget::new(1 << 20), start);
        let mut delays = Vec::new();
        for index in 0..200 {
            let sent = start + ms(1_000 * index);
            link.push(Bytes::from_static(b"x"), sent);
            delays.extend(run(&mut link, sent, ms(999)).into_iter().map(|(at, _)| at));
        }
        delays
    };
    let drawn = delays(7);
    assert_eq!(drawn.len(), 200);
    assert_eq!(
        (drawn.iter().min(), drawn.iter().max()),
        (Some(&80), Some(&119)),
        "from l - j to below l + j"
    );
    assert_eq!(drawn, delays(7));
    assert_ne!(drawn, delays(8));
    let toxics = [toxic(1, "latency", &json!({"latency": 100, "jitter": 100}))];
    let mut link = link(&toxics, start);
    for index in 0..100_u8 {
        link.push(Bytes::from(vec![index]), start);
    }
    let mut order = Vec::new();
    let mut now = start;
    while let Some(again) = link.advance(now) {
        now = again;
        order.extend(ready(&mut link));
        link.advance(now);
        order.extend(ready(&mut link));
    }
    assert_eq!(order.len(), 100);
    assert!(order.is_sorted_by_key(|text| text.as_bytes()[0]));
}

#[test]
fn bandwidth_takes_as_long_as_the_rate_says_in_slices_of_100_ms() {
    let start = Instant::now();
    let mut link = link(&[toxic(1, "bandwidth", &json!({"rate": 10}))], start);
    // 2 500 bytes at 10 000 a second.
    link.push(Bytes::from(vec![0; 2_500]), start);
    assert_eq!(run(&mut link, start, ms(5_000)), [(100, 1_000), (200, 1_000), (250, 500)]);
    // After idle time nothing is made up for.
    let later = start + ms(9_000);
    link.push(Bytes::from(vec![0; 100]), later);
    assert_eq!(run(&mut link, later, ms(5_000)), [(10, 100)]);
}

#[test]
fn a_late_timer_does_not_lower_the_rate() {
    let start = Instant::now();
    let mut link = link(&[toxic(1, "bandwidth", &json!({"rate": 10}))], start);
    link.push(Bytes::from(vec![0; 10_000]), start);
    let (mut now, mut sent) = (start, 0);
    while let Some(again) = link.advance(now) {
        now = again + ms(2);
        link.advance(now);
        sent += ready(&mut link).iter().map(String::len).sum::<usize>();
    }
    assert_eq!(sent, 10_000);
    assert!(now - start <= ms(1_004), "{:?}", now - start);
}

#[test]
fn a_rate_of_nothing_blocks_until_the_toxic_goes() {
    let start = Instant::now();
    let mut link = link(&[toxic(1, "bandwidth", &json!({"rate": 0}))], start);
    link.push(Bytes::from_static(b"held"), start);
    assert!(run(&mut link, start, ms(60_000)).is_empty());
    assert!(!link.wants_more(), "the sender is held up");
    link.adopt(&[], start);
    assert_eq!(ready(&mut link), ["held"]);
}

#[test]
fn slow_close_holds_the_end_only() {
    let start = Instant::now();
    let mut link = link(&[toxic(1, "slow_close", &json!({"delay": 300}))], start);
    link.push(Bytes::from_static(b"now"), start);
    link.close(End::Eof);
    let again = link.advance(start);
    assert_eq!(ready(&mut link), ["now"]);
    assert_eq!((again, link.finished()), (Some(start + ms(300)), None));
    link.advance(start + ms(300));
    assert_eq!(link.finished(), Some(End::Eof));
}

#[test]
fn timeout_drops_and_counts_from_the_last_chunk() {
    let start = Instant::now();
    let slow = toxic(1, "timeout", &json!({"timeout": 100}));
    let mut link = link(&[Arc::clone(&slow)], start);
    assert_eq!(link.advance(start), Some(start + ms(100)));
    link.push(Bytes::from_static(b"lost"), start + ms(60));
    assert_eq!(link.advance(start + ms(60)), Some(start + ms(160)));
    assert_eq!(link.finished(), None);
    link.advance(start + ms(160));
    assert_eq!((ready(&mut link).len(), link.finished()), (0, Some(End::Cut)));
    assert_eq!(slow.counters.effects.load(Ordering::Relaxed), 2, "a chunk dropped, a connection closed");
}

#[test]
fn a_timeout_of_zero_waits_for_ever_and_its_removal_closes() {
    let start = Instant::now();
    let mut link = link(&[toxic(1, "timeout", &json!({"timeout": 0}))], start);
    link.push(Bytes::from_static(b"lost"), start);
    assert_eq!(link.advance(start + ms(1_000_000)), None);
    assert_eq!(link.finished(), None);
    link.adopt(&[], start);
    assert_eq!(link.finished(), Some(End::Cut));
}

#[test]
fn reset_peer_waits_for_data_and_resets_only_what_was_opened_after_it() {
    let start = Instant::now();
    let with = |attributes: Value, at_open: bool| {
        let toxics = [toxic(1, "reset_peer", &attributes)];
        let mut link = link(if at_open { &toxics } else { &[] }, start);
        link.adopt(&toxics, start);
        assert_eq!((link.advance(start + ms(500)), link.finished()), (None, None), "no data, no reset");
        link.push(Bytes::from_static(b"x"), start + ms(500));
        assert_eq!(link.advance(start + ms(500)), Some(start + ms(550)));
        assert_eq!(link.finished(), None);
        link.advance(start + ms(550));
        (ready(&mut link).len(), link.finished())
    };
    assert_eq!(with(json!({"timeout": 50}), true), (0, Some(End::Reset)));
    assert_eq!(with(json!({"timeout": 50}), false), (0, Some(End::Cut)));
    assert_eq!(with(json!({"timeout": 50, "established": true}), false), (0, Some(End::Reset)));
}

#[test]
fn slices_vary_around_the_average_and_are_delayed() {
    let start = Instant::now();
    let attributes = json!({"average_size": 100, "size_variation": 20, "delay": 2_000});
    let mut link = link(&[toxic(1, "slicer", &attributes)], start);
    link.push(Bytes::from(vec![0; 10_000]), start);
    let out = run(&mut link, start, ms(60_000));
    assert_eq!(out.iter().map(|(_, bytes)| bytes).sum::<usize>(), 10_000);
    assert!(out.len() > 80 && out.iter().all(|(_, bytes)| *bytes <= 120), "{out:?}");
    assert!(out.windows(2).all(|pair| pair[1].0 - pair[0].0 == 2), "{out:?}");
}

#[test]
fn limit_data_closes_when_so_much_has_passed() {
    let start = Instant::now();
    let toxics = [toxic(1, "limit_data", &json!({"bytes": 5}))];
    let mut limited = link(&toxics, start);
    limited.push(Bytes::from_static(b"abc"), start);
    limited.advance(start);
    assert_eq!((ready(&mut limited), limited.finished()), (vec!["abc".to_owned()], None));
    limited.push(Bytes::from_static(b"defgh"), start);
    limited.advance(start);
    assert_eq!((ready(&mut limited), limited.finished()), (vec!["de".to_owned()], Some(End::Cut)));
    let mut none = link(&[toxic(1, "limit_data", &json!({"bytes": 0}))], start);
    none.advance(start);
    assert_eq!(none.finished(), None, "only data ends it");
    none.push(Bytes::from_static(b"a"), start);
    none.advance(start);
    assert_eq!((ready(&mut none).len(), none.finished()), (0, Some(End::Cut)));
}

#[test]
fn packet_loss_loses_its_share_and_more_in_bursts() {
    let start = Instant::now();
    let passed = |attributes: Value| {
        let mut link = link(&[toxic(1, "packet_loss", &attributes)], start);
        let mut passed = 0;
        for _ in 0..2_000 {
            link.push(Bytes::from_static(b"x"), start);
            link.advance(start);
            passed += ready(&mut link).len();
        }
        passed
    };
    assert!((1_720..1_880).contains(&passed(json!({}))), "a tenth is lost");
    assert!((940..1_060).contains(&passed(json!({"loss_rate": 0.5}))));
    // Lost with 0.2, and with 0.8 after a loss: half of all.
    assert!((880..1_120).contains(&passed(json!({"loss_rate": 0.2, "correlation": 0.6}))));
    assert_eq!((passed(json!({"loss_rate": 0})), passed(json!({"loss_rate": 1}))), (2_000, 0));
}

#[test]
fn what_a_removed_toxic_held_passes_in_order_through_those_after_it() {
    let start = Instant::now();
    let (first, second) =
        (toxic(1, "latency", &json!({"latency": 500})), toxic(2, "latency", &json!({"latency": 400})));
    let third = toxic(3, "limit_data", &json!({"bytes": 4}));
    let mut link = link(&[first, Arc::clone(&second), Arc::clone(&third)], start);
    link.push(Bytes::from_static(b"ab"), start);
    link.advance(start + ms(500));
    link.push(Bytes::from_static(b"cde"), start + ms(500));
    link.advance(start + ms(500));
    link.adopt(&[Arc::clone(&second), Arc::clone(&third)], start + ms(600));
    assert_eq!(link.advance(start + ms(600)), Some(start + ms(900)));
    link.adopt(&[third], start + ms(700));
    link.advance(start + ms(700));
    assert_eq!((ready(&mut link), link.finished()), (vec!["ab".to_owned(), "cd".to_owned()], Some(End::Cut)));
}

#[test]
fn a_change_keeps_the_state_and_toxicity_is_drawn_once() {
    let start = Instant::now();
    let limit = |revision, bytes, toxicity| {
        let mut made = (*toxic(1, "limit_data", &json!({"bytes": bytes}))).clone();
        (made.revision, made.toxicity) = (revision, toxicity);
        Arc::new(made)
    };
    let mut changed = link(&[limit(0, 5, 1.0)], start);
    changed.push(Bytes::from_static(b"abc"), start);
    changed.advance(start);
    changed.adopt(&[limit(1, 4, 1.0)], start);
    changed.push(Bytes::from_static(b"def"), start);
    changed.advance(start);
    assert_eq!(ready(&mut changed), ["abc", "d"]);
    // The same connection is hit or not, however often the list changes; others by their share.
    let hit = |number: u64| {
        let toxics = [limit(0, 5, 0.4)];
        let identity = Identity::new(1, "p", number);
        let mut link = Link::new(identity, Direction::Upstream, &toxics, Budget::new(1), start);
        let first = link.has_toxics();
        for revision in 1..10 {
            link.adopt(&[limit(revision, 5, 0.4)], start);
            assert_eq!(link.has_toxics(), first);
        }
        first
    };
    let hit = (0..1_000).filter(|number| hit(*number)).count();
    assert!((340..460).contains(&hit), "{hit}");
}

#[test]
fn what_is_held_is_bounded_for_all_together() {
    let start = Instant::now();
    let budget = Budget::new(100 << 10);
    let toxics = [toxic(1, "latency", &json!({"latency": 1_000}))];
    let new = |number| {
        Link::new(Identity::new(1, "p", number), Direction::Upstream, &toxics, budget.clone(), start)
    };
    let (mut first, mut second) = (new(1), new(2));
    let mut chunks = 0;
    while first.wants_more() {
        first.push(Bytes::from(vec![0; CHUNK]), start);
        chunks += 1;
    }
    assert_eq!(chunks, 4, "up to the limit");
    assert!(second.wants_more(), "one chunk is everyone's");
    second.push(Bytes::from(vec![0; CHUNK]), start);
    assert!(!second.wants_more());
    drop(first);
    assert!(second.wants_more());
    drop(second);
    assert_eq!(budget.held(), 0);
}

proptest::proptest! {
    /// Whatever delays, paces and cuts up, and however the list changes meanwhile: no byte is lost, doubled or moved.
    #[test]
    fn bytes_that_should_pass_do(
        sizes in proptest::collection::vec(1_usize..5_000, 1..30),
        changes in proptest::collection::vec((0_u64..400, 0_usize..16), 0..12),
    ) {
        let all = [
            toxic(1, "latency", &json!({"latency": 50, "jitter": 50})),
            toxic(2, "bandwidth", &json!({"rate": 100})),
            toxic(3, "slicer", &json!({"average_size": 500, "size_variation": 100, "delay": 500})),
            toxic(4, "slow_close", &json!({"delay": 20})),
        ];
        let chosen = |mask: usize| -> Vec<Arc<Toxic>> {
            all.iter().enumerate().filter(|(index, _)| mask & (1 << index) != 0).map(|(_, toxic)| Arc::clone(toxic)).collect()
        };
        let start = Instant::now();
        let mut link = link(&chosen(15), start);
        let sent: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|index| (index % 251) as u8).collect();
        let (mut rest, mut sizes, mut changes) = (Bytes::from(sent.clone()), sizes.into_iter(), changes.into_iter());
        let (mut now, mut received) = (start, Vec::new());
        for _ in 0..100_000 {
            let again = link.advance(now);
            while let Some(data) = link.front().cloned() {
                received.extend_from_slice(&data);
                link.sent(data.len());
            }
            if link.finished().is_some() {
                break;
            }
            if link.wants_more() {
                match sizes.next() {
                    Some(size) => link.push(rest.split_to(size), now),
                    None => link.close(End::Eof),
                }
            } else if let Some((wait, mask)) = changes.next() {
                now += ms(wait);
                link.adopt(&chosen(mask), now);
            } else if let Some(again) = again {
                now = again;
            }
        }
        proptest::prop_assert_eq!(link.finished(), Some(End::Eof));
        proptest::prop_assert!(received == sent);
    }
}
