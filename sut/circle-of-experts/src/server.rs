//! Binding, serving and stopping the experts.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serving::Target;
use serving::traces::Traces;
use tokio::net::TcpListener;

use crate::admin;
use crate::app::App;
use crate::model::Circle;
use crate::serve::serve;
use crate::write_log::WriteLog;

/// How the experts are set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on. Whoever reaches it may ask; only `/admin` asks for a token.
    pub host: IpAddr,
    /// Port there; 0 = any free one.
    pub port: u16,
    /// How many there are, 1 at least.
    pub experts: u32,
    /// How they behave at the start.
    pub circle: Circle,
    /// The key that requests must carry, as each API has it; absent = any or none.
    pub api_key: Option<String>,
    /// Who may change how they behave; absent = nobody.
    pub admin_token: Option<String>,
    /// Where to log what is written when; absent = no log.
    pub write_log: Option<PathBuf>,
    /// Where spans of requests go.
    pub traces: Traces,
    /// How long answers in progress may take after the signal to stop.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            experts: 10,
            circle: Circle::default(),
            api_key: None,
            admin_token: None,
            write_log: None,
            traces: Traces::default(),
            grace: Duration::from_secs(5),
        }
    }
}

/// Why the experts could not be started or went down.
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
    /// The log cannot be created or written.
    #[error("the log {} cannot be written", path.display())]
    WriteLog {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A circle with values out of range.
    #[error("circle: {0}")]
    Circle(String),
    /// Anything else of the operating system.
    #[error("serving failed")]
    Io(#[from] io::Error),
}

/// Bound, and not yet serving.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    options: Options,
}

impl Target for Server {
    type Options = Options;
    type Error = ServerError;
    const NAME: &'static str = "experts";

    /// Binds the port and opens the log.
    async fn bind(options: Options) -> Result<Self, ServerError> {
        let problems = options.circle.problems(options.experts);
        if !problems.is_empty() {
            return Err(ServerError::Circle(problems.join("; ")));
        }
        let wanted = SocketAddr::new(options.host, options.port);
        let bind = |source| ServerError::Bind { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = listener.local_addr()?;
        let log = match &options.write_log {
            Some(path) => {
                let failed = |source| ServerError::WriteLog { path: path.clone(), source };
                Some(WriteLog::create(path).map_err(failed)?)
            }
            None => None,
        };
        let (api_key, admin_token) = (options.api_key.clone(), options.admin_token.clone());
        let traces = options.traces.clone();
        let app = App::new(options.experts, options.circle.clone(), api_key, admin_token, log, traces);
        Ok(Self { listener, address, app: Arc::new(app), options })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` ends, lets answers in progress finish within the grace, sends what spans there are and completes the log.
    async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let router = admin::router(Arc::clone(&self.app));
        let served = serve(self.listener, router, stop, self.options.grace, &self.app.traces).await;
        if let (Some(log), Some(path)) = (&self.app.log, &self.options.write_log) {
            log.flush().map_err(|source| ServerError::WriteLog { path: path.clone(), source })?;
        }
        Ok(served?)
    }
}
