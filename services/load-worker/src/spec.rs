//! What a load thread is told, and what it answers: plain data, resolved and verified before the thread starts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plan::model::{Balance, LoadModel, OutlierDetection};
use protocol::v1;

use crate::feeder::Feeder;
use crate::io::socket::Address;
use crate::lease::Lease;
use crate::schedule::Share;

/// Everything about a load thread that stays the same for the whole run.
#[derive(Clone)]
pub struct ThreadSpec {
    /// Number of this thread, from 0.
    pub index: u32,
    /// Load threads of this worker, at least 1.
    pub threads: u32,
    /// The plan's seed.
    pub seed: u64,
    /// The mix, in the plan's order; never empty.
    pub scenarios: Vec<ScenarioSpec>,
    /// All targets of the plan, in its order.
    pub targets: Vec<TargetSpec>,
    /// Starts handed to a guest at once at most; at least 1.
    pub batch: u32,
    /// Deadline for reaching a peer: over TCP and through a proxy, all addresses of its name together.
    pub connect_timeout: Duration,
    /// Deadline for what the two say to each other before the first request: TLS handshake and HTTP/2's greeting.
    pub handshake_timeout: Duration,
    /// Connections begun a second at most beside those that requests ask for; at least 1.
    pub connect_rate: u32,
    /// Largest answer head that is read, bytes.
    pub max_head: u32,
    /// Largest answer body that is read, bytes.
    pub max_body: u64,
    /// Largest server-sent event that is read, bytes.
    pub max_event: u32,
    /// Whether requests of one turn are written together where the host has io_uring.
    pub io_uring: bool,
    /// Until when it may send.
    pub lease: Lease,
}

/// A scenario of the mix.
#[derive(Clone)]
pub struct ScenarioSpec {
    /// As the plan names it.
    pub name: String,
    /// Its guest, compiled.
    pub guest: Arc<dyn crate::engine::Source>,
    /// Indices into [`ThreadSpec::targets`]; a request's `endpoint` indexes this list. Never empty.
    pub targets: Vec<u32>,
    /// Deadline of a request that names none.
    pub timeout: Duration,
    /// Deadline of an answer's first byte, from when its request is first written; `None` = the request's own alone.
    pub response_timeout: Option<Duration>,
    /// The open feeders, by the name that `abi::Feed::file` gives.
    pub feeds: BTreeMap<String, Arc<Feeder>>,
}

/// By what connections are divided among so many targets: each scenario's weight is shared equally among its targets.
pub(crate) fn target_weights<'a>(
    targets: usize,
    scenarios: impl IntoIterator<Item = &'a ScenarioSpec>,
    weights: &[f64],
) -> Vec<f64> {
    let mut shares = vec![0.0; targets];
    for (scenario, weight) in scenarios.into_iter().zip(weights) {
        for target in &scenario.targets {
            if let Some(share) = shares.get_mut(*target as usize) {
                *share += weight / scenario.targets.len() as f64;
            }
        }
    }
    shares
}

/// A target.
#[derive(Clone)]
pub struct TargetSpec {
    /// As the plan names it.
    pub name: String,
    /// Where it listens. Never empty.
    pub endpoints: Vec<Endpoint>,
    /// Which of several endpoints a request goes to.
    pub balance: Balance,
    /// When an endpoint that fails is ejected; `None` = never.
    pub outlier_detection: Option<OutlierDetection>,
    /// HTTP/2 is spoken, with so many requests on a connection at a time at most (at least 1); `None` = HTTP/1.1.
    pub http2: Option<u32>,
    /// `false` = each request has a fresh connection, whatever its guest asks for.
    pub keep_alive: bool,
}

/// One base URL of a target, resolved.
#[derive(Clone)]
pub struct Endpoint {
    /// As the plan writes it, for messages.
    pub url: String,
    /// TLS, for `https://`.
    pub tls: Option<TlsSpec>,
    /// All addresses of the host, in the resolver's order. Never empty but with a socket.
    pub addrs: Vec<SocketAddr>,
    /// The Unix socket that it listens on, in the place of addresses.
    pub socket: Option<PathBuf>,
    /// `host:port` to which the proxy that `addrs` are of makes a tunnel.
    pub tunnel: Option<String>,
    /// What that proxy is shown, the value of Proxy-Authorization: with a tunnel when it is asked for it, else with each
    /// request. A secret: it belongs in no message.
    pub proxy_authorization: Option<String>,
    /// Value of the Host header: host, and the port unless it is the scheme's own.
    pub host_header: String,
    /// Path of the base URL without a slash at its end, `""` mostly; for a proxy that passes requests on, the whole base
    /// URL. Stands before the guest's path.
    pub base_path: String,
    /// Where it is reached instead in some phases.
    pub detour: Option<Detour>,
}

