//! Records: one stream per log, which refuses what it has no room for and forgets what every consumer has acknowledged.

use async_nats::client::{Request, RequestErrorKind};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::{HeaderMap, header};
use bytes::Bytes;
use serde::Deserialize;
use store::RecordKey;

use super::Nats;
use super::connect::chain;
use super::envelope::{KEY, write_key};
use crate::error::{BusError, RecordError};

/// The server's number for "no room": the stream's `max_bytes` is reached.
const STORE_FAILED: u64 = 10_077;
/// Records with a consumer and not acknowledged at most, all its processes together.
const UNACKED: i64 = 1024;

/// The stream of a log: `gauntlet-load-samples`.
pub(super) fn stream_name(log: &str) -> String {
    protocol::access::stream_name(log)
}

impl Nats {
    /// Sees that a log's stream and its consumers are there.
    pub(super) async fn stream(&self, log: &str) -> Result<(), BusError> {
        // Not held while the server is asked: else, when it hangs, the last of many appends waits for all before it. Two
        // that ask for one stream get the same.
        if self.streams.lock().await.iter().any(|known| known == log) {
            return Ok(());
        }
        let config = Config {
            name: stream_name(log),
            subjects: vec![protocol::access::record_filter(log)],
            retention: RetentionPolicy::Interest,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_bytes: i64::try_from(self.options.max_log_bytes).unwrap_or(i64::MAX),
            max_age: self.options.max_age,
            duplicate_window: self.options.duplicate_window,
            ..Config::default()
        };
        let made = self.jetstream.get_or_create_stream(config).await;
        made.map_err(|error| self.lost(&format!("the stream of log {log}"), chain(&error)))?;
        let named = self.options.consumers.iter().filter(|(of, _)| of == log);
        for name in named.flat_map(|(_, names)| names) {
            self.durable(log, name).await?;
        }
        let mut known = self.streams.lock().await;
        if !known.iter().any(|known| known == log) {
            known.push(log.to_owned());
        }
        Ok(())
    }

    /// The server's side of a consumer: where it is in the log.
    pub(super) async fn durable(
        &self,
        log: &str,
        name: &str,
    ) -> Result<async_nats::jetstream::consumer::PullConsumer, BusError> {
        let config = pull::Config {
            durable_name: Some(name.to_owned()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.options.ack_wait,
            max_ack_pending: UNACKED,
            ..pull::Config::default()
        };
        let failed =
            |error: &dyn std::error::Error| self.lost(&format!("consumer {name} of log {log}"), chain(error));
        let stream = self.jetstream.get_stream_no_info(stream_name(log)).await;
        let stream = stream.map_err(|error| failed(&error))?;
        // The same configuration again changes nothing; another one is taken over.
        stream.create_consumer(config).await.map_err(|error| failed(&error))
    }
}

/// What JetStream answers to a message for a stream.
#[derive(Deserialize)]
struct Stored {
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Appends a record; durable on return.
pub(super) async fn append(
    nats: &Nats,
    log: &str,
    subject: String,
    key: &RecordKey,
    payload: Bytes,
) -> Result<(), RecordError> {
    let failed = |detail: String| RecordError::Bus(nats.lost(&format!("log {log}"), detail));
    if !nats.is_connected() {
        // At once: whoever records has other things to do than to wait, and tries again.
        return Err(failed("not connected".to_owned()));
    }
    let key = write_key(key);
    let mut headers = HeaderMap::new();
    headers.insert(header::NATS_MESSAGE_ID, key.as_str());
    headers.insert(KEY, key);
    let request = Request::new().headers(headers).payload(payload).timeout(Some(nats.options.ack_timeout));
    let Some(answer) = nats.link.unbroken(nats.client.send_request(subject, request)).await else {
        return Err(failed("the connection broke before it was known to be durable".to_owned()));
    };
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => failed("its stream is gone".to_owned()),
        _ => failed(chain(&error)),
    })?;
    let stored: Stored =
        serde_json::from_slice(&answer.payload).map_err(|error| failed(error.to_string()))?;
    match stored.error {
        None => Ok(()),
        Some(refusal) if refusal.err_code == STORE_FAILED => {
            Err(RecordError::Full { log: log.to_owned(), max_bytes: nats.options.max_log_bytes })
        }
        Some(refusal) => Err(failed(refusal.description)),
    }
}
