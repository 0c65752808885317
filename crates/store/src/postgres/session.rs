//! One attempt at an operation: on one connection, on a thread that may block, until a deadline.

use bytes::BytesMut;
use deadpool_postgres::Client;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Error;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::error::{Trouble, is_away};
use crate::error::Fault;
use crate::sql::{Param, Row, Sql, Value};

/// An operation, as often as it has to run.
pub(super) type Work<T> = dyn Fn(&mut dyn Sql) -> Result<T, Fault> + Send + Sync;

/// What came of an attempt.
pub(super) enum Attempt<T> {
    /// Committed.
    Done(T),
    /// Nothing was stored.
    Failed(Trouble),
    /// The connection was lost while it was committed, and this with it, unless it was not.
    Unknown(T, Trouble),
}

/// A connection in use.
pub(super) struct Session {
    connection: Connection,
    runtime: Handle,
    deadline: Instant,
}

impl Session {
    pub(super) fn new(client: Client, deadline: Instant) -> Self {
        Self {
            connection: Connection { client: Some(client), idle: true },
            runtime: Handle::current(),
            deadline,
        }
    }

    /// A query on what is committed.
    pub(super) fn read<T>(mut self, work: &Work<T>) -> Attempt<T> {
        match work(&mut self) {
            Ok(value) => Attempt::Done(value),
            Err(fault) => Attempt::Failed(fault.into()),
        }
    }

    /// A transaction.
    pub(super) fn write<T>(mut self, work: &Work<T>) -> Attempt<T> {
        if let Err(fault) = self.begin("BEGIN ISOLATION LEVEL SERIALIZABLE") {
            return Attempt::Failed(fault.into());
        }
        match work(&mut self) {
            Ok(value) => match self.end("COMMIT") {
                Ok(()) => Attempt::Done(value),
                Err(fault) if is_undecided(&fault) => Attempt::Unknown(value, fault.into()),
                Err(fault) => Attempt::Failed(fault.into()),
            },
            Err(fault) => {
                // Where this fails the connection is given up, and the server rolls back by itself.
                let _ = self.end("ROLLBACK");
                Attempt::Failed(fault.into())
            }
        }
    }

    /// A transaction that nobody else is in at the same time.
    pub(super) fn alone<T>(mut self, lock: i64, work: &Work<T>) -> Attempt<T> {
        // READ COMMITTED: SERIALIZABLE would see what was there before it had the lock.
        let worked = self.begin("BEGIN ISOLATION LEVEL READ COMMITTED").and_then(|()| {
            self.execute("SELECT pg_advisory_xact_lock($1)", &[lock.into()])?;
            work(&mut self)
        });
        let ended = self.end(if worked.is_ok() { "COMMIT" } else { "ROLLBACK" });
        match (worked, ended) {
            (Ok(value), Ok(())) => Attempt::Done(value),
            (Err(fault), _) | (Ok(_), Err(fault)) => Attempt::Failed(fault.into()),
        }
    }

    fn begin(&mut self, text: &str) -> Result<(), Fault> {
        self.connection.idle = false;
        self.batch(text)
    }

    fn end(&mut self, text: &str) -> Result<(), Fault> {
        self.batch(text)?;
        self.connection.idle = true;
        Ok(())
    }

    /// Waits for the server, until the deadline.
    fn wait<T>(&mut self, ask: impl AsyncFnOnce(&Client) -> Result<T, Error>) -> Result<T, Fault> {
        let Some(client) = &self.connection.client else { return Err(Fault::Silent) };
        match self.runtime.block_on(timeout_at(self.deadline, ask(client))) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.connection.idle &= error.code().is_some();
                Err(error.into())
            }
            // The answer may still come: nobody else may have it.
            Err(_) => {
                self.connection.idle = false;
                Err(Fault::Silent)
            }
        }
    }
}

impl Sql for Session {
    fn execute(&mut self, text: &str, values: &[Param<'_>]) -> Result<u64, Fault> {
        self.wait(async |client: &Client| {
            let statement = client.prepare_cached(text).await?;
            client.execute_raw(&statement, values).await
        })
    }

    fn query(&mut self, text: &str, values: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let rows = self.wait(async |client: &Client| {
            let statement = client.prepare_cached(text).await?;
            let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            client.query(&statement, &values).await
        })?;
        let read = |row: tokio_postgres::Row| {
            let values = (0..row.len()).map(|column| row.try_get(column));
            Ok(Row::new(values.collect::<Result<_, Error>>()?))
        };
        rows.into_iter().map(read).collect()
    }

    fn batch(&mut self, statements: &str) -> Result<(), Fault> {
        self.wait(async |client: &Client| client.batch_execute(statements).await)
    }
}

/// Whether COMMIT may have been carried out although it failed. What the server refuses, but goes on, it has rolled back.
fn is_undecided(fault: &Fault) -> bool {
    match fault {
        Fault::Postgres(error) => error.code().is_none() || is_away(error),
        _ => true,
    }
}

/// Returns to the pool what is in order, and nothing else.
struct Connection {
    client: Option<Client>,
    /// No transaction is open and no answer awaited.
    idle: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(client) = self.client.take().filter(|_| !self.idle) {
            drop(Client::take(client));
        }
    }
}

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) => value.to_sql(ty, out),
            Self::Text(value) => value.to_sql(ty, out),
            Self::Bytes(value) => value.to_sql(ty, out),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        match *ty {
            Type::INT8 => FromSql::from_sql(ty, raw).map(Self::Integer),
            Type::BYTEA => FromSql::from_sql(ty, raw).map(Self::Bytes),
            _ => FromSql::from_sql(ty, raw).map(Self::Text),
        }
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::TEXT, Type::BYTEA].contains(ty)
    }
}
