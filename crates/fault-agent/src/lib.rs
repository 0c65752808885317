//! Faults of this host: its processes, their clocks, its CPU, memory, disk and connections. *No fault of ours outlives its
//! lease, whatever dies, and it is shown.*
//!
//! The program is an **agent**, a child of the service that decides on faults, its controller. It listens nowhere: it takes
//! requests on standard input and answers on standard output ([`Request`], [`Reply`], one JSON object a line). [`Agent`] is
//! the controller's side of that.
//!
//! # What ends a fault
//!
//! | what happens | who undoes it | when |
//! |---|---|---|
//! | the controller asks, or the duration is over | agent | at once |
//! | the controller is silent | agent | after the lease (5 s) |
//! | the controller dies or closes its end | agent | at once |
//! | the agent dies | its guardian | at once |
//! | the agent hangs | its guardian, which kills it first | after the lease |
//! | the guardian dies or hangs | nobody has to; the agent starts another | at once; after the lease |
//! | agent and guardian die together | the agent that the controller starts in their place | at once |
//! | controller, agent and guardian die together; the machine restarts | the next agent that is started on the state directory | when it starts |
//!
//! In the last case, what consumes CPU, memory, connections or disk space ends by itself, because it is in processes of
//! ours (hogs) that the kernel kills with the agent. *A stopped process stays stopped and a clock stays wrong until the next start*:
//! nothing is left then that could know of it.
//!
//! # How that is kept
//!
//! * **Journal first.** What is to be undone and how is on disk (fsync) before anything is touched.
//! * **Undo is done again until it is seen.** It reads the system back: states of processes, files, `/proc`. What cannot be
//!   shown to be undone is `unrecovered`, is tried again each second, and keeps further faults from being injected.
//! * **No stranger is hit.** Processes are known by pid, start and boot, and signalled through pidfds. Never hit are init, the
//!   agent, and what it descends from. A clock file must be the one that its process reads.
//! * **One who undoes.** Agent and guardian take turns by a lock that the kernel takes from the dead.
//! * **Out of the terminal's reach**: agent, guardian and hogs are in sessions of their own. SIGTERM to an agent is its death,
//!   and its guardian undoes everything.
//!
//! [`check()`] looks at the system itself, asks nobody, and says what of ours is in effect.
//!
//! # Limits
//!
//! * Processes that left their session and whose parent has ended belong to nobody, and are not hit.
//! * Memory is refused by what the machine has available, not by the limit of a control group; a hog that the kernel ends
//!   for want of memory ends its fault early, and that is told.
//! * Disk space is what users who are not root can write: what the file system keeps for root is not taken.
//! * A program that neither loads libfaketime nor reads the time through it has no clock that could be adjusted; that is refused.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;

mod action;
mod check;
mod client;
mod command_line;
mod exit;
mod guardian;
mod hog;
mod inject;
mod journal;
mod ours;
mod own_program;
mod problem;
mod serve;
mod settings;
mod silence;
mod state_dir;
mod takeover;
mod undo;
mod wait;
mod wire;

pub use action::{Action, Clock, Take};
pub use check::{CheckOptions, Finding, check};
pub use client::{Agent, CloseError, EndError, Event, Events, InjectError, Options, StartError};
pub use wire::{Ended, How, Injected, Refused, Reply, Request, Unrecovered};

use command_line::{Arguments, Role};
use problem::Problem;
use settings::Settings;
use state_dir::StateDir;

/// The program, in any of its roles. `prefix` = the arguments between the program's name and `args`, with which it is
/// started again in another role: none for a program of its own, the subcommand's name where it is one.
pub fn main(
    prefix: impl IntoIterator<Item = impl Into<OsString>>,
    args: impl IntoIterator<Item = impl Into<OsString>>,
) -> ExitCode {
    let prefix: Vec<OsString> = prefix.into_iter().map(Into::into).collect();
    let name = OsString::from("gauntlet-fault-agent");
    let arguments = std::iter::once(name).chain(args.into_iter().map(Into::into));
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::INPUT } else { exit::OK });
        }
    };
    match catch_unwind(AssertUnwindSafe(|| run(arguments, prefix))) {
        Ok(Ok(())) => ExitCode::from(exit::OK),
        Ok(Err(problem)) => {
            let _ = writeln!(std::io::stderr(), "error: {problem}");
            ExitCode::from(problem.code())
        }
        // It has said what it is. The guardian undoes what is held.
        Err(_) => ExitCode::from(exit::BUG),
    }
}

fn run(arguments: Arguments, prefix: Vec<OsString>) -> Result<(), Problem> {
    match arguments.role {
        Role::Serve(serve_arguments) => {
            let settings = serve_arguments.settings(prefix);
            let dir = StateDir::make(&serve_arguments.state)
                .map_err(|error| no_dir(&serve_arguments.state, &error))?;
            serve::run(settings, &dir)
        }
        Role::Check(check_arguments) => {
            let findings = check(&check_arguments.state, &check_arguments.options())
                .map_err(|error| no_dir(&check_arguments.state, &error))?;
            let mut out = std::io::stdout();
            for finding in &findings {
                // The exit code says it, too.
                let _ = writeln!(out, "{finding}");
            }
            match findings.len() {
                0 => Ok(()),
                1 => Err(Problem::Unrecovered("1 thing of ours is in effect".to_owned())),
                count => Err(Problem::Unrecovered(format!("{count} things of ours are in effect"))),
            }
        }
        Role::Guardian(guardian) => {
            let dir = StateDir::existing(&guardian.state).map_err(|error| no_dir(&guardian.state, &error))?;
            guardian::run(&dir, &guardian.agent, guardian.lease())
        }
        Role::Hog(hog) => hog::run(&hog.work(), &hog.bounds())
            .map_err(|error| Problem::Environment(format!("the agent cannot be heard: {error}"))),
    }
}

fn no_dir(path: &std::path::Path, error: &std::io::Error) -> Problem {
    Problem::Environment(format!(
        "the state directory {} cannot be used: {error}; name one that can be read and written",
        path.display()
    ))
}
