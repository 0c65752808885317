use super::*;
use gauntlet_sdk::testing::Start;

fn calls(bench: &mut Bench<Mcp>, arrivals: std::ops::Range<u64>, users: u32) -> Vec<String> {
    let mut all = Vec::new();
    for arrival in arrivals {
        let turned = turn(bench, arrival as u32 % users, arrival, sound);
        all.push(body(turned.last())["params"].to_string());
    }
    all
}

#[test]
fn calls_are_functions_of_seed_and_arrival() {
    let config = json!({ "revision": "2025-11-25", "calls": [
        { "tool": "echo", "weight": 3, "arguments": { "message": "{uuid} {random:1..1000000}", "n": 5 } },
        { "tool": "echo", "name": "drawn", "weight": 1, "generate": true },
        { "tool": "echo", "name": "schema", "weight": 1, "schema": {
            "type": "object", "required": ["a"], "properties": { "a": { "type": "integer", "maximum": 1000000000 } } } },
    ] });
    let once = calls(&mut bench(config.clone()), 0..60, 4);
    assert_eq!(once, calls(&mut bench(config.clone()), 0..60, 1), "whoever makes them");
    let mut distinct = once.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), once.len());
    let given = once.iter().filter(|call| call.contains("\"n\":5")).count();
    assert!((26..46).contains(&given), "{given} of 60 where 36 are expected");
    let mut other = Bench::<Mcp>::new(&config.to_string(), 8, USERS).unwrap();
    assert_ne!(once, calls(&mut other, 0..60, 4));
}

#[test]
fn rows_are_written_as_json() {
    let config = json!({ "revision": "2026-07-28", "list-tools": false,
        "calls": [{ "tool": "echo", "arguments": { "message": "{text}" }, "feed": "rows.csv" }] });
    let mut bench = bench(config);
    let said = bench.play(&[Start { user: 0, arrival: 0, rows: &[&["a \"b\"\n"]] }], &[]);
    assert_eq!(body(&said.requests[0])["params"]["arguments"]["message"], "a \"b\"\n");
}

#[test]
fn users_think_after_their_turns() {
    let mut config = echo("2025-11-25");
    config["think"] = json!({ "min": "1s", "max": "2s" });
    let thinks: Vec<_> = (0..8)
        .map(|arrival| turn(&mut bench(config.clone()), 0, arrival, sound).finished[0].think_us)
        .collect();
    assert!(thinks.iter().all(|think| (1_000_000..=2_000_000).contains(think)), "{thinks:?}");
    assert!(thinks.iter().any(|think| *think != thinks[0]));
}

#[test]
fn a_user_beyond_the_configured_ones_does_no_harm() {
    let said = bench(echo("2025-11-25")).start(1_000, 0, &[]);
    assert_eq!((said.requests.len(), said.finished.len()), (0, 1));
}
