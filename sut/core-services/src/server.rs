//! Binding, serving and stopping, for `main` and for tests that want the target in their own process.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use serving::process::Grace;
use serving::traces::Traces;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::access_log::AccessLog;
use crate::app::App;
use crate::breaker;
use crate::database::{self, Database};
use crate::items::Items;
use crate::knobs::Knobs;
use crate::routes;
use crate::store::Store;

/// How the target is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on. Whoever reaches it may read and add items; only `/admin` asks for a token.
    pub host: IpAddr,
    /// Port there; 0 = any free one.
    pub port: u16,
    /// Items in the store at the start, if it has none yet.
    pub items: usize,
    /// Items that the cache of a store in memory holds; 0 = no cache.
    pub cache_items: usize,
    /// The breaker in front of the simulated backend.
    pub breaker: breaker::Settings,
    /// Where items are; absent = in memory.
    pub database: Option<database::Settings>,
    /// Where to log requests; absent = no log.
    pub access_log: Option<PathBuf>,
    /// Who may turn the knobs; absent = nobody.
    pub admin_token: Option<String>,
    /// The knobs at the start.
    pub knobs: Knobs,
    /// Where spans of requests go.
    pub traces: Traces,
    /// How long requests in progress may take after the signal to stop.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            items: 1_000,
            cache_items: 900,
            breaker: breaker::Settings::default(),
            database: None,
            access_log: None,
            admin_token: None,
            knobs: Knobs::default(),
            traces: Traces::default(),
            grace: Duration::from_secs(5),
        }
    }
}

/// Why the target could not be started or went down.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is taken, or not allowed, or the address is not this machine's.
    #[error("port {} on {} cannot be bound; another --port, or 0 for any free one, mends it", address.port(), address.ip())]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The access log cannot be created or written.
    #[error("the access log {} cannot be written", path.display())]
    AccessLog {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Knobs with values out of range.
    #[error("knobs: {0}")]
    Knobs(String),
    /// The database cannot be used.
    #[error("{0}")]
    Database(String),
    /// Anything else of the operating system.
    #[error("serving failed")]
    Io(#[from] io::Error),
}

/// A bound target that does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    options: Options,
}

impl Server {
    /// Binds the port and opens the access log.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(options: Options) -> Result<Self, ServerError> {
        let problems = options.knobs.problems();
        if !problems.is_empty() {
            return Err(ServerError::Knobs(problems.join("; ")));
        }
        let wanted = SocketAddr::new(options.host, options.port);
        let bind = |source| ServerError::Bind { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = listener.local_addr()?;
        let access_log = match &options.access_log {
            Some(path) => Some(
                AccessLog::create(path)
                    .map_err(|source| ServerError::AccessLog { path: path.clone(), source })?,
            ),
            None => None,
        };
        let store = match &options.database {
            None => Store::Memory(Items::new(options.items, options.cache_items)),
            Some(settings) => {
                let opened = Database::open(settings.clone(), options.items).await;
                Store::Database(Box::new(opened.map_err(|error| ServerError::Database(error.to_string()))?))
            }
        };
        let (token, knobs) = (options.admin_token.clone(), options.knobs.clone());
        let app = App::new(store, options.breaker, access_log, token, knobs, options.traces.clone());
        Ok(Self { listener, address, app: Arc::new(app), options })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends, lets requests in progress finish within the grace, flushes the access log and sends what spans
    /// there are.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let (drain, drained) = oneshot::channel::<()>();
        // Without it, Nagle's algorithm and delayed acknowledgements add 40 ms to some answers.
        let listener = self.listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let service = routes::router(Arc::clone(&self.app));
        let serving = axum::serve(listener, service).with_graceful_shutdown(async {
            let _ = drained.await;
        });
        let mut serving = pin!(serving.into_future());
        let grace = Grace::new(self.options.grace);
        let served = tokio::select! {
            ended = &mut serving => ended,
            () = maintain(&self.app.store) => Ok(()),
            () = grace.begins_with(stop) => {
                let _ = drain.send(());
                // What is not done by then is cut off, and logged as such when it is dropped.
                tokio::time::timeout(self.options.grace, serving).await.unwrap_or(Ok(()))
            }
        };
        if let Store::Database(database) = &self.app.store {
            database.close();
        }
        self.app.traces.end(grace.left());
        if let (Some(log), Some(path)) = (&self.app.access_log, &self.options.access_log) {
            log.flush().map_err(|source| ServerError::AccessLog { path: path.clone(), source })?;
        }
        Ok(served?)
    }
}

/// Looks after the store's connections, until it is dropped.
async fn maintain(store: &Store) {
    match store {
        Store::Memory(_) => std::future::pending().await,
        Store::Database(database) => database.maintain().await,
    }
}

/// A target in this process, on a thread and runtime of its own. Dropped, it stops.
pub type Running = serving::Running<Server>;

impl serving::Target for Server {
    type Options = Options;
    type Error = ServerError;
    const NAME: &'static str = "core-services";

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
