//! One server: its pool, its breaker, and the calls in progress.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Client;
use resilience::breaker::Outcome;
use serving::traces::{Child, KeyValue};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::pool::{Pool, describe};
use super::{Error, Settings};
use crate::breaker::{Admission, Shared};

/// A primary or a replica.
pub(super) struct Node {
    /// `primary`, `replica-1`, …: its label in metrics.
    pub(super) name: String,
    place: String,
    pool: Pool,
    breaker: Shared,
    patience: Duration,
    in_progress: AtomicUsize,
    calls: AtomicU64,
    failures: AtomicU64,
}

impl Node {
    pub(super) fn new(name: String, url: &str, settings: &Settings) -> Result<Self, Error> {
        let wrong = |place: &str, detail: String| Error::Failed { place: place.to_owned(), detail };
        let config: tokio_postgres::Config = url.parse().map_err(|error| {
            let expected = "expected postgres://user:password@host:port/database";
            wrong(&format!("the URL of {name}"), format!("{}; {expected}", describe(&error)))
        })?;
        let place = place(&name, &config);
        let pool = Pool::new(config, settings.pool).map_err(|detail| wrong(&place, detail))?;
        Ok(Self {
            name,
            place,
            pool,
            breaker: Shared::new(settings.breaker),
            patience: settings.patience(),
            in_progress: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
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

    /// Runs a statement for a call that the breaker admitted, after `delay` on the server, and tells the breaker of it.
    pub(super) async fn call(
        &self,
        call: Admission<'_>,
        delay: Duration,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let _in_progress = InProgress::new(&self.in_progress);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let span = self.span(statement);
        let answer = self.ask(delay, statement, parameters).await;
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

    /// The span of a statement, after OpenTelemetry's conventions for clients of databases.
    fn span(&self, statement: &str) -> Child {
        let (name, operation) = if statement.starts_with("INSERT") {
            ("INSERT items", "INSERT")
        } else {
            ("SELECT items", "SELECT")
        };
        Child::begin(name, || {
            vec![
                KeyValue::new("db.system.name", "postgresql"),
                KeyValue::new("db.operation.name", operation),
                KeyValue::new("db.collection.name", "items"),
                KeyValue::new("core_services.server", self.name.clone()),
            ]
        })
    }

    /// Runs a statement, past the breaker.
    pub(super) async fn ask(
        &self,
        delay: Duration,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let failed = |detail| Error::Failed { place: self.place.clone(), detail };
        let mut lease = Lease { client: Some(self.pool.get().await.map_err(failed)?) };
        let answer = tokio::time::timeout(self.patience, lease.query(delay, statement, parameters)).await;
        let answer = answer.map_err(|_| failed(format!("no answer within {:?}", self.patience)))?;
        // It goes back to the pool: the query is done, however it went.
        lease.client = None;
        answer.map_err(|error| failed(describe(&error)))
    }
}

/// A connection in use. Dropped in the middle of a query, because that took too long or the client has gone, it is closed: the
/// next one to use it would wait for the end of that query.
struct Lease {
    client: Option<Client>,
}

impl Lease {
    async fn query(
        &self,
        delay: Duration,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        // It has one until the query is done.
        let Some(client) = &self.client else { return Ok(Vec::new()) };
        if !delay.is_zero() {
            client.execute("SELECT pg_sleep($1)", &[&delay.as_secs_f64()]).await?;
        }
        let statement = client.prepare_cached(statement).await?;
        client.query(&statement, parameters).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Client::take(client));
        }
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

/// Name, host, port and database, without the password.
fn place(name: &str, config: &tokio_postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{name} ({host}:{port}/{})", config.get_dbname().unwrap_or_default())
}
