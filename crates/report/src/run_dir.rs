//! The files of a run directory that come after the run.

use std::io;
use std::path::{Path, PathBuf};

use crate::summary::Summary;
use crate::{RunData, html, junit};

/// A file of the run directory that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk or its permissions.
    #[error("cannot write {}: {source}; free some space or choose another place with --report-dir", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The page or one of its charts: a defect of this crate.
    #[error("cannot draw the report: {0}")]
    Render(String),
}

/// Writes `plan.toml`, `history.ndjson`, `summary.json`, `summary.schema.json`, `junit.xml` and `report.html` into
/// `dir`, which exists. Returns the summary.
///
/// # Errors
/// [`WriteError::File`] when a file cannot be written. Each is written beside its place first, so an old one is
/// never left half overwritten.
pub fn write_all(dir: &Path, data: &RunData) -> Result<Summary, WriteError> {
    let summary = Summary::new(data);
    let mut history = String::new();
    for entry in &data.history {
        history.push_str(&json(entry)?);
        history.push('\n');
    }
    let pretty = |value: &serde_json::Value| format!("{value:#}\n");
    let as_value =
        serde_json::to_value(&summary).map_err(|error| WriteError::Render(format!("summary: {error}")))?;
    let files = [
        ("plan.toml", data.plan.to_toml()),
        ("history.ndjson", history),
        ("summary.json", pretty(&as_value)),
        ("summary.schema.json", pretty(&Summary::schema())),
        ("junit.xml", junit::render(&summary)?),
        ("report.html", html::render(data, &summary)?),
    ];
    for (name, text) in &files {
        write(&dir.join(name), text)?;
    }
    Ok(summary)
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, WriteError> {
    serde_json::to_string(value).map_err(|error| WriteError::Render(error.to_string()))
}

fn write(path: &Path, text: &str) -> Result<(), WriteError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path)).map_err(|source| {
        // Best effort: the error that matters is already in hand.
        let _ = std::fs::remove_file(&beside);
        WriteError::File { path: path.to_owned(), source }
    })
}
