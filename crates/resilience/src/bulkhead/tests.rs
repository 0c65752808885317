use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

type Entry<'a> = Pin<Box<dyn Future<Output = Result<Place, Full>> + 'a>>;

fn poll(entry: &mut Entry<'_>) -> Poll<Result<Place, Full>> {
    entry.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_defaults_are_fifty_and_a_hundred() {
    assert_eq!(Settings::default(), Settings { concurrent: 50, waiting: 100 });
}

#[test]
fn the_51st_waits_and_the_151st_is_refused() {
    let bulkhead = Bulkhead::new(Settings::default());
    let mut entries: Vec<Entry<'_>> = (0..150).map(|_| -> Entry<'_> { Box::pin(bulkhead.enter()) }).collect();
    let mut polled: Vec<_> = entries.iter_mut().map(poll).collect();
    assert!(polled[..50].iter().all(|entry| matches!(entry, Poll::Ready(Ok(_)))));
    assert!(polled[50..].iter().all(Poll::is_pending));
    assert_eq!((bulkhead.in_progress(), bulkhead.waiting()), (50, 100));

    let mut one_too_many: Entry<'_> = Box::pin(bulkhead.enter());
    let full = Full { concurrent: 50, waiting: 100 };
    assert!(matches!(poll(&mut one_too_many), Poll::Ready(Err(refused)) if refused == full));
    assert_eq!(bulkhead.refused(), 1);

    drop(polled.remove(7));
    assert!(poll(&mut entries[51]).is_pending(), "the one that came first is first");
    assert!(matches!(poll(&mut entries[50]), Poll::Ready(Ok(_))));
}

#[test]
fn who_gives_up_leaves_the_queue_and_loses_no_place() {
    let bulkhead = Bulkhead::new(Settings { concurrent: 1, waiting: 1 });
    let mut first: Entry<'_> = Box::pin(bulkhead.enter());
    let Poll::Ready(Ok(place)) = poll(&mut first) else { panic!("a free place") };
    let mut second: Entry<'_> = Box::pin(bulkhead.enter());
    assert!(poll(&mut second).is_pending());
    // It is given the place, and goes before it takes it.
    drop(place);
    drop(second);
    assert_eq!((bulkhead.in_progress(), bulkhead.waiting()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Enter,
    /// One of those in progress leaves.
    Leave(usize),
    /// One of those that wait gives up.
    GiveUp(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Enter),
        2 => (0..64_usize).prop_map(Step::Leave),
        1 => (0..64_usize).prop_map(Step::GiveUp),
    ]
}

proptest! {
    #[test]
    fn places_and_queue_keep_their_limits_and_their_order(
        steps in prop::collection::vec(step(), 1..200),
        concurrent in 1..6_usize,
        waiting in 0..6_usize,
    ) {
        let bulkhead = Bulkhead::new(Settings { concurrent, waiting });
        let mut places: Vec<Place> = Vec::new();
        let mut queue: Vec<Entry<'_>> = Vec::new();
        let mut refused = 0;
        for step in steps {
            match step {
                Step::Enter => {
                    let mut entry: Entry<'_> = Box::pin(bulkhead.enter());
                    match poll(&mut entry) {
                        Poll::Ready(Ok(place)) => places.push(place),
                        Poll::Ready(Err(_)) => {
                            prop_assert_eq!((places.len(), queue.len()), (concurrent, waiting));
                            refused += 1;
                        }
                        Poll::Pending => {
                            prop_assert_eq!(places.len(), concurrent);
                            queue.push(entry);
                        }
                    }
                }
                Step::Leave(_) if places.is_empty() => {}
                Step::Leave(which) => {
                    drop(places.swap_remove(which % places.len()));
                    if !queue.is_empty() {
                        let Poll::Ready(Ok(place)) = poll(&mut queue.remove(0)) else {
                            panic!("the first that waits gets the place");
                        };
                        places.push(place);
                    }
                }
                Step::GiveUp(_) if queue.is_empty() => {}
                Step::GiveUp(which) => drop(queue.remove(which % queue.len())),
            }
            prop_assert_eq!((bulkhead.in_progress(), bulkhead.waiting()), (places.len(), queue.len()));
            prop_assert_eq!(bulkhead.refused(), refused);
        }
    }
}
