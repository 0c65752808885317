//! The third level of the cache: a bucket of JetStream's key-value store, which several processes share.
//!
//! Items are only added, never altered or removed, so what the bucket has stays right and nothing is ever called back from
//! it or from the levels above. Its keys begin with the origin of the table: a bucket that outlives its database, or serves
//! two, never answers with an item of another.
//!
//! It is a help, not a need. Without NATS, or with one that is slow, each call costs at most a short wait, then the breaker
//! keeps calls away; they are counted, and the request goes on to a server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::kv::Store;
use async_nats::jetstream::{self, Context, stream};
use async_nats::{Client, ConnectOptions, ServerAddr};
use axum::body::Bytes;
use percent_encoding::percent_decode_str;
use resilience::breaker::Outcome;

use super::Error;
use crate::breaker::{self, Shared};

/// How long opening the bucket and looking at it may take. Nobody waits for either.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest window in which the server itself looks for messages that are sent twice, which is its default.
const DUPLICATES: Duration = Duration::from_secs(120);

/// Where the bucket is, and what it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// URL of a NATS with JetStream: `nats://user:password@host:port`, or `nats://token@host:port`. The other servers of its
    /// cluster are learned from it.
    pub url: String,
    /// The bucket, made if it is not there: letters, digits, `-` and `_`.
    pub bucket: String,
    /// Bytes in it at most, one or more, as NATS counts them; then the oldest go. Of processes that say different things, the one that
    /// connected last rules.
    pub bytes: u64,
    /// How long an item stays; zero = as long as there is room.
    pub ttl: Duration,
    /// How long one call may take; then it is a failure, and the request goes on without.
    pub timeout: Duration,
}

impl Settings {
    /// The defaults, on this server.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            bucket: "core-services-items".to_owned(),
            bytes: 64 << 20,
            ttl: Duration::from_secs(3_600),
            timeout: Duration::from_millis(50),
        }
    }
}

/// What the bucket had when it was last looked at; all zero until then.
#[derive(Debug, Default)]
struct Usage {
    bytes: AtomicU64,
    most: AtomicU64,
    entries: AtomicU64,
}

/// The level, as one process sees it.
pub(super) struct Distributed {
    settings: Settings,
    client: Client,
    context: Context,
    origin: String,
    /// Absent until it was opened, and after a look at it failed.
    bucket: RwLock<Option<Arc<Store>>>,
    breaker: Shared,
    usage: Usage,
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
}

