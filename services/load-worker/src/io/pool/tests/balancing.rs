//! Several endpoints.

use super::*;

/// The endpoint that a request gets, of a pool made by `filled_by`; its lane stays in use.
fn endpoint(pool: &mut Pool, endpoints: usize, draw: u64) -> Option<usize> {
    match pool.grant(draw)? {
        Grant::Idle(key) => Some(key as usize % endpoints),
        Grant::Make { endpoint, .. } => Some(endpoint),
    }
}

#[test]
fn round_robin_passes_over_what_is_busy() {
    let mut pool = filled(3, 6);
    let order: Vec<_> = (0..6).map(|_| endpoint(&mut pool, 3, 0).unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    assert!(pool.put_back(1, 4) && pool.put_back(2, 5) && pool.put_back(2, 2));
    let order: Vec<_> = (0..4).map(|_| endpoint(&mut pool, 3, 0)).collect();
    assert_eq!(order, [Some(1), Some(2), Some(2), None]);
}

#[test]
fn each_thread_begins_with_another_endpoint() {
    let mut begins = Vec::new();
    for thread in 0..4 {
        let mut pool = Pool::new(3, Balance::RoundRobin, thread);
        pool.want(1);
        begins.push(make(&mut pool));
        assert_eq!(make(&mut pool), None);
    }
    assert_eq!(begins, [Some(0), Some(1), Some(2), Some(0)]);
}

#[test]
fn a_random_endpoint_is_a_function_of_the_draw_alone() {
    let mut counts = [0; 4];
    for n in 0..4_000 {
        let draw = draws::at(5, n);
        let mut seen = Vec::new();
        // Whatever the pool has done before.
        for before in [0, 3] {
            let mut pool = filled_by(4, 16, Balance::Random);
            assert!(pool.draws());
            for other in 0..before {
                pool.grant(draws::at(6, n * 10 + other));
            }
            seen.push(endpoint(&mut pool, 4, draw).unwrap());
        }
        assert_eq!(seen[0], seen[1]);
        counts[seen[0]] += 1;
    }
    assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
}

#[test]
fn the_fewest_in_use_are_chosen_and_equals_in_turn() {
    let mut pool = filled_by(3, 12, Balance::LeastConnections);
    assert!(!pool.draws());
    let order: Vec<_> = (0..3).map(|_| endpoint(&mut pool, 3, 0).unwrap()).collect();
    assert_eq!(order, [0, 1, 2]);
    // The second endpoint answers, the others are slow.
    assert!(pool.put_back(1, 1));
    assert_eq!(endpoint(&mut pool, 3, 0), Some(1));
    assert!(pool.put_back(1, 4));
    assert_eq!(endpoint(&mut pool, 3, 0), Some(1));
    let order: Vec<_> = (0..3).map(|_| endpoint(&mut pool, 3, 0).unwrap()).collect();
    assert_eq!(order, [2, 0, 1]);
}

#[test]
fn of_two_that_are_drawn_the_one_with_fewer_in_use_is_taken() {
    for n in 0..500 {
        let mut pool = filled_by(4, 16, Balance::PowerOfTwo);
        // Three in use at endpoint 2.
        for key in [2, 6, 10] {
            pool.endpoints.at(2).idle.retain(|idle| *idle != key);
            pool.endpoints.at(2).used += 1;
            pool.free_lanes -= 1;
        }
        let draw = draws::at(9, n);
        assert_ne!(endpoint(&mut pool, 4, draw), Some(2), "one of any two is another");
    }
    // Of two endpoints both are drawn: it is the policy of fewest connections.
    let mut pool = filled_by(2, 8, Balance::PowerOfTwo);
    for n in 0..8 {
        assert!(endpoint(&mut pool, 2, draws::at(3, n)).is_some());
        let used = [0, 1].map(|at| pool.endpoints.at(at).used);
        assert!(used[0].abs_diff(used[1]) <= 1, "{used:?}");
    }
}

#[test]
fn an_endpoint_that_refuses_keeps_its_part_of_places_and_of_requests() {
    let mut pool = filled(2, 4);
    // Its connections are reset, and it takes no new ones.
    pool.closed(1, 1);
    pool.closed(1, 3);
    assert_eq!(make(&mut pool), Some(1));
    pool.not_made(true, 1);
    assert!(pool.endpoints.at(1).down && !pool.endpoints.at(0).down);
    assert_eq!(pool.make(64, |endpoint| endpoint != 1), None, "the other has its share");
    assert_eq!(pool.free(), 4);
    let order: Vec<_> = (0..4).map(|_| endpoint(&mut pool, 2, 0).unwrap()).collect();
    assert_eq!(order, [0, 1, 0, 1]);
    pool.not_made(false, 1);
    assert_eq!(pool.free(), 1);
}

#[test]
fn what_is_out_gives_its_places_to_the_others_and_gets_them_back() {
    let mut pool = filled(2, 4);
    assert_eq!(endpoint(&mut pool, 2, 0), Some(0));
    assert_eq!(endpoint(&mut pool, 2, 0), Some(1));
    assert_eq!(pool.set_out(1, true), [3], "what carries nothing is closed");
    assert_eq!((pool.empty(), make(&mut pool), make(&mut pool)), (1, Some(0), None));
    pool.made(true, 0, 4, 1);
    assert!(pool.put_back(0, 4));
    assert!(!pool.put_back(1, 1), "and what carried something, with its end");
    pool.closed(1, 1);
    assert_eq!((make(&mut pool), make(&mut pool)), (Some(0), None));
    pool.made(true, 0, 5, 1);
    assert!(pool.put_back(0, 5));
    assert_eq!(pool.free(), 3);
    assert_eq!((endpoint(&mut pool, 1, 0), pool.free()), (Some(0), 2));

    // It comes back: two of the other's four go, the one in use last.
    let surplus = pool.set_out(1, false);
    assert_eq!((surplus.len(), pool.empty()), (2, 2));
    assert_eq!((make(&mut pool), make(&mut pool), make(&mut pool)), (Some(1), Some(1), None));
}

#[test]
fn when_all_are_out_all_are_used() {
    let mut pool = filled(2, 4);
    assert_eq!(pool.set_out(0, true), [0, 2]);
    let surplus = pool.set_out(1, true);
    assert_eq!((surplus, pool.free(), pool.empty()), (vec![], 2, 2));
    assert_eq!((make(&mut pool), make(&mut pool), make(&mut pool)), (Some(0), Some(0), None));
}

#[test]
fn what_becomes_ready_at_an_endpoint_that_is_out_is_not_used() {
    let mut pool = pool(2);
    pool.want(2);
    assert_eq!([make(&mut pool), make(&mut pool)], [Some(0), Some(1)]);
    assert!(pool.set_out(1, true).is_empty());
    pool.made(true, 1, 1, 8);
    assert_eq!(pool.free(), 0);
    assert!(!pool.put_back(1, 1));
    pool.closed(1, 1);
    assert_eq!((pool.held(), make(&mut pool)), (1, Some(0)));
}

#[test]
fn shared_connections_of_what_is_out_finish_and_are_not_promised() {
    let mut pool = pool(2);
    pool.want(2);
    for key in 0..2 {
        let endpoint = make(&mut pool).unwrap();
        pool.made(true, endpoint, key, 8);
        assert!(pool.put_back(endpoint, key));
    }
    assert_eq!([granted(&mut pool), granted(&mut pool)], [Some(0), Some(1)]);
    assert!(pool.set_out(1, true).is_empty());
    assert_eq!(pool.free(), 7);
    assert!(!pool.put_back(1, 1));
    pool.closed(1, 1);
    assert_eq!((pool.free(), pool.empty()), (7, 1));
}

#[test]
fn fresh_connections_go_where_the_policy_says() {
    let mut pool = filled(2, 2);
    let made = |grant: Option<Grant>| match grant {
        Some(Grant::Make { endpoint, instead_of }) => (endpoint, instead_of),
        other => panic!("{other:?}"),
    };
    assert_eq!(made(pool.grant_fresh(0)), (0, Some(0)));
    assert_eq!(made(pool.grant_fresh(0)), (1, Some(1)));
    assert_eq!((pool.grant_fresh(0), pool.held()), (None, 2));
}
