//! The kinds of servers that items can be on.

use std::time::Duration;

use deadpool::Status;

use super::postgres::Postgres;
use super::query::{Answer, Query};
use super::sqlite::Sqlite;

/// One of them. Errors are the server's words, or ours; whoever asks knows which server it was.
pub(super) enum Backend {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

impl Backend {
    /// Where it is, without a password.
    pub(super) fn place(&self) -> &str {
        match self {
            Self::Postgres(server) => server.place(),
            Self::Sqlite(file) => file.place(),
        }
    }

    /// Its kind, as OpenTelemetry's conventions name it.
    pub(super) fn system(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgresql",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Makes the table and its first items, if it is not there or empty. Gives its origin, which no other table has.
    pub(super) async fn prepare(&self, items: usize) -> Result<String, String> {
        match self {
            Self::Postgres(server) => server.prepare(items).await,
            Self::Sqlite(file) => file.prepare(items).await,
        }
    }

    /// Asks, after `delay` with a connection in use.
    pub(super) async fn ask(&self, delay: Duration, query: Query) -> Result<Answer, String> {
        match self {
            Self::Postgres(server) => server.ask(delay, query).await,
            Self::Sqlite(file) => file.ask(delay, query).await,
        }
    }

    /// Its connections.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Postgres(server) => server.status(),
            Self::Sqlite(file) => file.status(),
        }
    }

    /// Looks after its connections: closes the idle ones, opens missing ones.
    pub(super) async fn maintain(&self) {
        match self {
            Self::Postgres(server) => server.maintain().await,
            Self::Sqlite(file) => file.maintain().await,
        }
    }

    /// Takes a connection from everybody, until what this gives is dropped; `held` of them are held already.
    pub(super) async fn hold(&self, held: usize) -> Result<Box<dyn Send>, String> {
        Ok(match self {
            Self::Postgres(server) => Box::new(server.hold().await?),
            Self::Sqlite(file) => Box::new(file.hold(held).await?),
        })
    }

    /// Refuses all further calls and closes the connections that nobody uses.
    pub(super) fn close(&self) {
        match self {
            Self::Postgres(server) => server.close(),
            Self::Sqlite(file) => file.close(),
        }
    }
}
