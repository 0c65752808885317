//! Whole scenarios, as a worker would play them.

mod answers;
mod draws;
mod problems;
mod requests;

use gauntlet_sdk::testing::{Bench, Said, Sent};
use gauntlet_sdk::{Scenario, Setup};
use serde_json::{Value, json};

use crate::Http;

const USERS: u32 = 8;

#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn bench(config: Value) -> Bench<Http> {
    Bench::new(&config.to_string(), 7, USERS).unwrap()
}

/// One step without anything else.
#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn step(step: Value) -> Bench<Http> {
    bench(json!({ "steps": [step] }))
}

#[expect(clippy::needless_pass_by_value, reason = "calls read better with json! in place")]
fn setup(config: Value) -> Setup {
    Http::configure(&config.to_string(), 7, USERS).unwrap().1
}

/// The one request of a turn.
fn request(bench: &mut Bench<Http>, user: u32, arrival: u64) -> Sent {
    only(&bench.start(user, arrival, &[]))
}

fn only(said: &Said) -> Sent {
    assert_eq!(said.requests.len(), 1, "{said:?}");
    said.requests[0].clone()
}

/// The examples of `README.md`, as a plan hands them over.
#[test]
fn the_examples_of_the_readme_are_right() {
    let mut checked = 0;
    for (config, text) in guest_config::testing::examples(include_str!("../README.md")) {
        let found = Http::configure(&config, 7, USERS).err();
        assert_eq!(found, None, "{text}");
        checked += 1;
    }
    assert_eq!(checked, 4);
}
