//! Our own processes that take what a target would need. Each ends in four ways, whichever comes first: it is killed by who
//! undoes the fault; the kernel kills it when its agent dies; it ends when the agent is silent for a lease, or closes the
//! pipe; it ends at a deadline of its own.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

use crate::inject::{Refusal, Work};
use crate::own_program;
use crate::silence::{Heard, Silence};

mod connections;
mod cpu;
mod disk;
mod memory;

pub(crate) use cpu::NAME as SPIN;

/// How often held connections are looked at.
const TEND: Duration = Duration::from_millis(500);

/// What a hog says to its agent, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Word {
    /// It has all that it was to take.
    Ready(String),
    /// It could not take it, and ends.
    Failed { problem: String, mend: String },
}

/// What is held. Dropping it gives it back.
enum Held {
    Cpu,
    Memory(#[expect(dead_code, reason = "it is held")] Vec<Vec<u8>>),
    Connections(connections::Connections),
    Disk(#[expect(dead_code, reason = "it is held")] disk::Filler),
}

/// Whose hog it is, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// The agent's pid.
    pub(crate) parent: u32,
    /// How long the agent may be silent.
    pub(crate) lease: Duration,
    /// How long it lives at most.
    pub(crate) deadline: Duration,
}

/// Takes what it is to take, and holds it. Returns when it is to end; all is given back then.
pub(crate) fn run(work: &Work, bounds: &Bounds) -> io::Result<()> {
    let end = Instant::now() + bounds.deadline;
    own_program::leave_terminal(c"gauntlet-hog");
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It died before that was set.
    if getppid().map(Pid::as_raw_pid).and_then(|pid| u32::try_from(pid).ok()) != Some(bounds.parent) {
        return Ok(());
    }
    // When memory is short, we are the first to go. Refused, the kernel chooses by size, which is us, too.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let mut held = match take(work) {
        Ok((held, text)) => {
            say(&Word::Ready(text))?;
            held
        }
        Err(Refusal { problem, mend }) => return say(&Word::Failed { problem, mend }),
    };
    let stdin = io::stdin();
    let mut silence = Silence::new(bounds.lease);
    let mut tend = Instant::now() + TEND;
    while Instant::now() < end && silence.hear(stdin.as_fd())? == Heard::Alive {
        if let Held::Connections(connections) = &mut held
            && Instant::now() >= tend
        {
            connections.tend();
            tend = Instant::now() + TEND;
        }
    }
    Ok(())
}

fn take(work: &Work) -> Result<(Held, String), Refusal> {
    Ok(match work {
        Work::Cpu { threads } => {
            cpu::spin(*threads)?;
            (Held::Cpu, format!("{threads} threads spin"))
        }
        Work::Memory { bytes } => {
            (Held::Memory(memory::touch(*bytes)?), format!("{bytes} bytes are touched"))
        }
        Work::Connections { address, count } => {
            let connections = connections::Connections::open(*address, *count)?;
            let text = connections.text();
            (Held::Connections(connections), text)
        }
        Work::Disk { directory, filler, bytes, reserve } => {
            let filler = disk::Filler::make(directory, filler, *bytes, *reserve)?;
            let text = filler.text();
            (Held::Disk(filler), text)
        }
    })
}

fn say(word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let mut out = io::stdout();
    out.write_all(&line)?;
    out.flush()
}

impl Work {
    /// Its arguments, as [`crate::command_line`] reads them.
    pub(crate) fn arguments(&self) -> Vec<std::ffi::OsString> {
        let number = |flag: &str, value: u64| [flag.into(), value.to_string().into()];
        let path = |flag: &str, value: &PathBuf| [flag.into(), value.into()];
        match self {
            Self::Cpu { threads } => {
                [["cpu".into()].as_slice(), &number("--threads", (*threads).into())].concat()
            }
            Self::Memory { bytes } => [["memory".into()].as_slice(), &number("--bytes", *bytes)].concat(),
            Self::Connections { address, count } => {
                let address = ["--address".into(), address.to_string().into()];
                [["connections".into()].as_slice(), &address, &number("--count", (*count).into())].concat()
            }
            Self::Disk { directory, filler, bytes, reserve } => [
                ["disk".into()].as_slice(),
                &path("--directory", directory),
                &path("--filler", filler),
                &number("--bytes", *bytes),
                &number("--reserve", *reserve),
            ]
            .concat(),
        }
    }
}
