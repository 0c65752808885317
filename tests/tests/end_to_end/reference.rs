//! What the http guest sends is what a generator of a few lines says that it has to send: path and header of each arrival.
//!
//! The generator here is written from the documentation of the guest (its README, "The sequence, computed elsewhere") and of
//! crate `draws`, and shares no code with either. The server's log is the bare server's, which knows nothing of arrivals.

use std::time::Duration;

use gauntlet_tests::bare_server::BareServer;
use gauntlet_tests::setting::Setting;

use crate::plans::{assert_closes, count, phase};
use crate::splitmix::{Draws, Purpose, STEP, below, mix};

const SEED: u64 = 20_261_129;
const ARRIVALS: u64 = 2_000;
const ROWS: u64 = 10_000;
/// So many that each is free again, by seconds, when its next turn comes, however busy the machine is.
const USERS: u64 = 1_000;
/// Two scenarios, and two steps of the first, by weight.
const SCENARIOS: [u64; 2] = [4, 1];
const STEPS: [u64; 2] = [3, 1];

fn plan(url: &str) -> String {
    let ([browse, search], [item, related]) = (SCENARIOS, STEPS);
    format!(
        r#"
name = "reference"
seed = {SEED}
run-phases = ["baseline"]

[targets.server]
url = "{url}"

[[scenarios]]
name = "browse"
guest = "http"
target = "server"
weight = {browse}

[scenarios.config]
headers = {{ x-user = "{{user}}", x-arrival = "{{arrival}}" }}
steps = [
    {{ name = "item", weight = {item}, get = "/items/{{id}}", feed = "items.csv", feed-order = "random", check = {{ status = 200 }} }},
    {{ name = "related", weight = {related}, get = "/items/{{id}}/related", feed = "items.csv", feed-order = "random", check = {{ status = 200 }} }},
]

[[scenarios]]
name = "search"
guest = "http"
target = "server"
weight = {search}

[scenarios.config]
headers = {{ x-user = "{{user}}", x-arrival = "{{arrival}}" }}
steps = [{{ name = "search", get = "/search?from={{random:1..50}}&to={{random:51..1000}}", check = {{ status = 200 }} }}]

[phases.baseline]
rate = 400
duration = "5s"
connections = 100
max-users = {USERS}

[load]
threads = 1

[validity]
judge = false
"#
    )
}

/// The id in a row of the feed, from row 0: not what one would guess from its number.
fn id(row: u64) -> u64 {
    100_000 + row * 7
}

/// The `n`-th draw, from 1, that the guest makes for an arrival and a purpose.
fn guest_draw(arrival: u64, purpose: u64, n: u64) -> u64 {
    let state = mix(mix(mix(SEED) ^ arrival).wrapping_add(purpose.wrapping_mul(STEP)));
    mix(state.wrapping_add(n.wrapping_mul(STEP)))
}

/// What arrival `k` of the run's first phase has to be: its request's first line, and its user.
fn reference(k: u64) -> (String, u64) {
    let scenario = Draws::new(SEED, 0, Purpose::Scenario).unit(k);
    let path = if scenario <= SCENARIOS[0] as f64 / SCENARIOS.iter().sum::<u64>() as f64 {
        let id = id(below(ROWS, Draws::new(SEED, 0, Purpose::Row).at(k)));
        match below(STEPS.iter().sum(), guest_draw(k, 0, 1)) {
            drawn if drawn < STEPS[0] => format!("/items/{id}"),
            _ => format!("/items/{id}/related"),
        }
    } else {
        let (from, to) = (1 + below(50, guest_draw(k, 17, 1)), 51 + below(950, guest_draw(k, 18, 1)));
        format!("/search?from={from}&to={to}")
    };
    (format!("GET {path} HTTP/1.1"), k % USERS)
}

#[test]
fn the_http_guest_sends_what_a_reference_generator_says() {
    let setting = Setting::embedded();
    let rows: String = (0..ROWS).map(|row| format!("{},name-{row}\n", id(row))).collect();
    std::fs::write(setting.path().join("items.csv"), format!("id,name\n{rows}")).unwrap();
    let server = BareServer::start(setting.path(), &["x-arrival", "x-user"]);
    let summary = setting.run(&plan(&server.url())).expect(0).summary();

    let phase = phase(&summary);
    assert_closes(phase);
    assert_eq!((count(phase, "scheduled"), count(phase, "answered")), (ARRIVALS, ARRIVALS));
    let checks = phase["checks"].as_array().unwrap();
    let sum = |key: &str| checks.iter().map(|check| check[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((checks.len(), sum("passed"), sum("failed")), (3, ARRIVALS, 0), "{checks:?}");

    // Whether the server is ready was asked too, without these fields.
    let of_plan = || server.log().into_iter().filter(|line| line[1] != "-").collect::<Vec<_>>();
    // A line is written after its answer, with those of the answers beside it.
    let mut log = gauntlet_tests::wait::until(
        "the server's log of all requests",
        Duration::from_secs(10),
        || Some(of_plan()).filter(|log| log.len() as u64 >= ARRIVALS),
        || format!("{} lines", of_plan().len()),
    );
    log.sort_by_key(|line| line[1].parse::<u64>().unwrap());
    let wanted: Vec<Vec<String>> = (0..ARRIVALS)
        .map(|k| {
            let (line, user) = reference(k);
            vec![line, k.to_string(), user.to_string()]
        })
        .collect();
    let differ = log.iter().zip(&wanted).find(|(seen, wanted)| seen != wanted);
    assert_eq!(differ, None, "the first arrival that is not as the reference says: seen, wanted");
    assert_eq!(log.len(), wanted.len());
    for kind in ["/items/", "/related ", "/search?"] {
        assert!(wanted.iter().any(|line| line[0].contains(kind)), "the reference has no {kind}");
    }
}
