//! A hog as its agent sees it, and as the system shows it.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::hog::{SPIN, Word};
use crate::inject::{Work, limits};
use crate::own_program;
use crate::settings::Settings;
use crate::state_dir::StateDir;
use crate::wait;

/// What a hog may live beyond its fault's duration, until it is ready and until it is ended, before it ends by itself.
const BEYOND: Duration = Duration::from_secs(60);

/// How long one that was killed may take to end.
const ENDS: Duration = Duration::from_secs(1);

/// A process that carries a fault out.
#[derive(Debug)]
pub(super) struct HogChild {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    work: Work,
    said: Vec<u8>,
}

/// What a hog has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Word(Word),
    /// It has ended.
    End,
}

impl HogChild {
    pub(super) fn start(
        dir: &StateDir,
        settings: &Settings,
        fault: &str,
        work: Work,
        lease: Duration,
        duration: Duration,
    ) -> io::Result<Self> {
        let mut command = own_program::command(&settings.prefix, "hog", dir);
        command.arg("--fault").arg(fault).arg("--parent").arg(std::process::id().to_string());
        command.arg("--lease").arg(wait::millis(lease).to_string());
        command.arg("--deadline").arg(wait::millis(duration.saturating_add(BEYOND)).to_string());
        command.args(work.arguments());
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("it has no pipes"));
        };
        for fd in [input.as_fd(), output.as_fd()] {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { child, input, output, work, said: Vec::new() })
    }

    /// Readable when it says something or ends.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Shows it that we live.
    pub(super) fn beat(&self) {
        let _ = rustix::io::write(&self.input, b"a");
    }

    pub(super) fn hear(&mut self) -> Said {
        let mut piece = [0; 4096];
        match rustix::io::read(&self.output, &mut piece) {
            Ok(0) => return Said::End,
            Ok(count) => self.said.extend_from_slice(&piece[..count]),
            Err(Errno::INTR | Errno::AGAIN) => return Said::Nothing,
            Err(_) => return Said::End,
        }
        let Some(end) = self.said.iter().position(|byte| *byte == b'\n') else { return Said::Nothing };
        let line: Vec<u8> = self.said.drain(..=end).collect();
        serde_json::from_slice(&line).map_or(Said::Nothing, Said::Word)
    }

    /// What the system shows of it, whatever it says itself.
    pub(super) fn seen(&self) -> Result<String, String> {
        let pid = self.child.id();
        let unread = |error: io::Error| format!("process {pid} cannot be looked at: {error}");
        match &self.work {
            Work::Cpu { threads } => {
                let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(unread)?;
                let name = |path: &Path| fs::read_to_string(path.join("comm")).unwrap_or_default();
                let spinning = tasks.flatten().filter(|task| name(&task.path()).trim() == SPIN).count();
                match u32::try_from(spinning) {
                    Ok(spinning) if spinning == *threads => {
                        Ok(format!("{spinning} threads of process {pid} spin"))
                    }
                    _ => Err(format!("{spinning} of {threads} threads of process {pid} spin")),
                }
            }
            Work::Memory { bytes } => {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(unread)?;
                let field = |name: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
                    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
                };
                let has = (field("VmRSS:").unwrap_or(0) + field("VmSwap:").unwrap_or(0)) * 1024;
                let available = limits::available_memory().unwrap_or(0);
                if has < *bytes {
                    return Err(format!("process {pid} has {has} of {bytes} bytes"));
                }
                Ok(format!("process {pid} has {has} bytes of memory, {available} are available"))
            }
            Work::Connections { address, .. } => {
                let sockets = self.files(|target, _| target.starts_with("socket:")).map_err(unread)?.len();
                match sockets {
                    0 => Err(format!("process {pid} has no socket")),
                    _ => Ok(format!("process {pid} has {sockets} sockets connected to {address}")),
                }
            }
            Work::Disk { directory, .. } => {
                let device = fs::metadata(directory).map_err(unread)?.dev();
                let taken: u64 = self
                    .files(|_, metadata| metadata.is_file() && metadata.dev() == device)
                    .map_err(unread)?
                    .iter()
                    .map(|metadata| metadata.blocks() * 512)
                    .sum();
                let available = limits::available_space(directory).map_err(unread)?;
                let shown = directory.display();
                match taken {
                    0 => Err(format!("process {pid} holds no space of {shown}")),
                    _ => {
                        Ok(format!("process {pid} holds {taken} bytes of {shown}, {available} are available"))
                    }
                }
            }
        }
    }

    fn files(&self, wanted: impl Fn(&str, &fs::Metadata) -> bool) -> io::Result<Vec<fs::Metadata>> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id()))?;
        let found = entries.flatten().filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let metadata = fs::metadata(entry.path()).ok()?;
            wanted(&target.to_string_lossy(), &metadata).then_some(metadata)
        });
        Ok(found.collect())
    }

    /// Takes note of its end, so that it is no zombie. One that could not be killed sees that its pipe is closed.
    pub(super) fn reap(mut self) {
        drop(self.input);
        wait::until(ENDS, || self.child.try_wait().map_or(Some(()), |status| status.map(|_| ())));
    }
}
