//! `gauntlet report`: the files of a run directory, or of a search's, written anew.

use std::path::Path;

use crate::failure::Failure;
use crate::knee::result::Knee;
use crate::{output, run_dir};

/// Writes `summary.json`, `junit.xml` and `report.html` from plan, history and series; of a search for the knee, the page.
pub(crate) fn render(dir: &Path) -> Result<u8, Failure> {
    if let Some(knee) = Knee::read(dir)? {
        knee.draw(dir)?;
    } else {
        let data = run_dir::read(dir)?;
        report::write_all(dir, &data)?;
    }
    output::line(&format!("report: {}", dir.join("report.html").display()));
    Ok(0)
}
