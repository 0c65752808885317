//! What an operation needs of a database: so little that it is written once and runs on each of them.

use crate::error::Fault;

/// Statements on one connection, within the transaction that the operation is part of.
pub(crate) trait Sql {
    /// Runs a statement; the number of rows that it changed.
    fn execute(&mut self, text: &str, values: &[Param<'_>]) -> Result<u64, Fault>;

    /// The rows of a query.
    fn query(&mut self, text: &str, values: &[Param<'_>]) -> Result<Vec<Row>, Fault>;

    /// Runs several statements without values.
    fn batch(&mut self, statements: &str) -> Result<(), Fault>;

    /// The first row of a query.
    fn first(&mut self, text: &str, values: &[Param<'_>]) -> Result<Option<Row>, Fault> {
        Ok(self.query(text, values)?.into_iter().next())
    }
}

/// What a statement's `$1`, `$2`, … stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Param<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl From<i64> for Param<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Param<'_> {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<Option<u8>> for Param<'_> {
    fn from(value: Option<u8>) -> Self {
        value.map_or(Self::Null, |value| Self::Integer(value.into()))
    }
}

impl<'a> From<&'a str> for Param<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Param<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Param<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Param<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a [u8; 16]> for Param<'a> {
    fn from(value: &'a [u8; 16]) -> Self {
        Self::Bytes(value)
    }
}

/// What a column holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Value {
    #[default]
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row of a query's answer.
#[derive(Debug)]
pub(crate) struct Row(Vec<Value>);

impl Row {
    pub(crate) fn new(values: Vec<Value>) -> Self {
        Self(values)
    }

    /// Takes a column's value out of the row.
    ///
    /// # Errors
    /// When it is not of the type that we write: somebody else's table, or damage.
    pub(crate) fn take<T: Column>(&mut self, column: usize) -> Result<T, Fault> {
        let value = self.0.get_mut(column).map(std::mem::take).unwrap_or_default();
        T::from(value).map_err(|found| {
            Fault::Unreadable(format!("column {column}: found {found}, expected {}", T::NAME))
        })
    }
}

/// A type that a column can be read as.
pub(crate) trait Column: Sized {
    /// What to call it in an error.
    const NAME: &'static str;

    /// Reads a value; what it was when it is none of this type.
    fn from(value: Value) -> Result<Self, &'static str>;
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Integer(_) => "an integer",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
        }
    }
}

impl Column for i64 {
    const NAME: &'static str = "an integer";

    fn from(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Integer(value) => Ok(value),
            other => Err(other.kind()),
        }
    }
}

impl Column for u32 {
    const NAME: &'static str = "an integer from 0 to 4294967295";

    fn from(value: Value) -> Result<Self, &'static str> {
        <i64 as Column>::from(value)?.try_into().map_err(|_| "another integer")
    }
}

impl Column for u8 {
    const NAME: &'static str = "an integer from 0 to 255";

    fn from(value: Value) -> Result<Self, &'static str> {
        <i64 as Column>::from(value)?.try_into().map_err(|_| "another integer")
    }
}

impl Column for String {
    const NAME: &'static str = "text";

    fn from(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Text(value) => Ok(value),
            other => Err(other.kind()),
        }
    }
}

impl Column for Vec<u8> {
    const NAME: &'static str = "bytes";

    fn from(value: Value) -> Result<Self, &'static str> {
        match value {
            Value::Bytes(value) => Ok(value),
            other => Err(other.kind()),
        }
    }
}

impl Column for [u8; 16] {
    const NAME: &'static str = "16 bytes";

    fn from(value: Value) -> Result<Self, &'static str> {
        <Vec<u8> as Column>::from(value)?.try_into().map_err(|_| "another number of bytes")
    }
}

impl<T: Column> Column for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from(value: Value) -> Result<Self, &'static str> {
        if value == Value::Null { Ok(None) } else { T::from(value).map(Some) }
    }
}
