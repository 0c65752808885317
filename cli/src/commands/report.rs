//! `gauntlet report`: the files of a run directory, written anew.

use std::path::Path;

use crate::failure::Failure;
use crate::{output, run_dir};

/// Writes `summary.json`, `junit.xml` and `report.html` from plan, history and series.
pub(crate) fn render(dir: &Path) -> Result<u8, Failure> {
    let data = run_dir::read(dir)?;
    report::write_all(dir, &data)?;
    output::line(&format!("report: {}", dir.join("report.html").display()));
    Ok(0)
}
