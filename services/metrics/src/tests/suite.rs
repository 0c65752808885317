//! The service under test and a target for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use bus::{Address, Bus};
use protocol::id::RunId;
use protocol::message::Command;
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use store::{RecordKey, RunRow, RunState, Store};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{Options, run};

/// Long enough for a machine with other things to do.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Suite {
    dir: TempDir,
    pub(super) store: Store,
    pub(super) bus: Bus,
    pub(super) prometheus: SocketAddr,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl Suite {
    pub(super) async fn start() -> Self {
        Self::open(TempDir::new().unwrap()).await
    }

    async fn open(dir: TempDir) -> Self {
        let store = Store::open(&dir.path().join("store.sqlite")).unwrap();
        let bus = Bus::in_process(store.clone(), &dir.path().join("objects")).unwrap();
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let (bound, prometheus) = oneshot::channel();
        let options =
            Options { prometheus: Some(crate::endpoint::ANY), prometheus_bound: Some(bound), ready: None };
        let service = run(options, bus.clone(), store.clone(), shutdown.clone());
        tasks.spawn("metrics", OnError::ShutDown, service);
        let prometheus = prometheus.await.unwrap();
        Self { dir, store, bus, prometheus, shutdown, tasks }
    }

    /// Ends the service in an orderly way and starts it again on the same files.
    pub(super) async fn restart(self) -> Self {
        let Self { dir, store, bus, shutdown, tasks, .. } = self;
        shutdown.trigger("restart");
        assert_eq!(tasks.finish(DEADLINE).await, Vec::<&str>::new());
        assert_eq!(tasks.failures(), Vec::new());
        drop(bus);
        store.close().await;
        Self::open(dir).await
    }

    pub(super) async fn ask<C: Command>(&self, command: C) -> Result<C::Reply, String> {
        self.bus.command(&Address::Service, &command, DEADLINE).await.map_err(|error| error.to_string())
    }

    pub(super) async fn record(&self, (key, batch): &(RecordKey, v1::SampleBatch)) {
        self.bus.record(key, batch).await.unwrap();
    }

    /// Stores a running run and has it watched under this plan.
    pub(super) async fn watch(&self, run: RunId, plan: &str, processes: Vec<v1::WatchedProcess>) {
        let plan_digest = self.bus.put_object(plan.as_bytes()).await.unwrap();
        if self.store.run(run).await.unwrap().is_none() {
            let row = RunRow {
                id: run,
                name: "test".into(),
                created_unix_ns: 1,
                plan_digest: plan_digest.clone(),
                base_dir: self.dir.path().to_string_lossy().into_owned(),
                state: RunState::Running,
            };
            self.store.create_run(row).await.unwrap();
        }
        let scenarios = ["one", "two"].map(|name| v1::ScenarioSteps {
            steps: vec![format!("{name}-a"), format!("{name}-b")],
            ..Default::default()
        });
        let watch =
            v1::WatchRun { run: run.to_bytes(), plan_digest, processes, scenarios: scenarios.to_vec() };
        self.ask(watch).await.unwrap();
    }

    pub(super) async fn mark(&self, run: RunId, phase: u32) {
        let t0_unix_ns = crate::probe::Now::read().unix_ns;
        self.ask(v1::MarkPhase { run: run.to_bytes(), phase, t0_unix_ns }).await.unwrap();
    }

    pub(super) async fn phase(&self, run: RunId, phase: u32) -> v1::PhaseSeries {
        let query = v1::QueryRun { run: run.to_bytes(), phase: Some(phase) };
        self.ask(query).await.unwrap().phases.pop().unwrap_or_default()
    }

    /// The phase once so many parts were applied.
    pub(super) async fn phase_with(&self, run: RunId, phase: u32, batches: u64) -> v1::PhaseSeries {
        let series = async || {
            let series = self.phase(run, phase).await;
            let applied: u64 = series.workers.iter().map(|worker| worker.batches).sum();
            (applied >= batches).then_some(series)
        };
        until("all batches are applied", series).await
    }

    pub(super) async fn probes(&self, run: RunId) -> Vec<v1::ProbeState> {
        self.ask(v1::QueryProbes { run: run.to_bytes() }).await.unwrap().probes
    }
}

/// Waits for a condition.
pub(super) async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let met = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, met).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// A target that answers as told.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) status: Arc<AtomicU16>,
    pub(super) metrics: Arc<Mutex<String>>,
    pub(super) agents: Arc<Mutex<Vec<String>>>,
    _tasks: Tasks,
}

#[derive(Clone)]
struct Told {
    status: Arc<AtomicU16>,
    metrics: Arc<Mutex<String>>,
    agents: Arc<Mutex<Vec<String>>>,
}

impl Target {
    pub(super) async fn start() -> Self {
        let told =
            Told { status: Arc::new(AtomicU16::new(200)), metrics: Arc::default(), agents: Arc::default() };
        let health = async |State(told): State<Told>, headers: HeaderMap| {
            let agent = headers["user-agent"].to_str().unwrap().to_owned();
            told.agents.lock().unwrap().push(agent);
            StatusCode::from_u16(told.status.load(Ordering::Relaxed)).unwrap()
        };
        let metrics = async |State(told): State<Told>| told.metrics.lock().unwrap().clone();
        let router = Router::new()
            .route("/health", get(health))
            .route("/metrics", get(metrics))
            .with_state(told.clone());
        let listener = tokio::net::TcpListener::bind(crate::endpoint::ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn("target", OnError::Log, async move { axum::serve(listener, router).await });
        let Told { status, metrics, agents } = told;
        Self { address, status, metrics, agents, _tasks: tasks }
    }

    /// A plan with this target and a second one that declares nothing.
    pub(super) fn plan(&self, extra: &str) -> String {
        let address = self.address;
        format!(
            r#"
name = "probed"
run-phases = ["idle", "baseline"]
[control]
probe-interval = "250ms"
probe-timeout = "2s"
[targets.shop]
url = "http://{address}"
health = "http://{address}/health"
{extra}
[targets.bare]
url = "http://{address}"
[[scenarios]]
name = "buy"
guest = "http"
target = "shop"
weight = 3
config.steps = [{{ name = "home", get = "/" }}]
[[scenarios]]
name = "look"
guest = "http"
target = "bare"
config.steps = [{{ name = "home", get = "/" }}]
"#
        )
    }
}