impl Endpoint {
    /// An HTTP server in the clear at one address, with nothing in between.
    #[must_use]
    pub fn plain(addr: SocketAddr) -> Self {
        Self {
            url: format!("http://{addr}"),
            tls: None,
            addrs: vec![addr],
            socket: None,
            tunnel: None,
            proxy_authorization: None,
            host_header: addr.to_string(),
            base_path: String::new(),
            detour: None,
        }
    }

    /// Whether a phase's connections go to the detour.
    #[must_use]
    pub fn is_detoured_in(&self, phase: u32) -> bool {
        self.detour.as_ref().is_some_and(|detour| detour.phases.contains(&phase))
    }

    /// How many addresses there are to try.
    #[must_use]
    pub fn ways(&self, detoured: bool) -> usize {
        if self.socket.is_some() && !detoured { 1 } else { self.way(detoured).len() }
    }

    /// One of the addresses to try; `None` when there are not so many.
    #[must_use]
    pub fn address(&self, detoured: bool, number: usize) -> Option<Address<'_>> {
        match &self.socket {
            Some(path) if !detoured => (number == 0).then_some(Address::Unix(path)),
            _ => self.way(detoured).get(number).copied().map(Address::Tcp),
        }
    }

    /// Where connections go over TCP: to the endpoint itself, or to its detour.
    #[must_use]
    pub fn way(&self, detoured: bool) -> &[SocketAddr] {
        match &self.detour {
            Some(detour) if detoured => &detour.addrs,
            _ => &self.addrs,
        }
    }
}

/// A way to an endpoint through the fault proxy. What is said on it stays the endpoint's own: Host header, TLS and its name.
#[derive(Clone, Debug)]
pub struct Detour {
    /// All addresses of the proxy, in the resolver's order. Never empty.
    pub addrs: Vec<SocketAddr>,
    /// Indices of the phases that take it.
    pub phases: BTreeSet<u32>,
}

/// TLS towards an endpoint.
#[derive(Clone)]
pub struct TlsSpec {
    /// Roots, client certificate, versions and verifier, shared by all threads; without sessions.
    pub config: Arc<rustls::ClientConfig>,
    /// Sessions are resumed, of each thread its own.
    pub resumption: bool,
    /// The name that is asked for and verified.
    pub server_name: rustls_pki_types::ServerName<'static>,
}

/// A phase as one load thread runs it.
#[derive(Clone, Debug)]
pub struct PhaseSpec {
    /// Index in the run. Arrival numbers are `(phase << 40) | k`.
    pub phase: u32,
    /// Start of the phase on this host's monotonic clock; may lie a little in the future. All offsets count from it.
    pub t0: Instant,
    /// Length after scaling.
    pub duration: Duration,
    /// How load arrives, in the whole run, after scaling.
    pub model: LoadModel,
    /// Which arrivals and users are this thread's.
    pub share: Share,
    /// Transports that this thread holds open, over all its targets; in a walk at most this many
    /// ([`crate::schedule::Timeline::connections_at`] says how many now). At least 1 where the share is not empty
    /// and the phase has load.
    pub connections: u32,
    /// Transports of the whole run, all workers and threads together.
    pub total_connections: u32,
    /// Operations in progress on this thread at most. The guest's users are 0 … users − 1 on each thread.
    pub users: u32,
    /// The same of the whole run.
    pub total_users: u32,
    /// Users that guests are made for: more than `users` where the thread may have to take over another worker's.
    pub capacity: u32,
    /// Arrivals that wait on this thread at most.
    pub max_waiting: u64,
    /// Per scenario of [`ThreadSpec::scenarios`]: weights for drawing the scenario of an arrival.
    pub weights: Vec<f64>,
    /// Per scenario: its configuration in this phase.
    pub scenarios: Vec<PhaseScenario>,
}

/// A scenario's configuration in a phase, and where its parts are counted.
#[derive(Clone, Debug)]
pub struct PhaseScenario {
    /// The configuration with the phase's overrides merged in, as JSON: what the guest is instantiated with.
    pub config: String,
    /// Series index by `step * targets + endpoint` of this phase's setup.
    pub series: Vec<u32>,
    /// How many targets the scenario has.
    pub targets: u32,
    /// Index of each of this phase's checks among the run's checks of the scenario.
    pub checks: Vec<u32>,
    /// Index of each of this phase's metrics among the run's metrics of the scenario.
    pub metrics: Vec<u32>,
}

impl PhaseScenario {
    /// The series (an index for [`crate::record::Recorder`]) of a request; `None` when the guest names a step or an
    /// endpoint that does not exist.
    #[must_use]
    pub fn series(&self, step: u32, endpoint: u32) -> Option<u32> {
        if endpoint >= self.targets {
            return None;
        }
        let at = u64::from(step) * u64::from(self.targets) + u64::from(endpoint);
        self.series.get(usize::try_from(at).ok()?).copied()
    }
}

