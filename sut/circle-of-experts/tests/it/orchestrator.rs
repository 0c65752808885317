//! The orchestrator as its users meet it: over HTTP, in front of real experts.

mod admin;
mod guards;
mod lists;
pub(crate) mod process;
mod truth;
mod wire;

use std::time::{Duration, Instant};

use circle_of_experts::model::Model;
use circle_of_experts::orchestrator::{Options, Orchestrator, Settings};
use circle_of_experts::{Circle, Running, Server};
use serde_json::{Value, json};

use crate::TOKEN;

/// Nothing in a test takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Experts and an orchestrator in front of them. Dropped, they stop, the orchestrator first.
struct Council {
    orchestrator: Running<Orchestrator>,
    experts: Running<Server>,
    client: reqwest::Client,
}

fn experts(circle: Circle, experts: u32) -> Running<Server> {
    let admin_token = Some(TOKEN.to_owned());
    Running::start(circle_of_experts::Options {
        experts,
        circle,
        admin_token,
        grace: Duration::ZERO,
        ..Default::default()
    })
    .unwrap()
}

fn options(experts: &Running<Server>, settings: Value) -> Options {
    Options {
        lists: vec![experts.url()],
        settings: serde_json::from_value::<Settings>(settings).unwrap(),
        admin_token: Some(TOKEN.to_owned()),
        seed: 3,
        grace: Duration::ZERO,
        ..Options::default()
    }
}

impl Council {
    async fn start(circle: Circle, count: u32, settings: Value) -> Self {
        let experts = experts(circle, count);
        let orchestrator = Running::start(options(&experts, settings)).unwrap();
        let council = Self { orchestrator, experts, client: reqwest::Client::new() };
        ready(&council.client, &council.orchestrator).await;
        council
    }

    async fn ask(&self, question: &str) -> (u16, Value) {
        ask(&self.client, &self.orchestrator.url(), question).await
    }

    /// How the experts behave from now on.
    async fn behave(&self, circle: &Circle) {
        let request = self.client.put(format!("{}/admin/circle", self.experts.url()));
        let answer = request.bearer_auth(TOKEN).json(circle).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    /// How the orchestrator asks from now on.
    async fn tune(&self, settings: Value) {
        let request = self.client.put(format!("{}/admin/settings", self.orchestrator.url()));
        let answer = request.bearer_auth(TOKEN).json(&settings).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }

    async fn metrics(&self) -> String {
        text(&self.client, &format!("{}/metrics", self.orchestrator.url())).await
    }

    /// Waits until the orchestrator's metrics have a line.
    async fn until(&self, line: &str) {
        let begin = Instant::now();
        loop {
            let metrics = self.metrics().await;
            if metrics.lines().any(|found| found == line) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "no {line} in\n{metrics}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn text(client: &reqwest::Client, url: &str) -> String {
    client.get(url).send().await.unwrap().text().await.unwrap()
}

async fn ready(client: &reqwest::Client, orchestrator: &Running<Orchestrator>) {
    let begin = Instant::now();
    loop {
        let answer = client.get(format!("{}/ready", orchestrator.url())).send().await.unwrap();
        if answer.status() == 200 {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", answer.text().await.unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ask(client: &reqwest::Client, url: &str, question: &str) -> (u16, Value) {
    let request = client.post(format!("{url}/v1/consensus")).json(&json!({ "question": question }));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Experts of which all but those named are alike.
fn circle(all: Model, others: &[(u32, Model)]) -> Circle {
    Circle { seed: 5, all, experts: others.iter().cloned().collect(), ..Circle::default() }
}

/// Quick experts who are always right.
fn agreeing() -> Model {
    Model { quality: 1.0, ..crate::quick() }
}

/// Experts who take longer than any test.
fn slow() -> Model {
    Model { first_token_ms: [600_000.0, 600_000.0], ..agreeing() }
}

/// A key of the reports of all experts.
fn all<'a>(verdict: &'a Value, key: &str) -> Vec<&'a Value> {
    verdict["experts"].as_array().unwrap().iter().map(|report| &report[key]).collect()
}
