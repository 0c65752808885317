//! The state that all requests to one server share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use rmcp::model::Tool;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use serving::knobs::{Ballast, burn};
use serving::traces::Traces;
use serving::versions::Versions;

use crate::cluster::Cluster;
use crate::knobs::Knobs;
use crate::members::Kind;
use crate::metrics::Counters;
use crate::tools;
use crate::tools::hub::Channels;

/// Knobs and when they were set.
struct Tuning {
    knobs: Knobs,
    set: Instant,
}

pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) region: String,
    /// Of what is planted and drawn.
    pub(crate) seed: u64,
    pub(crate) cluster: Cluster,
    pub(crate) tools: Vec<Tool>,
    pub(crate) channels: Channels,
    pub(crate) counters: Counters,
    /// Of clients whose revision has them; the SDK's.
    pub(crate) sessions: Arc<LocalSessionManager>,
    pub(crate) admin_token: Option<String>,
    /// What clients must carry; absent = nothing.
    pub(crate) bearer: Option<String>,
    pub(crate) traces: Traces,
    tuning: RwLock<Arc<Tuning>>,
    versions: Mutex<Versions<Knobs>>,
    ballast: Ballast,
    calls: AtomicU64,
    /// Calls by tool and how they ended.
    by_tool: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl App {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from the options")]
    pub(crate) fn new(
        name: String,
        kind: Kind,
        region: String,
        seed: u64,
        cluster: Cluster,
        admin_token: Option<String>,
        bearer: Option<String>,
        knobs: Knobs,
        traces: Traces,
    ) -> Self {
        let app = Self {
            name,
            kind,
            region,
            seed,
            cluster,
            tools: tools::of(kind),
            channels: Channels::default(),
            counters: Counters::default(),
            sessions: Arc::default(),
            admin_token,
            bearer,
            traces,
            tuning: RwLock::new(Arc::new(Tuning { knobs: Knobs::default(), set: Instant::now() })),
            versions: Mutex::new(Versions::new(knobs.clone())),
            ballast: Ballast::default(),
            calls: AtomicU64::new(0),
            by_tool: Mutex::default(),
        };
        app.tune(knobs);
        app
    }

    pub(crate) fn knobs(&self) -> Knobs {
        self.tuning().knobs.clone()
    }

    /// Replaces all knobs; a stall's time counts from now.
    pub(crate) fn tune(&self, knobs: Knobs) {
        self.ballast.hold(knobs.memory_mib << 20);
        let tuning = Arc::new(Tuning { knobs, set: Instant::now() });
        *self.tuning.write().unwrap_or_else(PoisonError::into_inner) = tuning;
    }

    pub(crate) fn versions(&self) -> MutexGuard<'_, Versions<Knobs>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a tool call costs as tuned; whether it is one that goes on.
    pub(crate) async fn toll(&self) -> bool {
        let tuning = self.tuning();
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let time = tuning.knobs.time(number);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
        burn(tuning.knobs.cpu_burn_us);
        !tuning.knobs.fails(number)
    }

    /// Holds an answer back while a stall lasts.
    pub(crate) async fn stall(&self) {
        // Knobs may change meanwhile: a new stall holds the answer on, a withdrawn one lets it go at its old end.
        loop {
            let tuning = self.tuning();
            let Some(stall) = tuning.knobs.stall else { return };
            let since = u64::try_from(tuning.set.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let Some(wait) = stall.remaining(0, since) else { return };
            tokio::time::sleep(wait).await;
        }
    }

    pub(crate) fn called(&self, tool: &str, outcome: &'static str) {
        // Only names of tools that there are: a client's must not fill the metrics.
        let known = tools::names(self.kind).iter().find(|name| **name == tool);
        let key = (known.copied().unwrap_or("unknown"), outcome);
        *self.by_tool.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    }

    pub(crate) fn by_tool(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.by_tool.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tuning(&self) -> Arc<Tuning> {
        Arc::clone(&self.tuning.read().unwrap_or_else(PoisonError::into_inner))
    }
}
