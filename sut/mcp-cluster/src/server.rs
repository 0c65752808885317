//! One server: binding, serving and stopping.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use rmcp::transport::streamable_http_server::StreamableHttpServerConfig;
use serving::process::Grace;
use serving::traces::Traces;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::cluster::Cluster;
use crate::knobs::Knobs;
use crate::members::{Kind, Member, Members};
use crate::peer::{self, Client};
use crate::records::Limits;
use crate::routes;
use crate::tls::{Tls, TlsListener};

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name in the cluster; absent = region and type.
    pub name: Option<String>,
    /// What it offers.
    pub kind: Kind,
    /// Where it stands.
    pub region: String,
    /// Address to listen on.
    pub host: IpAddr,
    /// Port for clients there; 0 = any free one.
    pub port: u16,
    /// Port for other servers there; 0 = any free one.
    pub peer_port: u16,
    /// The cluster; absent = this server alone, until it is told.
    pub members: Option<Members>,
    /// What servers of the cluster know each other by; absent = drawn, so that nobody knows it.
    pub peer_token: Option<String>,
    /// Who may turn the knobs; absent = nobody.
    pub admin_token: Option<String>,
    /// What clients must carry; absent = nothing.
    pub bearer: Option<String>,
    /// The server's identity; absent = plain HTTP.
    pub tls: Option<Tls>,
    /// The knobs at the start.
    pub knobs: Knobs,
    /// Where spans of requests go. Servers of one process may share it.
    pub traces: Traces,
    /// Of what is planted and of the series.
    pub seed: u64,
    /// What it holds at most.
    pub limits: Limits,
    /// Sessions at most.
    pub max_sessions: usize,
    /// Whether clients of revisions that know sessions get one; without, each request is by itself.
    pub sessions: bool,
    /// How long a server may take to answer another one.
    pub peer_timeout: Duration,
    /// Time between two looks after copies.
    pub repair_every: Duration,
    /// How long calls in progress may take after the signal to stop.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: None,
            kind: Kind::StorageController,
            region: "us-east-1".to_owned(),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            peer_port: 0,
            members: None,
            peer_token: None,
            admin_token: None,
            bearer: None,
            tls: None,
            knobs: Knobs::default(),
            traces: Traces::default(),
            seed: 0,
            limits: Limits::default(),
            max_sessions: 10_000,
            sessions: true,
            peer_timeout: Duration::from_secs(3),
            repair_every: Duration::from_secs(1),
            grace: Duration::from_secs(5),
        }
    }
}

impl Options {
    /// The name in the cluster.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}-{}", self.region, self.kind))
    }
}

/// Why a server could not be started or went down.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is taken, or not allowed, or the address is not this machine's.
    #[error("port {} on {} cannot be bound; another port, or 0 for any free one, mends it", address.port(), address.ip())]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Members or knobs with values out of range.
    #[error("{0}")]
    Options(String),
    /// Certificate or key cannot be used.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// Nothing for asking other servers can be made.
    #[error("other servers cannot be asked")]
    Client(#[from] reqwest::Error),
    /// Anything else of the operating system.
    #[error("serving failed")]
    Io(#[from] io::Error),
}

/// A bound server that does not serve yet.
pub struct Server {
    clients: TcpListener,
    peers: TcpListener,
    member: Member,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    app: Arc<App>,
    options: Options,
}

async fn bind(host: IpAddr, port: u16) -> Result<TcpListener, ServerError> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address).await.map_err(|source| ServerError::Bind { address, source })
}

pub(crate) fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

