//! The arguments of the program, in each of its roles.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use platform::identity::ProcessId;

use crate::check::CheckOptions;
use crate::hog::Bounds;
use crate::inject::Work;
use crate::settings::Settings;

/// Faults of this host, each undone and read back whatever dies.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) role: Role,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Take requests on standard input, one JSON object a line, and answer on standard output. At the end of input all
    /// is undone.
    Serve(Serve),
    /// Look for anything of ours that is in effect: one line each. Exit code 97 = something is.
    Check(Check),
    /// Watch an agent; it starts this itself.
    #[command(hide = true)]
    Guardian(Guardian),
    /// Carry out a fault; the agent starts this itself.
    #[command(hide = true)]
    Hog(Hog),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Directory of the journal; made when it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// How long faults outlive a silent controller.
    #[arg(long, value_name = "MS", default_value = "5000", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    lease: u64,
    /// The longest duration of a fault that is not refused.
    #[arg(long, value_name = "MS", default_value = "3600000", value_parser = clap::value_parser!(u64).range(1..=604_800_000))]
    longest: u64,
    /// Bytes of memory that stay available.
    #[arg(long, value_name = "BYTES", default_value = "536870912")]
    memory_reserve: u64,
    /// Bytes of disk space that stay available.
    #[arg(long, value_name = "BYTES", default_value = "16777216")]
    disk_reserve: u64,
}

impl Serve {
    pub(crate) fn settings(&self, prefix: Vec<OsString>) -> Settings {
        Settings {
            prefix,
            lease: Duration::from_millis(self.lease),
            longest: Duration::from_millis(self.longest),
            memory_reserve: self.memory_reserve,
            disk_reserve: self.disk_reserve,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The agent's state directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// A directory that may have been filled.
    #[arg(long, value_name = "PATH")]
    disk: Vec<PathBuf>,
    /// The pid of a process whose session may have been stopped.
    #[arg(long, value_name = "PID")]
    victim: Vec<u32>,
    /// A clock file of libfaketime that should hold no offset.
    #[arg(long, value_name = "FILE")]
    clock: Vec<PathBuf>,
}

impl Check {
    /// A victim that has ended is not stopped.
    pub(crate) fn options(&self) -> CheckOptions {
        CheckOptions {
            disks: self.disk.clone(),
            victims: self.victim.iter().filter_map(|pid| ProcessId::of(*pid).ok()).collect(),
            clocks: self.clock.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Guardian {
    #[arg(long)]
    pub(crate) state: PathBuf,
    #[arg(long)]
    lease: u64,
    #[arg(long, value_parser = process)]
    pub(crate) agent: ProcessId,
}

impl Guardian {
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(self.lease)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Hog {
    /// Only a mark: it tells whose hog this is.
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    fault: String,
    #[arg(long)]
    parent: u32,
    #[arg(long)]
    lease: u64,
    #[arg(long)]
    deadline: u64,
    #[command(subcommand)]
    work: HogWork,
}

#[derive(Clone, Debug, Subcommand)]
enum HogWork {
    Cpu {
        #[arg(long)]
        threads: u32,
    },
    Memory {
        #[arg(long)]
        bytes: u64,
    },
    Connections {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        count: u32,
    },
    Disk {
        #[arg(long)]
        directory: PathBuf,
        #[arg(long)]
        filler: PathBuf,
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        reserve: u64,
    },
}

impl Hog {
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds {
            parent: self.parent,
            lease: Duration::from_millis(self.lease),
            deadline: Duration::from_millis(self.deadline),
        }
    }

    pub(crate) fn work(&self) -> Work {
        match self.work.clone() {
            HogWork::Cpu { threads } => Work::Cpu { threads },
            HogWork::Memory { bytes } => Work::Memory { bytes },
            HogWork::Connections { address, count } => Work::Connections { address, count },
            HogWork::Disk { directory, filler, bytes, reserve } => {
                Work::Disk { directory, filler, bytes, reserve }
            }
        }
    }
}

fn process(text: &str) -> Result<ProcessId, String> {
    serde_json::from_str(text).map_err(|error| format!("{text} is no process: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_settings() {
        let arguments = Arguments::try_parse_from(["agent", "serve", "--state", "x"]).unwrap();
        let Role::Serve(serve) = arguments.role else { panic!("not serve: {arguments:?}") };
        assert_eq!(serve.settings(Vec::new()), Settings::default());
    }

    #[test]
    fn what_the_agent_gives_a_hog_is_what_the_hog_reads() {
        let works = [
            Work::Cpu { threads: 3 },
            Work::Memory { bytes: 5 },
            Work::Connections { address: "[::1]:80".parse().unwrap(), count: 7 },
            Work::Disk { directory: "/a b".into(), filler: "/a b/--f".into(), bytes: 9, reserve: 1 },
        ];
        for work in works {
            let start = [
                "agent",
                "hog",
                "--state",
                "/s",
                "--fault",
                "f",
                "--parent",
                "2",
                "--lease",
                "3",
                "--deadline",
                "4",
            ];
            let all = start.iter().map(OsString::from).chain(work.arguments());
            let Role::Hog(read) = Arguments::try_parse_from(all).unwrap().role else { panic!("not a hog") };
            assert_eq!(read.work(), work);
            let Bounds { parent, lease, deadline } = read.bounds();
            assert_eq!((parent, lease.as_millis(), deadline.as_millis()), (2, 3, 4));
        }
    }
}
