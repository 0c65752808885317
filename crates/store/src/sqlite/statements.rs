//! The store's operations on a SQLite connection.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};

use crate::error::Fault;
use crate::sql::{Param, Row, Sql, Value};

/// A connection as operations see it.
pub(super) struct Statements<'a>(pub(super) &'a Connection);

impl Sql for Statements<'_> {
    fn execute(&mut self, text: &str, values: &[Param<'_>]) -> Result<u64, Fault> {
        let changed = self.0.prepare_cached(text)?.execute(params_from_iter(values))?;
        // A usize is never wider than 64 bits on the machines that Rust runs on.
        Ok(changed as u64)
    }

    fn query(&mut self, text: &str, values: &[Param<'_>]) -> Result<Vec<Row>, Fault> {
        let mut statement = self.0.prepare_cached(text)?;
        let columns = statement.column_count();
        let mut found = Vec::new();
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| value(row.get_ref(column)?));
            found.push(Row::new(values.collect::<Result<_, Fault>>()?));
        }
        Ok(found)
    }

    fn batch(&mut self, statements: &str) -> Result<(), Fault> {
        Ok(self.0.execute_batch(statements)?)
    }
}

fn value(found: ValueRef<'_>) -> Result<Value, Fault> {
    Ok(match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(error) => return Err(Fault::Unreadable(format!("a text is not UTF-8: {error}"))),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
        ValueRef::Real(number) => {
            return Err(Fault::Unreadable(format!("found the number {number}, which no store holds")));
        }
    })
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(value),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}
