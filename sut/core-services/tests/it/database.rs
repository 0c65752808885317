//! Over a real PostgreSQL with three streaming replicas, shared by these tests, each in a database of its own.

mod breakers;
mod caches;
mod distributed;
mod integrity;
mod pools;
mod routing;
mod sqlite;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use core_services::database::Settings;
use core_services::{Options, Running};
use reqwest::Response;
use serde_json::{Value, json};
use test_servers::postgres::{Postgres, Settings as ServerSettings};

pub(crate) const TOKEN: &str = "let me in";
const DEADLINE: Duration = Duration::from_secs(60);

/// A primary and its replicas.
pub(crate) struct Cluster {
    pub(crate) primary: Postgres,
    pub(crate) replicas: Vec<Postgres>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let (primary, replicas) = Postgres::start_with_replicas(&ServerSettings::default(), 3);
        Self { primary, replicas }
    }

    /// The one that tests share which leave it as it is.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Settings over an empty database that all replicas have.
    pub(crate) fn settings(&self) -> (Settings, String) {
        let primary = self.primary.database();
        let name = primary.rsplit('/').next().unwrap().to_owned();
        let has = format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'");
        wait("the replicas to have the database", || {
            self.replicas.iter().all(|replica| replica.execute("postgres", &has) == ["1"])
        });
        let replicas = self.replicas.iter().map(|replica| replica.url(&name)).collect();
        (Settings { replicas, ..Settings::new(&primary) }, name)
    }

    /// Waits until every replica has so many items.
    pub(crate) fn replicated(&self, database: &str, items: usize) {
        let there = "SELECT count(*) FROM pg_tables WHERE tablename = 'items'";
        wait("the replicas to have the items", || {
            self.replicas.iter().all(|replica| {
                replica.execute(database, there) == ["1"]
                    && replica.execute(database, "SELECT count(*) FROM items") == [items.to_string()]
            })
        });
    }
}

/// Without a cache, so that each read is a query.
pub(crate) fn uncached(settings: Settings) -> Settings {
    Settings { l1_bytes: 0, l2_bytes: 0, ..settings }
}

pub(crate) fn start(settings: Settings) -> Running {
    let database = Some(settings);
    Running::start(Options { admin_token: Some(TOKEN.into()), items: 100, database, ..Options::default() })
        .unwrap()
}

pub(crate) fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub(crate) async fn wait_for<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn get(target: &Running, path: &str) -> Response {
    let client = reqwest::Client::new();
    client.get(format!("{}{path}", target.url())).bearer_auth(TOKEN).send().await.unwrap()
}

pub(crate) async fn status(target: &Running, path: &str) -> u16 {
    get(target, path).await.status().as_u16()
}

pub(crate) async fn add(target: &Running, name: &str) -> (u16, Value) {
    let client = reqwest::Client::new();
    let item = json!({ "name": name, "price": 1.5 });
    let answer = client.post(format!("{}/items", target.url())).json(&item).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub(crate) async fn put(target: &Running, path: &str, body: &Value) -> (u16, Value) {
    let client = reqwest::Client::new();
    let request = client.put(format!("{}{path}", target.url())).bearer_auth(TOKEN).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A value in the metrics, by its whole name with labels.
pub(crate) async fn metric(target: &Running, name: &str) -> f64 {
    let text = get(target, "/metrics").await.text().await.unwrap();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
}
