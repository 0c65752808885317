//! `gauntlet-load-worker`: a load-worker as a process of its own, on NATS.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use launch::settings::{Common, Settings};
use launch::{Error, Parts};
use load_worker::control::{Apart, Weight};
use protocol::id::WorkerId;
use sandbox::Compile;
use tokio::sync::oneshot;

/// Sends load as a scheduler tells it.
#[derive(Debug, Parser)]
#[command(name = "gauntlet-load-worker", version)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Load threads [default: the plan's, and without one there cores - 1]
    #[arg(long, env = "GAUNTLET_THREADS", value_name = "N")]
    threads: Option<u32>,
    /// Part of the load against other workers', such as 1 or 2.5 [default: measured before it is ready]
    #[arg(long, env = "GAUNTLET_WEIGHT", value_name = "WEIGHT")]
    weight: Option<Weight>,
    /// Nanoseconds by which this host's wall clock is wrong, to see what that does
    #[arg(
        long,
        env = "GAUNTLET_CLOCK_SHIFT_NS",
        value_name = "NS",
        default_value_t = 0,
        allow_hyphen_values = true,
        hide = true
    )]
    clock_shift_ns: i64,
}

impl Settings for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }
}

/// The word by which this program is started to compile a guest, in a child process with limits of its own.
const COMPILE: &str = "guest-compile";

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let [word, input, output] = arguments.as_slice()
        && word.as_os_str() == COMPILE
    {
        return compile(input, output);
    }
    launch::main("load", run)
}

#[expect(clippy::print_stderr, reason = "the parent reads the reason there")]
fn compile(input: &Path, output: &Path) -> ExitCode {
    match sandbox::compile_file(input, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments, parts: Parts) -> Result<(), Error> {
    let Parts { bus, shutdown, health } = parts;
    let state = &arguments.common.state_dir;
    let worker = identity(state)?;
    let program = std::env::current_exe()
        .map_err(|error| Error::Environment(format!("this program's own file is not known: {error}")))?;
    let (ready, is_ready) = oneshot::channel();
    let options = load_worker::Options {
        cache_dir: Some(state.join("cache")),
        compile: Compile::Child { program, args: vec![COMPILE.into()] },
        threads: arguments.threads,
        apart: Some(Apart {
            clock_shift_ns: arguments.clock_shift_ns,
            weight: arguments.weight,
            ..Apart::default()
        }),
        ready: Some(ready),
        ..load_worker::Options::new(worker, state.clone())
    };
    tracing::info!(%worker, "load-worker");
    launch::serve(load_worker::run(options, bus, shutdown), is_ready, &health).await
}

/// Who this worker is, across restarts: commands are addressed to it, and its samples are known by it.
fn identity(state: &Path) -> Result<WorkerId, Error> {
    let file = state.join("worker-id");
    let failed =
        |error: std::io::Error| Error::Environment(format!("state-dir: {}: {error}", file.display()));
    match std::fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().map_err(|error| {
            Error::Environment(format!(
                "state-dir: {}: found {text:?}: {error}; remove the file",
                file.display()
            ))
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let worker = WorkerId::new();
            std::fs::create_dir_all(state).map_err(failed)?;
            std::fs::write(&file, format!("{worker}\n")).map_err(failed)?;
            Ok(worker)
        }
        Err(error) => Err(failed(error)),
    }
}