impl Distributed {
    /// Begins to connect, and goes on with that until this is dropped. `origin` says which table the items are of.
    pub(super) async fn new(
        settings: Settings,
        breaker: breaker::Settings,
        origin: String,
    ) -> Result<Self, Error> {
        let wrong = |place: &str, detail: String| Error::Failed { place: place.to_owned(), detail };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if settings.bucket.is_empty() || !settings.bucket.bytes().all(named) {
            let detail = format!("found {:?}; expected letters, digits, - and _", settings.bucket);
            return Err(wrong("the name of the cache's bucket", detail));
        }
        let place = "the URL of the cache's NATS";
        let expected = "expected nats://user:password@host:port";
        let address: ServerAddr =
            settings.url.parse().map_err(|error| wrong(place, format!("{error}; {expected}")))?;
        let client = options(&address).connect(address).await;
        let client = client.map_err(|error| wrong(place, format!("{error}; {expected}")))?;
        Ok(Self {
            settings,
            context: jetstream::new(client.clone()),
            client,
            origin,
            bucket: RwLock::default(),
            breaker: Shared::new(breaker),
            usage: Usage::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// The item as JSON, if it is there and can be had in time.
    pub(super) async fn get(&self, id: u64) -> Option<Bytes> {
        let key = self.key(id);
        let found = self.call(|bucket| async move { bucket.get(key).await }).await?;
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Puts an item there for others, if that can be done in time.
    pub(super) async fn insert(&self, id: u64, body: &Bytes) {
        let (key, body) = (self.key(id), body.clone());
        // What came of it is counted; an item that is not there costs a query later.
        self.call(|bucket| async move { bucket.put(key, body).await }).await;
    }

    /// Opens the bucket when NATS is there and it is not open yet, and looks what it has. To be called now and then.
    pub(super) async fn maintain(&self) {
        if !self.is_connected() {
            return;
        }
        let open = self.bucket();
        let looked = tokio::time::timeout(PATIENCE, async {
            // It may have been removed since, or NATS may have come back without its files.
            let known = match &open {
                Some(bucket) => bucket.stream.get_info().await.ok(),
                None => None,
            };
            match known {
                Some(info) => Some((None, info)),
                None => self.open().await.map(|(bucket, info)| (Some(bucket), info)),
            }
        });
        let looked = looked.await.ok().flatten();
        let Some((opened, info)) = looked else {
            // Where nothing is known of it, calls fail at once and do not wait.
            *self.bucket.write().unwrap_or_else(PoisonError::into_inner) = None;
            return;
        };
        self.usage.bytes.store(info.state.bytes, Ordering::Relaxed);
        self.usage.most.store(u64::try_from(info.config.max_bytes).unwrap_or(0), Ordering::Relaxed);
        self.usage.entries.store(info.state.messages, Ordering::Relaxed);
        if let Some(bucket) = opened {
            *self.bucket.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(bucket));
        }
    }

    pub(super) fn breaker(&self) -> &Shared {
        &self.breaker
    }

    /// (hits, misses).
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Calls that failed or took too long, and those that could not be made.
    pub(super) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// (bytes in it, bytes at most, entries), for all processes, as of the last look.
    pub(super) fn usage(&self) -> (u64, u64, u64) {
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        (load(&self.usage.bytes), load(&self.usage.most), load(&self.usage.entries))
    }

    /// Calls the bucket, if the breaker admits it. Nothing = there is no answer.
    async fn call<T, E, F: Future<Output = Result<T, E>>>(
        &self,
        question: impl FnOnce(Arc<Store>) -> F,
    ) -> Option<T> {
        let call = self.breaker.admit().ok()?;
        // Sent without a connection, it would only wait for its time to be over.
        let bucket = if self.is_connected() { self.bucket() } else { None };
        let answer = match bucket {
            Some(bucket) => {
                let answer = tokio::time::timeout(self.settings.timeout, question(bucket)).await;
                answer.ok().and_then(Result::ok)
            }
            None => None,
        };
        if answer.is_none() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        call.ended(if answer.is_some() { Outcome::Success } else { Outcome::Failure });
        answer
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    fn bucket(&self) -> Option<Arc<Store>> {
        self.bucket.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn key(&self, id: u64) -> String {
        format!("{}.{id}", self.origin)
    }

    /// The bucket with the cap and the time of the settings; all else of one that is there stays as its owner made it. The
    /// client's own way of making one is of no use here: its buckets refuse what is new when they are full.
    async fn open(&self) -> Option<(Store, stream::Info)> {
        let name = format!("KV_{}", self.settings.bucket);
        let info = match self.context.get_stream(&name).await {
            Ok(found) => {
                let wanted = self.limited(found.cached_info().config.clone());
                if wanted == found.cached_info().config {
                    found.cached_info().clone()
                } else {
                    self.context.update_stream(wanted).await.ok()?
                }
            }
            Err(error) if is_unknown(&error.kind()) => {
                let wanted = self.limited(stream::Config {
                    name,
                    subjects: vec![format!("$KV.{}.>", self.settings.bucket)],
                    max_messages_per_subject: 1,
                    allow_direct: true,
                    allow_rollup: true,
                    deny_delete: true,
                    ..stream::Config::default()
                });
                self.context.create_stream(wanted).await.ok()?.cached_info().clone()
            }
            Err(_) => return None,
        };
        let bucket = self.context.get_key_value(&self.settings.bucket).await.ok()?;
        Some((bucket, info))
    }

    fn limited(&self, config: stream::Config) -> stream::Config {
        let Settings { bytes, ttl, .. } = self.settings;
        stream::Config {
            // Zero would be no cap.
            max_bytes: i64::try_from(bytes.max(1)).unwrap_or(i64::MAX),
            max_age: ttl,
            discard: stream::DiscardPolicy::Old,
            // The server refuses a window that is longer than messages live.
            duplicate_window: if ttl.is_zero() { DUPLICATES } else { ttl.min(DUPLICATES) },
            ..config
        }
    }
}

fn is_unknown(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.code() == 404)
}

/// Who we are, and when to try again. The client itself does not look at who the URL names.
fn options(address: &ServerAddr) -> ConnectOptions {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let options = ConnectOptions::new()
        .name("core-services")
        .retry_on_initial_connect()
        .connection_timeout(PATIENCE)
        // A server that vanishes without a word is noticed after two of these.
        .ping_interval(Duration::from_secs(2))
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(100 * 2_u64.pow(u32::try_from(attempts.min(4)).unwrap_or(4)))
        });
    match (address.username(), address.password()) {
        (Some(user), Some(password)) => options.user_and_password(plain(user), plain(password)),
        (Some(token), None) => options.token(plain(token)),
        (None, _) => options,
    }
}