impl Server {
    /// Binds both ports.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(options: Options) -> Result<Self, ServerError> {
        let name = options.name();
        let mut problems = options.knobs.problems();
        problems.extend(options.members.iter().flat_map(|members| members.problems_for(&name)));
        if !problems.is_empty() {
            return Err(ServerError::Options(problems.join("; ")));
        }
        let tls = options.tls.as_ref().map(Tls::acceptor).transpose().map_err(ServerError::Tls)?;
        let clients = bind(options.host, options.port).await?;
        let peers = bind(options.host, options.peer_port).await?;
        let address = clients.local_addr()?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let member = Member {
            name: name.clone(),
            kind: options.kind,
            region: options.region.clone(),
            url: format!("{scheme}://{address}"),
            peer: peers.local_addr()?.to_string(),
        };
        let alone = || Members { replication: 1, servers: vec![member.clone()] };
        let members = options.members.clone().unwrap_or_else(alone);
        let peer_token = options.peer_token.clone().map_or_else(token, Ok)?;
        let client = Client::new(peer_token.clone(), options.peer_timeout)?;
        let cluster = Cluster::new(name.clone(), members, options.limits, client, peer_token);
        let (admin, bearer) = (options.admin_token.clone(), options.bearer.clone());
        let (kind, region, knobs) = (options.kind, options.region.clone(), options.knobs.clone());
        let traces = options.traces.clone();
        let app = App::new(name, kind, region, options.seed, cluster, admin, bearer, knobs, traces);
        Ok(Self { clients, peers, member, address, tls, app: Arc::new(app), options })
    }

    /// This server, as the members of a cluster have it.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Takes the members of the cluster, before it serves.
    ///
    /// # Errors
    /// When this server is not one of them, or they make no cluster.
    pub fn set_members(&self, members: Members) -> Result<(), ServerError> {
        let problems = members.problems_for(&self.member.name);
        if !problems.is_empty() {
            return Err(ServerError::Options(problems.join("; ")));
        }
        self.app.cluster.set_members(members);
        Ok(())
    }

    /// Where clients reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends, lets calls in progress finish within the grace, closes what is open then, and sends what spans
    /// there are.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let (grace, traces) = (Grace::new(self.options.grace), self.options.traces.clone());
        let served = self.serve(grace.begins_with(stop)).await;
        traces.end(grace.left());
        served
    }

    /// As [`Server::run`], but for the spans, which may be those of other servers, too.
    pub(crate) async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        // Two ends: of what is taken on, and of what is open.
        let (drain, close) = (CancellationToken::new(), CancellationToken::new());
        let protocol = self.protocol(close.clone());
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let clients =
            routes::router(&self.app, &self.member.url, self.options.max_sessions, protocol, scheme);
        // Without it, Nagle's algorithm and delayed acknowledgements add 40 ms to some answers.
        let plain = |listener: TcpListener| {
            listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            })
        };
        let peers = serve(plain(self.peers), peer::router(Arc::clone(&self.app)), drain.clone());
        let serving = async {
            let clients = async {
                match self.tls {
                    Some(acceptor) => {
                        serve(TlsListener::new(self.clients, acceptor), clients, drain.clone()).await
                    }
                    None => serve(plain(self.clients), clients, drain.clone()).await,
                }
            };
            tokio::try_join!(clients, peers).map(drop)
        };
        let mut serving = pin!(serving);
        let served = tokio::select! {
            ended = &mut serving => ended,
            () = self.app.cluster.maintain(self.options.repair_every) => Ok(()),
            () = stop => {
                drain.cancel();
                let end = async {
                    idle(&self.app, self.options.grace).await;
                    close.cancel();
                    std::future::pending::<io::Result<()>>().await
                };
                let last = self.options.grace + CLOSING;
                let ended = async {
                    tokio::select! {
                        ended = &mut serving => ended,
                        ended = end => ended,
                    }
                };
                // What is not done by then is cut off.
                tokio::time::timeout(last, ended).await.unwrap_or(Ok(()))
            }
        };
        Ok(served?)
    }

    fn protocol(&self, close: CancellationToken) -> StreamableHttpServerConfig {
        let config = StreamableHttpServerConfig::default()
            .with_cancellation_token(close)
            .with_legacy_session_mode(self.options.sessions)
            // No page of a browser is a client: whoever sends an origin is refused.
            .enforce_origin_validation();
        if !self.options.host.is_loopback() {
            // Whatever name it is reached by is its own.
            return config.disable_allowed_hosts();
        }
        let host = self.options.host.to_string();
        config.with_allowed_hosts(["localhost".to_owned(), "127.0.0.1".into(), "::1".into(), host])
    }
}

/// How long open streams may take to close.
const CLOSING: Duration = Duration::from_secs(1);
/// Time between two looks whether calls are in progress.
const LOOK: Duration = Duration::from_millis(20);

/// Waits until no call is in progress and its answer can have been written, at most for the grace.
async fn idle(app: &App, grace: Duration) {
    let calm = async {
        // Several in a row: a call ends before the last byte of its answer is written.
        let mut calm = 0;
        while calm < 5 {
            tokio::time::sleep(LOOK).await;
            calm = if app.counters.calls.load(Ordering::Acquire) == 0 { calm + 1 } else { 0 };
        }
    };
    let _ = tokio::time::timeout(grace, calm).await;
}

async fn serve<L>(listener: L, router: Router, drain: CancellationToken) -> io::Result<()>
where
    L: Listener,
    L::Addr: fmt::Debug,
{
    axum::serve(listener, router).with_graceful_shutdown(drain.cancelled_owned()).await
}

/// A server in this process, on a thread and runtime of its own. Dropped, it stops.
pub type Running = serving::Running<Server>;

impl serving::Target for Server {
    type Options = Options;
    type Error = ServerError;
    const NAME: &'static str = "mcp-server";

    async fn bind(options: Options) -> Result<Self, ServerError> {
        Self::bind(options).await
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        self.run(stop).await
    }
}
