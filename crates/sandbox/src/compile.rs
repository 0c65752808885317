//! Compiling guests, in a child process with limits: a guest may be made to blow up a compiler.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, pidfd_open, prlimit};

use crate::config::{Compile, HostConfig};
use crate::engine;
use crate::error::LoadError;
use crate::world;

/// Compiles a guest: what the child of [`Compile::Child`] calls. It checks the guest's world first.
///
/// # Errors
/// When the input cannot be read, is not a guest, does not compile, or the output cannot be written.
pub fn compile_file(input: &Path, output: &Path) -> Result<(), LoadError> {
    let wasm = fs::read(input).map_err(|source| LoadError::Read { path: input.to_owned(), source })?;
    world::check(input, &wasm)?;
    let compiled =
        in_process(&wasm).map_err(|message| LoadError::Compile { path: input.to_owned(), message })?;
    fs::write(output, compiled).map_err(|source| LoadError::Write { path: output.to_owned(), source })
}

/// Compiles the guest at `path`, whose bytes are `wasm`.
pub(crate) fn compile(config: &HostConfig, path: &Path, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    let failed = |message| LoadError::Compile { path: path.to_owned(), message };
    match &config.compile {
        Compile::InProcess => in_process(wasm).map_err(failed),
        Compile::Child { program, args } => {
            let room = tempfile::tempdir()
                .map_err(|source| LoadError::Write { path: std::env::temp_dir(), source })?;
            // The very bytes that were read and hashed: the file at `path` may change meanwhile.
            let (input, output) = (room.path().join("guest.wasm"), room.path().join("guest.cwasm"));
            let write = |source| LoadError::Write { path: input.clone(), source };
            fs::write(&input, wasm).map_err(write)?;
            let files = [input.into_os_string(), output.clone().into_os_string()];
            in_child(program, args.iter().chain(&files), config).map_err(failed)?;
            fs::read(&output).map_err(|error| failed(format!("the compiler left no output ({error})")))
        }
    }
}

fn in_process(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let engine = engine::for_compiling().map_err(|error| format!("{error:#}"))?;
    engine.precompile_component(wasm).map_err(|error| format!("{error:#}"))
}

fn in_child<'a>(
    program: &Path,
    args: impl Iterator<Item = &'a OsString>,
    config: &HostConfig,
) -> Result<(), String> {
    let start =
        |error: std::io::Error| format!("the compiler {} does not start ({error})", program.display());
    let words = tempfile::tempfile().map_err(start)?;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(words.try_clone().map_err(start)?)
        .spawn()
        .map_err(start)?;
    let ended = limit(&child, config)
        .and_then(|()| wait(&mut child, config.compile_time))
        .map_err(|error| format!("the compiler cannot be supervised ({error})"));
    match ended {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(failure(status, words, config)),
        Ok(None) => {
            stop(&mut child);
            Err(format!("it took more than {:?}; make the guest smaller", config.compile_time))
        }
        Err(message) => {
            stop(&mut child);
            Err(message)
        }
    }
}

/// Limits the child from outside: it is our own program, but the limit must not depend on it.
fn limit(child: &Child, config: &HostConfig) -> rustix::io::Result<()> {
    let pid = Some(pid_of(child)?);
    let only = |value| Rlimit { current: Some(value), maximum: Some(value) };
    prlimit(pid, Resource::As, only(config.compile_memory_bytes))?;
    // Should this process die, nobody watches the clock; CPU time then ends the child.
    prlimit(pid, Resource::Cpu, only(config.compile_time.as_secs().saturating_mul(2).max(2)))?;
    prlimit(pid, Resource::Core, only(0))?;
    Ok(())
}

fn pid_of(child: &Child) -> rustix::io::Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)
}

/// Waits for the child to end; `None` when it does not in time.
fn wait(child: &mut Child, time: Duration) -> rustix::io::Result<Option<ExitStatus>> {
    let ended = pidfd_open(pid_of(child)?, PidfdFlags::empty())?;
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        match poll(&mut [PollFd::new(&ended, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => {
                let status = child.wait().map_err(|error| {
                    error
                        .raw_os_error()
                        .map_or(rustix::io::Errno::CHILD, rustix::io::Errno::from_raw_os_error)
                })?;
                return Ok(Some(status));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn stop(child: &mut Child) {
    // It may have ended meanwhile; either way it is reaped.
    let _ = child.kill();
    let _ = child.wait();
}

fn failure(status: ExitStatus, mut words: File, config: &HostConfig) -> String {
    const TAIL: usize = 2000;
    let mut said = Vec::new();
    let read = words.rewind().and_then(|()| words.read_to_end(&mut said));
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(TAIL)..]).trim().to_owned();
    match (status.code(), read) {
        (Some(_), Ok(_)) if !said.is_empty() => said,
        (Some(code), _) => format!("the compiler ended with exit code {code}"),
        (None, _) => format!(
            "the compiler was stopped ({status}); it may have {} MiB of memory. {said}",
            config.compile_memory_bytes >> 20
        ),
    }
}
