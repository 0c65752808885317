//! Binding, reading who is in the circle, serving and stopping.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Request;
use http_body_util::{BodyExt as _, Full, Limited};
use serving::Target;
use serving::traces::Traces;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::app::App;
use super::circle::Circle;
use super::member::{Member, http, listed};
use super::routes::router;
use super::settings::Settings;
use crate::serve::serve;

/// Members of a circle at most.
const MAX_MEMBERS: usize = 1_000;
/// Bytes of a list of experts that are read.
const LIST_LIMIT: usize = 1 << 20;
/// How long reading one may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before a list that could not be read is asked for again, until all have been read once.
const AGAIN: Duration = Duration::from_millis(200);

/// How an orchestrator is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on. Whoever reaches it may ask; only `/admin` asks for a token.
    pub host: IpAddr,
    /// Port there; 0 = any free one.
    pub port: u16,
    /// Processes of experts, `http://HOST:PORT`: who is in the circle is what `GET /experts` says there.
    pub lists: Vec<String>,
    /// How often those are read anew.
    pub refresh: Duration,
    /// Members beside those, before them in order.
    pub members: Vec<Member>,
    /// The API key for the experts of lists; absent = one that says nothing.
    pub api_key: Option<String>,
    /// Tokens of an answer at most.
    pub max_tokens: u32,
    /// How it asks and counts at the start.
    pub settings: Settings,
    /// Of the draws for pauses and knobs.
    pub seed: u64,
    /// Who may change the settings; absent = nobody.
    pub admin_token: Option<String>,
    /// Where spans of questions and attempts go.
    pub traces: Traces,
    /// How long questions in progress may take after the signal to stop.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            lists: Vec::new(),
            refresh: Duration::from_secs(5),
            members: Vec::new(),
            api_key: None,
            max_tokens: 256,
            settings: Settings::default(),
            seed: 0,
            admin_token: None,
            traces: Traces::default(),
            grace: Duration::from_secs(30),
        }
    }
}

/// Why an orchestrator could not be started or went down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or not allowed, or the address is not this machine's.
    #[error("port {} on {} cannot be bound; another --port, or 0 for any free one, mends it", address.port(), address.ip())]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Options with values out of range, or nobody to ask.
    #[error("{0}")]
    Options(String),
    /// Anything else of the operating system.
    #[error("serving failed")]
    Io(#[from] io::Error),
}

/// Bound, and not yet serving.
pub struct Orchestrator {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    options: Options,
}

impl Options {
    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<_> =
            self.settings.problems().into_iter().map(|problem| format!("settings: {problem}")).collect();
        for (place, member) in self.members.iter().enumerate() {
            problems
                .extend(member.problems().into_iter().map(|problem| format!("expert {place}: {problem}")));
        }
        problems.extend(self.lists.iter().filter_map(|list| http(list).err()));
        if self.members.len() > MAX_MEMBERS {
            problems.push(format!("{} experts: expected {MAX_MEMBERS} at most", self.members.len()));
        }
        if self.members.is_empty() && self.lists.is_empty() {
            problems.push(
                "there is nobody to ask: start with --experts URL of a process of experts, or --expert JSON"
                    .to_owned(),
            );
        }
        problems
    }
}

impl Target for Orchestrator {
    type Options = Options;
    type Error = Error;
    const NAME: &'static str = "orchestrator";

    async fn bind(options: Options) -> Result<Self, Error> {
        let problems = options.problems();
        if !problems.is_empty() {
            return Err(Error::Options(problems.join("; ")));
        }
        let (members, settings) = (options.members.clone(), options.settings.clone());
        let circle = Circle::new(members, settings, options.max_tokens, None).map_err(Error::Options)?;
        let wanted = SocketAddr::new(options.host, options.port);
        let bind = |source| Error::Bind { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(bind)?;
        let address = listener.local_addr()?;
        let (token, traces) = (options.admin_token.clone(), options.traces.clone());
        let app = App::new(circle, options.max_tokens, options.seed, token, traces);
        if !options.lists.is_empty() {
            app.set_ready(Some("the lists of experts are not read yet".to_owned()));
        }
        Ok(Self { listener, address, app: Arc::new(app), options })
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let router = router(Arc::clone(&self.app));
        tokio::select! {
            ended = serve(self.listener, router, stop, self.options.grace, &self.app.traces) => Ok(ended?),
            never = refresh(&self.app, &self.options) => match never {},
        }
    }
}

/// Keeps the circle as the lists have it. A list that cannot be read any more stays as it was.
async fn refresh(app: &App, options: &Options) -> Infallible {
    let mut lists: Vec<Option<Vec<Member>>> = vec![None; options.lists.len()];
    loop {
        let mut problem = None;
        for (base, list) in options.lists.iter().zip(&mut lists) {
            match read(app, base, options.api_key.as_deref()).await {
                Ok(members) => *list = Some(members),
                Err(error) => {
                    app.counters.lists_failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if list.is_none() {
                        problem = Some(format!("{base}/experts: {error}"));
                    }
                }
            }
        }
        if problem.is_none() {
            let members = options.members.iter().chain(lists.iter().flatten().flatten());
            let members: Vec<_> = members.take(MAX_MEMBERS + 1).cloned().collect();
            problem = match members.len() {
                0 => Some("the lists of experts are empty".to_owned()),
                n if n > MAX_MEMBERS => Some(format!("more than {MAX_MEMBERS} experts are listed")),
                _ => app.seat(members).err(),
            };
        }
        app.set_ready(problem.clone());
        sleep(if problem.is_some() { AGAIN } else { options.refresh }).await;
    }
}

async fn read(app: &App, base: &str, key: Option<&str>) -> Result<Vec<Member>, String> {
    let uri = http(&format!("{}/experts", base.trim_end_matches('/')))?;
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = uri;
    let answer = async {
        let response = app.client.request(request).await.map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(format!("status {}", response.status()));
        }
        let body = Limited::new(response.into_body(), LIST_LIMIT).collect().await;
        Ok(body.map_err(|error| error.to_string())?.to_bytes())
    };
    let body = timeout(LIST_TIMEOUT, answer).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))?;
    listed(base, key, &body)
}
