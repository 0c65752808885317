//! Connecting: what is needed for it, and what a server must have.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, Event, jetstream};
use protocol::access::reply_inbox;
use service::{OnError, Shutdown, Tasks};

use super::Nats;
use super::callers::Callers;
use super::link::Link;
use crate::error::BusError;
use crate::{MAX_MESSAGE, object};

/// What a message has beside its payload: headers and subject.
const ENVELOPE: usize = 4096;

/// Who connects.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user, as the server's configuration names it.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Options are logged; passwords are not.
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How NATS is reached and used.
#[derive(Clone, Debug)]
pub struct NatsOptions {
    /// Servers of one cluster: `nats://host:port`, `tls://host:port`.
    pub urls: Vec<String>,
    /// `None` = the server asks for none.
    pub credentials: Option<Credentials>,
    /// Certificates, PEM, that the server's is checked against; absent = the system's, where the URL asks for TLS.
    pub root_ca: Option<PathBuf>,
    /// Certificate and key, PEM, that this client shows.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Who this is, for the server's logs and for the inbox: `_INBOX.<name>.…`. Its permissions are by this name, too.
    pub name: String,
    /// Where objects are kept once fetched; made if need be.
    pub objects_dir: PathBuf,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the server may take to say that a record is durable.
    pub ack_timeout: Duration,
    /// How long a record may be with a consumer before it comes again. Records that wait in this process are kept from that.
    pub ack_wait: Duration,
    /// Bytes that each log may take before it refuses.
    pub max_log_bytes: u64,
    /// How long a record is kept that nobody acknowledges.
    pub max_age: Duration,
    /// How long the server itself refuses a key that it has seen. A convenience: what takes effect once does so by the
    /// consumer's own unique key.
    pub duplicate_window: Duration,
    /// Who consumes each log, so that records wait for them from the log's first day: log, and its consumers' names.
    pub consumers: Vec<(String, Vec<String>)>,
}

impl NatsOptions {
    /// A connection without credentials: timeouts of 5 s, logs of 1 GiB and 7 days.
    #[must_use]
    pub fn new(url: &str, name: &str, objects_dir: impl Into<PathBuf>) -> Self {
        let consumers = protocol::access::consumers();
        let consumers =
            consumers.into_iter().map(|(log, names)| (log, names.into_iter().map(str::to_owned).collect()));
        Self {
            urls: vec![url.to_owned()],
            credentials: None,
            root_ca: None,
            client_certificate: None,
            name: name.to_owned(),
            objects_dir: objects_dir.into(),
            connect_timeout: Duration::from_secs(5),
            ack_timeout: Duration::from_secs(5),
            ack_wait: Duration::from_secs(5),
            max_log_bytes: 1 << 30,
            max_age: Duration::from_secs(7 * 24 * 3600),
            duplicate_window: Duration::from_secs(120),
            consumers: consumers.collect(),
        }
    }

    /// The servers for people.
    pub(super) fn shown(&self) -> String {
        self.urls.join(", ")
    }
}

/// Connects and sees that the server can do what is needed.
pub(crate) async fn connect(options: NatsOptions) -> Result<Nats, BusError> {
    let url = options.shown();
    let refused = |detail: String| BusError::Connect { url: url.clone(), detail };
    let connecting = connect_options(&options).connect(options.urls.clone());
    let client = match tokio::time::timeout(options.connect_timeout, connecting).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(refused(chain(&error))),
        Err(_) => return Err(refused(format!("no answer within {:?}", options.connect_timeout))),
    };
    let (found, needed) = (client.max_payload(), MAX_MESSAGE + ENVELOPE);
    if found < needed {
        return Err(BusError::SmallPayload { url, found, needed });
    }
    // Within one process several may connect under one name.
    let unique = client.new_inbox().rsplit('.').next().unwrap_or_default().to_owned();
    let callers = Arc::new(Callers::new(format!("{}.{unique}", reply_inbox(&options.name))));
    let replies = client.subscribe(callers.subject()).await.map_err(|error| refused(chain(&error)))?;
    let tasks = Tasks::new(Shutdown::new());
    let receiving = Arc::clone(&callers);
    tasks.spawn("bus inbox", OnError::Log, async move {
        receiving.receive(replies).await;
        Ok::<(), BusError>(())
    });
    let mut context = jetstream::new(client.clone());
    context.set_timeout(options.ack_timeout);
    let nats = Nats {
        jetstream: context,
        link: Link::new(client.clone()),
        client,
        tasks,
        callers,
        consumers: std::sync::Mutex::default(),
        streams: tokio::sync::Mutex::default(),
        options,
    };
    // What the credentials do not allow shows here and not in the middle of a run.
    nats.round_trip(nats.options.connect_timeout).await?;
    nats.has_jetstream().await?;
    Ok(nats)
}

impl Nats {
    async fn has_jetstream(&self) -> Result<(), BusError> {
        match self.jetstream.query_account().await {
            Ok(_) => Ok(()),
            Err(error) => Err(BusError::NoJetStream { url: self.options.shown(), detail: chain(&error) }),
        }
    }
}

fn connect_options(options: &NatsOptions) -> ConnectOptions {
    let url = options.shown();
    let mut connect = ConnectOptions::new()
        .name(format!("gauntlet {}", options.name))
        .custom_inbox_prefix(format!("_INBOX.{}", options.name))
        .connection_timeout(options.connect_timeout)
        .request_timeout(Some(options.ack_timeout))
        // A server that vanishes without a word is noticed after two of these.
        .ping_interval(Duration::from_secs(2))
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(100 * 2_u64.pow(u32::try_from(attempts.min(4)).unwrap_or(4)))
        })
        .event_callback(move |event| {
            let url = url.clone();
            async move { note(&url, &event) }
        });
    if let Some(Credentials { user, password }) = &options.credentials {
        connect = connect.user_and_password(user.clone(), password.clone());
    }
    if let Some(path) = &options.root_ca {
        connect = connect.add_root_certificates(path.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &options.client_certificate {
        connect = connect.add_client_certificate(certificate.clone(), key.clone());
    }
    connect
}

fn note(url: &str, event: &Event) {
    match event {
        Event::Connected => tracing::info!(url, "connected to NATS"),
        Event::Disconnected => tracing::warn!(url, "disconnected from NATS; trying again"),
        Event::SlowConsumer(subscription) => {
            tracing::warn!(url, subscription, "messages were lost: a subscription was not read fast enough");
        }
        Event::ServerError(error) => tracing::warn!(url, %error, "NATS refuses"),
        other => tracing::debug!(url, event = %other, "NATS"),
    }
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Opens the local copies of objects.
pub(crate) fn objects(options: &NatsOptions) -> Result<object::Objects, BusError> {
    object::Objects::open(&options.objects_dir)
}
