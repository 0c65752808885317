//! The commands beside `run`.

pub(crate) mod chaos;
pub(crate) mod control;
pub(crate) mod deploy;
mod live_run;
pub(crate) mod plan;
pub(crate) mod recovery;
pub(crate) mod report;
pub(crate) mod runs;

use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output;

/// `gauntlet completions SHELL`.
#[expect(clippy::unnecessary_wraps, reason = "every command has one shape")]
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "gauntlet", &mut script);
    output::print(&String::from_utf8_lossy(&script));
    Ok(0)
}

/// `gauntlet guest-compile IN OUT`: what the sandbox starts as a child.
pub(crate) fn guest_compile(input: &Path, output: &Path) -> Result<u8, Failure> {
    sandbox::compile_file(input, output).map_err(|error| Failure::input(error.to_string()))?;
    Ok(0)
}
