//! Places, lanes, promises.

use super::*;

mod balancing;

/// A pool whose endpoints are used in turn.
fn pool(endpoints: usize) -> Pool {
    Pool::new(endpoints, Balance::RoundRobin, 0)
}

/// Begins a connection in the background, of 64 at a time.
fn make(pool: &mut Pool) -> Option<usize> {
    pool.make(64, |_| true)
}

fn filled(endpoints: usize, n: u32) -> Pool {
    filled_by(endpoints, n, Balance::RoundRobin)
}

/// A pool with connections 0 … n − 1, which go to its endpoints in turn.
fn filled_by(endpoints: usize, n: u32, balance: Balance) -> Pool {
    let mut pool = Pool::new(endpoints, balance, 0);
    assert!(pool.want(n).is_empty());
    for key in 0..n {
        let endpoint = make(&mut pool).unwrap();
        assert_eq!(endpoint, key as usize % endpoints);
        pool.made(true, endpoint, key, 1);
        assert!(pool.put_back(endpoint, key));
    }
    assert_eq!((pool.free(), pool.empty(), make(&mut pool)), (n, 0, None));
    pool
}

#[test]
fn connections_and_endpoints_are_used_in_turn() {
    let mut pool = filled(2, 4);
    let order: Vec<_> = (0..5).map(|_| pool.grant(0)).collect();
    assert_eq!(
        order,
        [0, 1, 2, 3].map(|key| Some(Grant::Idle(key))).into_iter().chain([None]).collect::<Vec<_>>()
    );
    assert!(pool.put_back(1, 3));
    assert_eq!(pool.grant(0), Some(Grant::Idle(3)));
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
    let mut pool = pool(1);
    pool.want(100);
    for _ in 0..64 {
        assert_eq!(make(&mut pool), Some(0));
    }
    assert_eq!(make(&mut pool), None);
    pool.made(true, 0, 7, 1);
    assert_eq!((make(&mut pool), make(&mut pool)), (Some(0), None));
}

#[test]
fn an_endpoint_that_is_down_is_tried_on_demand() {
    let mut pool = pool(1);
    pool.want(1);
    make(&mut pool);
    assert_eq!((pool.free(), pool.grant(0)), (0, None));
    pool.not_made(true, 0);
    assert_eq!(pool.free(), 1);
    assert_eq!(pool.grant(0), Some(Grant::Make { endpoint: 0, instead_of: None }));
    assert_eq!((pool.free(), pool.grant(0)), (0, None));
    pool.made(false, 0, 9, 1);
    assert!(pool.put_back(0, 9));
    assert!(!pool.endpoints.at(0).down);
    pool.closed(0, 9);
    assert_eq!((pool.free(), pool.empty(), pool.held()), (0, 1, 0));
}

#[test]
fn what_is_given_up_says_nothing_of_the_endpoint() {
    let mut pool = pool(1);
    pool.want(2);
    make(&mut pool);
    pool.given_up(0);
    assert_eq!((pool.endpoints.at(0).down, pool.held(), pool.empty()), (false, 0, 2));
    make(&mut pool);
    pool.not_made(true, 0);
    assert_eq!((make(&mut pool), make(&mut pool)), (Some(0), None), "one at a time while it is down");
    pool.given_up(0);
    pool.forget_down();
    assert_eq!((pool.endpoints.at(0).down, make(&mut pool), make(&mut pool)), (false, Some(0), Some(0)));
}

#[test]
fn fresh_connections_take_the_place_of_idle_ones() {
    let mut pool = filled(1, 2);
    assert_eq!(pool.grant_fresh(0), Some(Grant::Make { endpoint: 0, instead_of: Some(0) }));
    assert_eq!(pool.grant_fresh(0), Some(Grant::Make { endpoint: 0, instead_of: Some(1) }));
    assert_eq!(pool.grant_fresh(0), None);
    pool.closed(0, 0);
    assert_eq!((pool.free(), make(&mut pool)), (1, None));
    assert_eq!(pool.grant_fresh(0), Some(Grant::Make { endpoint: 0, instead_of: None }));
}

#[test]
fn shrinking_closes_idle_now_and_busy_later() {
    let mut pool = filled(1, 3);
    assert_eq!(pool.grant(0), Some(Grant::Idle(0)));
    assert_eq!(pool.want(1), vec![1, 2]);
    assert!(pool.put_back(0, 0));
    assert!(pool.want(0) == vec![0] && pool.held() == 0);
}

/// A pool with connections 0 … n − 1 of so many lanes.
fn shared(n: u32, lanes: u32) -> Pool {
    let mut pool = pool(1);
    assert!(pool.want(n).is_empty());
    for key in 0..n {
        let endpoint = make(&mut pool).unwrap();
        pool.made(true, endpoint, key, lanes);
        assert!(pool.put_back(endpoint, key));
    }
    assert_eq!((pool.free(), pool.empty()), (n * lanes, 0));
    pool
}

fn granted(pool: &mut Pool) -> Option<ConnectionKey> {
    match pool.grant(0) {
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
    assert_eq!((pool.free(), pool.empty(), pool.grant(0)), (0, 2, None));
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
    assert_eq!(pool.grant_fresh(0), Some(Grant::Make { endpoint: 0, instead_of: Some(1) }));
    assert_eq!(pool.grant_fresh(0), None);
    assert!(pool.put_back(0, 0));
    assert_eq!(pool.grant_fresh(0), Some(Grant::Make { endpoint: 0, instead_of: Some(0) }));
}
