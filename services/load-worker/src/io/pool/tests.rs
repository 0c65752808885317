//! Places, lanes, promises.

use super::*;

fn filled(endpoints: usize, n: u32) -> Pool {
    let mut pool = Pool::new(endpoints);
    assert!(pool.want(n).is_empty());
    assert_eq!(pool.to_make(64), n);
    for key in 0..n {
        let endpoint = pool.make();
        pool.made(true, endpoint, key, 1);
        assert!(pool.put_back(endpoint, key));
    }
    assert_eq!((pool.free(), pool.empty(), pool.to_make(64)), (n, 0, 0));
    pool
}

#[test]
fn connections_and_endpoints_are_used_in_turn() {
    let mut pool = filled(2, 4);
    let order: Vec<_> = (0..5).map(|_| pool.grant()).collect();
    assert_eq!(
        order,
        [0, 1, 2, 3].map(|key| Some(Grant::Idle(key))).into_iter().chain([None]).collect::<Vec<_>>()
    );
    assert!(pool.put_back(1, 3));
    assert_eq!(pool.grant(), Some(Grant::Idle(3)));
}

#[test]
fn a_promise_is_kept_from_others() {
    let mut pool = filled(1, 2);
    pool.reserve();
    assert_eq!(pool.free(), 1);
    pool.reserve();
    assert_eq!(pool.free(), 0);
    pool.release();
    assert_eq!(pool.free(), 1);
}

#[test]
fn the_making_is_bounded() {
    let mut pool = Pool::new(1);
    pool.want(100);
    assert_eq!(pool.to_make(64), 64);
    for _ in 0..64 {
        pool.make();
    }
    assert_eq!(pool.to_make(64), 0);
    pool.made(true, 0, 7, 1);
    assert_eq!(pool.to_make(64), 1);
}

#[test]
fn a_target_that_is_down_is_tried_on_demand() {
    let mut pool = Pool::new(1);
    pool.want(1);
    pool.make();
    assert_eq!((pool.free(), pool.grant()), (0, None));
    pool.not_made(true);
    assert_eq!(pool.free(), 1);
    assert_eq!(pool.grant(), Some(Grant::Make { endpoint: 0, instead_of: None }));
    assert_eq!((pool.free(), pool.grant()), (0, None));
    pool.made(false, 0, 9, 1);
    assert!(pool.put_back(0, 9));
    assert!(!pool.is_down());
    pool.closed(0, 9);
    assert_eq!((pool.free(), pool.empty(), pool.held()), (0, 1, 0));
}

#[test]
fn what_is_given_up_says_nothing_of_the_target() {
    let mut pool = Pool::new(1);
    pool.want(2);
    pool.make();
    pool.given_up();
    assert_eq!((pool.is_down(), pool.held(), pool.to_make(64)), (false, 0, 2));
    pool.make();
    pool.not_made(true);
    pool.forget_down();
    assert_eq!((pool.is_down(), pool.to_make(64)), (false, 2));
}

#[test]
fn fresh_connections_take_the_place_of_idle_ones() {
    let mut pool = filled(1, 2);
    assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: Some(0) }));
    assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: Some(1) }));
    assert_eq!(pool.grant_fresh(), None);
    pool.closed(0, 0);
    assert_eq!((pool.free(), pool.to_make(64)), (1, 0));
    assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: None }));
}

#[test]
fn shrinking_closes_idle_now_and_busy_later() {
    let mut pool = filled(1, 3);
    assert_eq!(pool.grant(), Some(Grant::Idle(0)));
    assert_eq!(pool.want(1), vec![1, 2]);
    assert!(pool.put_back(0, 0));
    assert!(pool.want(0) == vec![0] && pool.held() == 0);
}

/// A pool with connections 0 … n − 1 of so many lanes.
fn shared(n: u32, lanes: u32) -> Pool {
    let mut pool = Pool::new(1);
    assert!(pool.want(n).is_empty());
    for key in 0..n {
        let endpoint = pool.make();
        pool.made(true, endpoint, key, lanes);
        assert!(pool.put_back(endpoint, key));
    }
    assert_eq!((pool.free(), pool.empty()), (n * lanes, 0));
    pool
}

fn granted(pool: &mut Pool) -> Option<ConnectionKey> {
    match pool.grant() {
        Some(Grant::Idle(key)) => Some(key),
        _ => None,
    }
}

#[test]
fn lanes_are_given_connection_by_connection_and_no_more_than_there_are() {
    let mut pool = shared(2, 3);
    let order: Vec<_> = (0..7).map(|_| granted(&mut pool)).collect();
    assert_eq!(order, [Some(0), Some(1), Some(0), Some(1), Some(0), Some(1), None]);
    assert!(pool.put_back(0, 1));
    assert_eq!((pool.free(), granted(&mut pool), pool.free()), (1, Some(1), 0));
}

#[test]
fn the_lanes_of_a_connection_follow_what_its_server_allows() {
    let mut pool = shared(1, 4);
    for _ in 0..3 {
        assert_eq!(granted(&mut pool), Some(0));
    }
    pool.set_lanes(0, 0, 2);
    assert_eq!((pool.free(), granted(&mut pool)), (0, None));
    assert!(pool.put_back(0, 0));
    assert_eq!(pool.free(), 0, "two of two are taken");
    assert!(pool.put_back(0, 0));
    assert_eq!(pool.free(), 1);
    pool.set_lanes(0, 0, 0);
    assert_eq!(pool.free(), 0);
    pool.set_lanes(0, 0, 9);
    assert_eq!((pool.free(), granted(&mut pool)), (8, Some(0)));
}

#[test]
fn what_is_retired_ends_with_its_last_request() {
    let mut pool = shared(2, 2);
    assert_eq!([granted(&mut pool), granted(&mut pool), granted(&mut pool)], [Some(0), Some(1), Some(0)]);
    assert!(pool.retire(0, 0) && pool.retire(0, 0));
    assert_eq!((pool.free(), pool.held(), pool.empty()), (1, 2, 0));
    assert!(pool.put_back(0, 0));
    assert!(!pool.put_back(0, 0));
    pool.closed(0, 0);
    assert_eq!((pool.free(), pool.held(), pool.empty()), (1, 1, 1));
    assert!(pool.put_back(0, 1));
    assert!(!pool.retire(0, 1));
    pool.closed(0, 1);
    assert_eq!((pool.free(), pool.empty(), pool.grant()), (0, 2, None));
}

#[test]
fn shrinking_closes_unused_connections_and_lets_the_others_finish() {
    let mut pool = shared(3, 2);
    assert_eq!([granted(&mut pool), granted(&mut pool)], [Some(0), Some(1)]);
    assert_eq!(pool.want(1), [2]);
    assert_eq!(pool.free(), 2);
    assert!(!pool.put_back(0, 1), "one too many, and it carries nothing");
    pool.closed(0, 1);
    assert!(pool.put_back(0, 0));
    assert_eq!((pool.free(), pool.held()), (2, 1));
}

#[test]
fn a_fresh_connection_takes_no_place_of_one_in_use() {
    let mut pool = shared(2, 2);
    assert_eq!(granted(&mut pool), Some(0));
    assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: Some(1) }));
    assert_eq!(pool.grant_fresh(), None);
    assert!(pool.put_back(0, 0));
    assert_eq!(pool.grant_fresh(), Some(Grant::Make { endpoint: 0, instead_of: Some(0) }));
}
