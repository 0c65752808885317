//! Feeders: CSV and JSON-lines files whose rows guests get with their arrivals.
//!
//! A file is mapped, not read: a million rows cost an index of 8 bytes each here, and no guest memory at all. The
//! whole file is checked when it is opened, so that a malformed line 70 000 is a problem before the run and not in
//! the middle of it.

mod csv_rows;
mod json_rows;

use std::path::Path;

use crate::io::spool::MappedFile;
use crate::schedule::{Stream, draw};

/// A feeder file: rows of named columns.
#[derive(Debug)]
pub struct Feeder {
    name: String,
    file: MappedFile,
    format: Format,
    columns: Vec<String>,
    /// Where each row begins and ends in the file.
    rows: Vec<(u64, u32)>,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    /// First line = names of the columns.
    Csv,
    /// One JSON object a line; its members are the columns.
    JsonLines,
}

/// Which row arrival k gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Row `k mod rows`.
    Sequential,
    /// A draw from (seed, phase, k).
    Random,
}

/// What is wrong with a feeder, for the user.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct FeederError {
    /// File, line or column, what was found and what was expected.
    pub message: String,
    /// How to mend it.
    pub mend: String,
}

impl FeederError {
    fn new(message: String, mend: impl Into<String>) -> Self {
        Self { message, mend: mend.into() }
    }
}

/// Columns of a feeder that a guest asked for, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<u32>);

impl Feeder {
    /// Opens a feeder. `name` is how the plan writes it: it says the format (`.csv`, or `.jsonl`, `.ndjson`,
    /// `.json` for a JSON object a line) and stands in messages; `path` is where the bytes are.
    ///
    /// # Errors
    /// A file that is missing, empty, of an unknown format, or has a malformed line.
    pub fn open(name: &str, path: &Path) -> Result<Self, FeederError> {
        let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
        let format = match extension.to_ascii_lowercase().as_str() {
            "csv" => Format::Csv,
            "jsonl" | "ndjson" | "json" => Format::JsonLines,
            other => {
                return Err(FeederError::new(
                    format!("feeder {name}: the format {other:?} is not known"),
                    "name it .csv, or .jsonl for one JSON object a line",
                ));
            }
        };
        let file = MappedFile::open(path).map_err(|e| {
            FeederError::new(
                format!("feeder {name}: {} cannot be read: {e}", path.display()),
                "check the path; it counts from the plan's directory",
            )
        })?;
        let (columns, rows) = match format {
            Format::Csv => csv_rows::index(name, file.bytes())?,
            Format::JsonLines => json_rows::index(name, file.bytes())?,
        };
        if rows.is_empty() {
            return Err(FeederError::new(
                format!("feeder {name}: it has no row"),
                "give it at least one row, or take the feeder out of the scenario",
            ));
        }
        Ok(Self { name: name.to_owned(), file, format, columns, rows })
    }

    /// Number of rows, at least 1.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Names of the columns, in the file's order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Finds the columns that a guest asks for.
    ///
    /// # Errors
    /// Names each column that the file does not have.
    pub fn select(&self, columns: &[String]) -> Result<Selection, FeederError> {
        let find = |c: &String| self.columns.iter().position(|have| have == c).map(|i| i as u32);
        let missing: Vec<&str> = columns.iter().filter(|c| find(c).is_none()).map(String::as_str).collect();
        if missing.is_empty() {
            return Ok(Selection(columns.iter().filter_map(find).collect()));
        }
        let word = if missing.len() == 1 { "column" } else { "columns" };
        Err(FeederError::new(
            format!(
                "feeder {}: {word} {} not found; it has {}",
                self.name,
                missing.join(", "),
                self.columns.join(", ")
            ),
            "mend the name in the scenario or the file's first line",
        ))
    }

    /// The row of arrival `k`.
    #[inline]
    #[must_use]
    pub fn row_of(&self, order: Order, seed: u64, phase: u32, k: u64) -> u64 {
        let rows = self.rows();
        match order {
            Order::Sequential => k % rows,
            // High bits of a product: uniform to rows / 2^64.
            Order::Random => {
                let wide = u128::from(draw(seed, phase, Stream::Row, k)) * u128::from(rows);
                (wide >> 64) as u64
            }
        }
    }

    /// Appends the selected columns of a row to `arena`: for each, its length as u32 (little endian), then its bytes.
    /// Strings come as their text, other JSON values as JSON; a member that a row lacks is empty.
    pub fn encode(&self, row: u64, selection: &Selection, arena: &mut Vec<u8>) {
        let Some(line) = usize::try_from(row).ok().and_then(|r| self.line(r)) else { return };
        match self.format {
            Format::Csv => csv_rows::encode(line, &selection.0, arena),
            Format::JsonLines => json_rows::encode(line, &self.columns, &selection.0, arena),
        }
    }

    fn line(&self, row: usize) -> Option<&[u8]> {
        let (at, len) = *self.rows.get(row)?;
        let at = usize::try_from(at).ok()?;
        self.file.bytes().get(at..at + len as usize)
    }
}

/// Appends one column.
fn put(arena: &mut Vec<u8>, value: &[u8]) {
    arena.extend_from_slice(&(value.len() as u32).to_le_bytes());
    arena.extend_from_slice(value);
}

#[cfg(test)]
mod tests;