/// Control to load thread.
#[derive(Clone, Debug)]
pub enum EngineCommand {
    /// Begin a phase. The one before has ended.
    StartPhase(Box<PhaseSpec>),
    /// Change the running phase at an offset from its t0.
    Change {
        /// Which phase is meant; another one's is ignored.
        phase: u32,
        /// When it takes effect, nanoseconds from t0.
        at_offset_ns: u64,
        /// What changes.
        change: Change,
    },
    /// Change which numbers are the thread's own, at an offset from the running phase's t0.
    Reassign {
        /// Which phase is meant; another one's is ignored.
        phase: u32,
        /// From when on, nanoseconds from t0.
        at_offset_ns: u64,
        /// What it has from then on.
        assignment: Assignment,
    },
    /// What the worker's health checks say of an endpoint now, in any phase and between them.
    Health {
        /// Index into [`ThreadSpec::targets`].
        target: u32,
        /// Index into its endpoints.
        endpoint: u32,
        /// Whether requests may go to it.
        healthy: bool,
    },
    /// Stop arrivals now; operations in progress have `grace` to finish, then are cancelled. Answered with
    /// [`EngineEvent::PhaseEnded`].
    EndPhase {
        /// Which phase is meant.
        phase: u32,
        /// How long operations in progress may go on.
        grace: Duration,
        /// Whether arrivals that wait may begin within the grace. At a phase's end they stay waiting; of a worker that
        /// leaves in the middle they would be missing.
        drains: bool,
    },
    /// Nothing but a wake-up: control asked for a flip of the recorder
    /// ([`crate::record::Recorder::flip_if_asked`], once per turn of the loop) and the loop may be waiting.
    Flip,
    /// Close everything and end the thread.
    Exit,
}

/// What part of a phase is a thread's own, from some offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// How many assignments of the run came before it.
    pub epoch: u32,
    /// Its arrivals and users.
    pub share: Share,
    /// Transports that it holds open.
    pub connections: u32,
    /// Operations in progress at most; not over [`PhaseSpec::capacity`].
    pub users: u32,
}

impl Assignment {
    /// Nothing more to begin: what was due before is still sent, over the transports and by the users that are there
    /// ([`crate::schedule::Timeline::reassign`]).
    pub fn nothing(epoch: u32) -> Self {
        Self { epoch, share: Share::none(), connections: 0, users: 0 }
    }
}

/// A change of the running phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Requests per second of the whole run; in closed models its users.
    Rate(f64),
    /// No arrivals until [`Change::Resume`].
    Pause,
    /// Arrivals again, at the rate from before the pause; the schedule does not catch up.
    Resume,
    /// New length of the phase, nanoseconds from t0.
    ExtendTo(u64),
    /// Ramp the rate to zero over this many nanoseconds; then arrivals are over.
    RampDown(u64),
    /// Multiply the planned rate by this from here on; 1 = as planned.
    Factor(f64),
}

/// Load thread to control.
#[derive(Clone, Debug)]
pub enum EngineEvent {
    /// The phase's guests are instantiated and its connections are being made.
    Started {
        /// Which thread.
        thread: u32,
        /// Which phase.
        phase: u32,
    },
    /// The phase is over on this thread: nothing of it is in progress any more.
    PhaseEnded {
        /// Which thread.
        thread: u32,
        /// Which phase.
        phase: u32,
        /// The thread's totals ([`crate::record::Recorder::totals`]).
        arrivals: v1::ArrivalCounts,
    },
    /// The lease ended in a phase: nothing that is due from here on is sent until the thread is assigned a share anew.
    CutOff {
        /// Which thread.
        thread: u32,
        /// Which phase.
        phase: u32,
        /// Of the assignment that it had; 0 = that which the phase began with.
        epoch: u32,
        /// Where the lease ended, nanoseconds from t0.
        offset_ns: u64,
    },
    /// An endpoint was ejected for its failures, or comes back.
    Ejection {
        /// Which thread.
        thread: u32,
        /// Index into [`ThreadSpec::targets`].
        target: u32,
        /// Index into its endpoints.
        endpoint: u32,
        /// Failures in a row, and how long it is kept away; `None` = it comes back.
        ejected: Option<(u32, Duration)>,
    },
    /// A guest trapped or broke a limit; its instance was replaced.
    GuestFault {
        /// Which thread.
        thread: u32,
        /// Which phase.
        phase: u32,
        /// Index of the scenario.
        scenario: u32,
        /// `deadline`, `memory`, `output`, `trap`, `bad-output`.
        kind: String,
        /// What happened and in which call.
        message: String,
        /// Nanoseconds from t0.
        offset_ns: u64,
        /// Operations that ended as cancelled by it.
        operations_cancelled: u64,
    },
    /// The thread cannot go on and ends; nothing more comes from it.
    Fatal {
        /// Which thread.
        thread: u32,
        /// What happened, for the user.
        message: String,
    },
}
