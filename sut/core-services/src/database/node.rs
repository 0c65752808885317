//! One server: its breaker, and the calls in progress.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use resilience::breaker::Outcome;
use serving::traces::{Child, KeyValue};

use super::backend::Backend;
use super::postgres::Postgres;
use super::query::{Answer, Query};
use super::settings::Primary;
use super::sqlite::Sqlite;
use super::{Error, Settings};
use crate::breaker::{Admission, Shared};

/// A primary or a replica.
pub(super) struct Node {
    /// `primary`, `replica-1`, …: its label in metrics.
    pub(super) name: String,
    place: String,
    backend: Backend,
    breaker: Shared,
    in_progress: AtomicUsize,
    calls: AtomicU64,
    failures: AtomicU64,
}

impl Node {
    pub(super) fn primary(settings: &Settings) -> Result<Self, Error> {
        match &settings.primary {
            Primary::Postgres(url) => Self::postgres("primary".to_owned(), url, settings),
            Primary::Sqlite(path) => {
                let file = Sqlite::new(path, settings.pool);
                let wrong = |detail| Error::Failed { place: path.display().to_string(), detail };
                Ok(Self::new("primary".to_owned(), Backend::Sqlite(file.map_err(wrong)?), settings))
            }
        }
    }

    pub(super) fn postgres(name: String, url: &str, settings: &Settings) -> Result<Self, Error> {
        let server = Postgres::new(url, settings.pool)
            .map_err(|detail| Error::Failed { place: format!("the URL of {name}"), detail })?;
        Ok(Self::new(name, Backend::Postgres(server), settings))
    }

    fn new(name: String, backend: Backend, settings: &Settings) -> Self {
        Self {
            place: format!("{name} ({})", backend.place()),
            name,
            backend,
            breaker: Shared::new(settings.breaker),
            in_progress: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    pub(super) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(super) fn breaker(&self) -> &Shared {
        &self.breaker
    }

    pub(super) fn in_progress(&self) -> usize {
        self.in_progress.load(Ordering::Relaxed)
    }

    /// (calls that the breaker admitted, those of them that failed).
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.calls.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// See [`Backend::prepare`]; past the breaker.
    pub(super) async fn prepare(&self, items: usize) -> Result<String, Error> {
        self.backend.prepare(items).await.map_err(|detail| self.failed(detail))
    }

    /// Asks for a call that the breaker admitted, after `delay` on the server, and tells the breaker of it.
    pub(super) async fn call(
        &self,
        call: Admission<'_>,
        delay: Duration,
        query: Query,
    ) -> Result<Answer, Error> {
        let _in_progress = InProgress::new(&self.in_progress);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let span = self.span(&query);
        let answer = self.ask(delay, query).await;
        span.ended(answer.as_ref().err().map(|error| ("database", error)));
        let outcome = match &answer {
            Ok(_) => Outcome::Success,
            Err(_) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                Outcome::Failure
            }
        };
        call.ended(outcome);
        answer
    }

    /// The span of a query, after OpenTelemetry's conventions for clients of databases.
    fn span(&self, query: &Query) -> Child {
        let (name, operation) = match query {
            Query::Add { .. } => ("INSERT items", "INSERT"),
            Query::Item(_) | Query::Items(_) | Query::Page { .. } | Query::Search { .. } => {
                ("SELECT items", "SELECT")
            }
        };
        Child::begin(name, || {
            vec![
                KeyValue::new("db.system.name", self.backend.system()),
                KeyValue::new("db.operation.name", operation),
                KeyValue::new("db.collection.name", "items"),
                KeyValue::new("core_services.server", self.name.clone()),
            ]
        })
    }

    /// Asks past the breaker.
    pub(super) async fn ask(&self, delay: Duration, query: Query) -> Result<Answer, Error> {
        self.backend.ask(delay, query).await.map_err(|detail| self.failed(detail))
    }

    fn failed(&self, detail: String) -> Error {
        Error::Failed { place: self.place.clone(), detail }
    }
}

/// A call in progress, however it ends.
struct InProgress<'a>(&'a AtomicUsize);

impl<'a> InProgress<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
