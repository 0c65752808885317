//! Which connections are hit, and what the proxy says about it: the same for the same seed, byte by byte.

use fault_proxy::toxic::{Attributes, LimitData};
use fault_proxy::{ProxyInput, ToxicInput, toxicity_draw};
use reqwest::Method;
use tokio::net::TcpStream;

use crate::program::Program;
use crate::toxics::read_all;
use crate::upstream::Upstream;

const CONNECTIONS: u64 = 40;

/// Which connections, opened one after the other, a toxic of toxicity 0.5 hit, and what the proxy says of all its draws. A second
/// toxic comes, is renewed and goes while they pass.
async fn run(seed: &str) -> (Vec<bool>, String) {
    let (program, upstream) = (Program::start(&["--seed", seed]), Upstream::sending(10).await);
    let client = program.client();
    let shop = client.create_proxy(&ProxyInput::new("shop", &upstream.address)).await.unwrap();
    let cut = ToxicInput::new("cut", &Attributes::LimitData(LimitData { bytes: 5 })).hitting(0.5);
    client.add_toxic("shop", &cut).await.unwrap();
    let mut hit = Vec::new();
    for number in 1..=CONNECTIONS {
        // A connection that is still being closed would meet what comes now.
        program.wait_for("/proxies/shop/open", |open| open == 0).await;
        match number {
            10 => {
                let slow = ToxicInput::new("slow", &Attributes::of_type("latency").unwrap());
                client.add_toxic("shop", &slow.hitting(0.3)).await.unwrap();
            }
            15 => {
                client.renew_toxic("shop", "slow").await.unwrap();
            }
            20 => client.remove_toxic("shop", "slow").await.unwrap(),
            _ => {}
        }
        hit.push(read_all(&shop.listen).await.len() == 5);
    }
    let response = program.ask(Method::GET, "/proxies/shop/draws", None).await;
    (hit, response.text().await.unwrap())
}

#[tokio::test]
async fn the_seed_decides_which_connections_are_hit_and_the_proxy_says_so() {
    let (first, again, other) = tokio::join!(run("1"), run("1"), run("2"));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    let drawn: Vec<bool> =
        (1..=CONNECTIONS).map(|number| toxicity_draw(1, "shop", number, "cut") < 0.5).collect();
    assert_eq!(first.0, drawn, "what anyone can compute");
    let draws: fault_proxy::Draws = serde_json::from_str(&first.1).unwrap();
    assert_eq!((draws.seed, draws.forgotten_up_to), (1, 0));
    let said: Vec<bool> = draws.connections.iter().map(|connection| connection.toxics["cut"].hits).collect();
    assert_eq!(said, drawn);
    let met: Vec<u64> = draws
        .connections
        .iter()
        .filter(|connection| connection.toxics.contains_key("slow"))
        .map(|connection| connection.number)
        .collect();
    assert_eq!(met, (10..20).collect::<Vec<u64>>());
}

#[tokio::test]
async fn numbers_go_on_when_the_proxy_changes() {
    let (program, upstream) = (Program::start(&[]), Upstream::sending(1).await);
    let client = program.client();
    let shop = client.create_proxy(&ProxyInput::new("shop", &upstream.address)).await.unwrap();
    read_all(&shop.listen).await;
    client.set_enabled("shop", false).await.unwrap();
    assert!(TcpStream::connect(&shop.listen).await.is_err());
    client.set_enabled("shop", true).await.unwrap();
    client
        .add_toxic("shop", &ToxicInput::new("slow", &Attributes::of_type("latency").unwrap()))
        .await
        .unwrap();
    read_all(&shop.listen).await;
    let draws = client.draws("shop").await.unwrap();
    assert_eq!(draws.connections.iter().map(|connection| connection.number).collect::<Vec<_>>(), [2]);
}
