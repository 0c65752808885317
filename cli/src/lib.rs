//! The `gauntlet` command: runs everything in one process, and looks at what came of it.
//!
//! [`run`] is the only place where services are put together; [`knee`] has one run after another done by them; every other
//! module reads plans or run directories, or talks to the HTTP API of a run.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod failure;
mod guests;
mod knee;
mod mcp_conformance;
mod output;
mod run;
mod run_dir;
mod table;

use std::process::ExitCode;

use args::{Cli, Command};
use clap::Parser as _;
use failure::Failure;

/// The words by which this program is started as one of those that carry faults out for it.
const FAULT_AGENT: &str = "fault-agent";
const FAULT_PROXY: &str = "fault-proxy";

/// Reads the command line, does what it says, and gives the exit code of requirement R12.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        // Programs of their own: they read their arguments, log and end as these, and no runtime of ours is in their way.
        Some(word) if word == FAULT_AGENT => return fault_agent::main([FAULT_AGENT], arguments),
        Some(word) if word == FAULT_PROXY => {
            return fault_proxy::main(std::iter::once("gauntlet fault-proxy".into()).chain(arguments));
        }
        _ => {}
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => {
            // Help and version end with 0, a wrong command line with 2, as R12 wants it.
            let _ = asked.print();
            return ExitCode::from(u8::try_from(asked.exit_code()).unwrap_or(2));
        }
    };
    // A panic is a bug: the hook has printed where; the code is 1, not 101.
    let done = std::panic::catch_unwind(|| dispatch(cli));
    let failure = match done {
        Ok(Ok(code)) => return ExitCode::from(code),
        Ok(Err(failure)) => failure,
        Err(_) => Failure::bug("the command panicked"),
    };
    output::error(&failure.to_string());
    ExitCode::from(failure.code())
}

fn dispatch(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Knee(args) => knee::search(&args),
        Command::McpConformance(args) => mcp_conformance::conform(&args),
        Command::Plan(command) => commands::plan::dispatch(command),
        Command::Runs(command) => commands::runs::dispatch(command),
        Command::Report { run_dir } => commands::report::render(&run_dir),
        Command::Control(args) => commands::control::send(&args),
        Command::Chaos(args) => commands::chaos::dispatch(&args),
        Command::Recovery(args) => commands::recovery::dispatch(&args),
        Command::Deploy(command) => commands::deploy::dispatch(command),
        Command::Completions { shell } => commands::completions(shell),
        Command::GuestCompile { input, output } => commands::guest_compile(&input, &output),
    }
}
