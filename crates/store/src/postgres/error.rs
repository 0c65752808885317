//! What PostgreSQL's errors mean: for whoever has to act, and for whether to try again.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::error::Fault;
use crate::{Place, StoreError};

/// What an attempt failed of.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Another attempt would fail of it as well.
    Lasting(Fault),
    /// Others were in its way; nothing was stored.
    Conflict,
    /// The server is away, starting, stopping or out of connections.
    Away(String),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Silent => Self::Away(fault.to_string()),
            Fault::Postgres(error) if is_conflict(&error) => Self::Conflict,
            Fault::Postgres(error) if is_away(&error) => Self::Away(describe(&error)),
            other => Self::Lasting(other),
        }
    }
}

/// An error with its causes: the client's own text is no more than a heading.
pub(crate) fn describe(error: &Error) -> String {
    if let Some(error) = error.as_db_error() {
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        return format!("{}{detail}", error.message());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn is_conflict(error: &Error) -> bool {
    // Two that insert the same key at once: the one that comes second finds the other's row the next time.
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::UNIQUE_VIOLATION]
        .iter()
        .any(|conflict| error.code() == Some(conflict))
}

/// Whether the server may be back in a moment.
pub(super) fn is_away(error: &Error) -> bool {
    let Some(code) = error.code() else { return error.is_closed() || is_transport(error) };
    // Connection exceptions, and the operator's doings: shutting down, crashed, starting up, session ended, took too long.
    ["08", "57P"].iter().any(|class| code.code().starts_with(class))
        || [
            SqlState::QUERY_CANCELED,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(code)
}

/// Whether bytes did not get through, as opposed to what they said; a certificate that nobody vouches for is the latter.
fn is_transport(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return !error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        }
        source = error.source();
    }
    false
}

pub(crate) fn store_error(error: &Error, place: &Place) -> StoreError {
    let (place, detail) = (place.clone(), describe(error));
    let Some(code) = error.code() else { return StoreError::Backend { place, detail } };
    match code.code() {
        "53100" => StoreError::DiskFull { place },
        "42P01" | "42703" | "42804" | "XX001" | "XX002" => StoreError::Corrupt { place, detail },
        // No right to something, a standby that only reads, a schema that is not there.
        "42501" | "25006" | "0A000" | "3F000" => StoreError::Denied { place, detail },
        "55P03" => StoreError::Locked { place },
        _ => StoreError::Backend { place, detail },
    }
}
