//! A process on a core of its own, and what it used.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// CPU times are looked at so often.
const SAMPLE: Duration = Duration::from_millis(20);

/// Clock ticks a second in `/proc`: a constant of Linux's interface on all architectures.
const TICKS: f64 = 100.0;

/// The cores of a measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cores {
    /// Of the server, and of whoever watches.
    pub(super) server: CpuSet,
    /// Of what is measured.
    pub(super) client: CpuSet,
}

impl Cores {
    /// The first that this process may use, for a client of so many threads.
    pub(super) fn find(threads: u32) -> anyhow::Result<Self> {
        Self::among(&sched_getaffinity(None).context("ask which cores may be used")?, threads)
    }

    /// A client of one thread has a core to itself, and all else is on another. One of more threads shares as many cores with
    /// the server: two machines are not to be had here, and what both do to each other is a part of what is compared.
    fn among(allowed: &CpuSet, threads: u32) -> anyhow::Result<Self> {
        let wanted = usize::try_from(threads.max(2))?;
        let first: Vec<usize> = listed(allowed).into_iter().take(wanted).collect();
        anyhow::ensure!(
            first.len() == wanted,
            "{} of the cores here may be used, and {wanted} are needed{}",
            first.len(),
            if threads > 1 { "" } else { ": one for the server, one for the client" }
        );
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            cores.iter().for_each(|&core| set.set(core));
            set
        };
        Ok(match first.as_slice() {
            [server, client] if threads <= 1 => Self { server: set(&[*server]), client: set(&[*client]) },
            shared => Self { server: set(shared), client: set(shared) },
        })
    }

    /// Who is where, for a heading.
    pub(super) fn shown(&self, server: &str) -> String {
        let cores = |set| listed(set).iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        if self.server == self.client {
            format!("{server} and client share cores {}", cores(&self.client))
        } else {
            format!("{server} on core {}, client on core {}", cores(&self.server), cores(&self.client))
        }
    }
}

fn listed(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

/// Moves this process to some cores; what it starts from then on stays there.
pub(super) fn move_to(cores: &CpuSet) -> anyhow::Result<()> {
    sched_setaffinity(None, cores).with_context(|| format!("move to cores {:?}", listed(cores)))
}

/// Starts a process on some cores.
pub(super) fn start_on(cores: &CpuSet, command: &mut Command, back_to: &CpuSet) -> anyhow::Result<Child> {
    move_to(cores)?;
    let shown = command.get_program().display().to_string();
    let child = command.spawn().with_context(|| format!("start {shown}"));
    move_to(back_to)?;
    child
}

/// Handle on a child by which its end can be waited for.
pub(super) fn handle(child: &Child) -> anyhow::Result<OwnedFd> {
    Ok(pidfd_open(pid(child)?, PidfdFlags::empty())?)
}

fn pid(child: &Child) -> anyhow::Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a child without an id")
}

/// Waits until the process has ended, or for so long. `true` = it has ended; what it used can still be read.
pub(super) fn has_ended_within(handle: &OwnedFd, time: Duration) -> anyhow::Result<bool> {
    let timeout =
        Timespec { tv_sec: i64::try_from(time.as_secs())?, tv_nsec: i64::from(time.subsec_nanos()) };
    let mut fds = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&timeout)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// CPU time at a moment, seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Wall time, Unix seconds.
    at: f64,
    /// Of the whole process.
    process: f64,
}

/// What a client used and said.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// User and system time of the whole process, children not among it, seconds.
    pub(super) cpu: f64,
    /// Of the threads named in [`Client::threads`] together; absent when one of them was not seen.
    pub(super) thread_cpu: Option<f64>,
    /// From start to end, seconds.
    pub(super) wall: f64,
    /// Largest resident memory, bytes, as last seen before its end.
    pub(super) peak_memory: Option<u64>,
    /// CPU time that others used meanwhile on all cores, as a share of one core.
    pub(super) others: f64,
    samples: Vec<Sample>,
}

impl Finished {
    /// CPU time of the process between two moments in Unix seconds, by straight lines between samples.
    pub(super) fn cpu_between(&self, begin: f64, end: f64) -> Option<f64> {
        let at = |moment: f64| {
            let after = self.samples.iter().position(|sample| sample.at >= moment)?;
            let b = self.samples.get(after)?;
            let Some(a) = after.checked_sub(1).and_then(|before| self.samples.get(before)) else {
                return Some(b.process);
            };
            let share = (moment - a.at) / (b.at - a.at).max(f64::EPSILON);
            Some(a.process + (b.process - a.process) * share)
        };
        Some(at(end)? - at(begin)?)
    }
}

/// A client that is to be measured.
pub(super) struct Client<'a> {
    pub(super) command: Command,
    /// Where its output goes until it has ended.
    pub(super) dir: &'a Path,
    /// Threads of it whose CPU time is wanted by itself.
    pub(super) threads: Vec<String>,
    /// The server, whose CPU time is not others'.
    pub(super) server: u32,
    /// After this it is killed.
    pub(super) limit: Duration,
}

impl Client<'_> {
    /// Runs it on its cores to its end.
    pub(super) fn run(mut self, cores: Cores) -> anyhow::Result<Finished> {
        let shown = self.command.get_program().display().to_string();
        let (out, err) = (self.dir.join("stdout"), self.dir.join("stderr"));
        self.command.stdin(Stdio::null()).stdout(File::create(&out)?).stderr(File::create(&err)?);
        let machine_before = machine_cpu()?;
        let server_before = process_cpu(self.server).unwrap_or(0.0);
        let began = Instant::now();
        let mut child = start_on(&cores.client, &mut self.command, &cores.server)?;
        let handle = handle(&child)?;
        let id = child.id();
        let (mut samples, mut peak_memory) = (Vec::new(), None);
        let mut threads: Vec<Thread> = self.threads.drain(..).map(Thread::named).collect();
        let mut killed = false;
        loop {
            let ended = has_ended_within(&handle, SAMPLE)?;
            if let Some(process) = process_cpu(id) {
                let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
                samples.push(Sample { at, process });
            }
            peak_memory = peak_of(id).or(peak_memory);
            threads.iter_mut().for_each(|thread| thread.look(id));
            if ended {
                break;
            }
            if began.elapsed() > self.limit && !killed {
                kill_process(pid(&child)?, Signal::KILL)?;
                killed = true;
            }
        }
        let wall = began.elapsed().as_secs_f64();
        // It is not waited for yet, so this is still there.
        let cpu = process_cpu(id).with_context(|| format!("{shown} left no CPU time in /proc/{id}/stat"))?;
        let machine = machine_cpu()? - machine_before;
        let server = process_cpu(self.server).unwrap_or(server_before) - server_before;
        let status = child.wait()?;
        anyhow::ensure!(
            !killed || status.signal().is_none(),
            "{shown} was killed: it had not ended after {} s",
            self.limit.as_secs()
        );
        Ok(Finished {
            status,
            stdout: std::fs::read_to_string(&out)?,
            stderr: std::fs::read_to_string(&err)?,
            cpu,
            thread_cpu: threads.iter().map(|thread| thread.cpu).sum(),
            wall,
            peak_memory,
            others: (machine - server - cpu).max(0.0) / wall,
            samples,
        })
    }
}

/// User and system time of a process, seconds, also of one that has ended and is not waited for.
pub(super) fn process_cpu(pid: u32) -> Option<f64> {
    cpu_of(&format!("/proc/{pid}/stat"))
}

/// A thread whose CPU time is looked at.
struct Thread {
    name: String,
    /// The file with it, once the thread was seen.
    stat: Option<String>,
    /// As last seen, seconds.
    cpu: Option<f64>,
}

impl Thread {
    fn named(name: String) -> Self {
        Self { name, stat: None, cpu: None }
    }

    fn look(&mut self, pid: u32) {
        if self.stat.is_none() {
            self.stat = self.find(pid);
        }
        self.cpu = self.stat.as_deref().and_then(cpu_of).or(self.cpu);
    }

    fn find(&self, pid: u32) -> Option<String> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let is_it = |task: &std::path::PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == self.name)
        };
        let found = tasks.flatten().map(|task| task.path()).find(is_it)?;
        Some(found.join("stat").display().to_string())
    }
}

fn cpu_of(stat: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(stat).ok()?;
    // The name, in parentheses, may hold anything; state is the first field after it, user time the 12th.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn peak_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1_024)
}

/// CPU time of everything on this machine, seconds: all but idle and waiting for disks.
fn machine_cpu() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|&field| fields.get(field)).sum::<f64>();
    Ok(busy / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        cores.iter().for_each(|&core| set.set(core));
        set
    }

    #[test]
    fn a_client_of_one_thread_has_its_own_core_and_one_of_more_shares_them() {
        let cores = Cores::among(&of(&[1, 4, 5]), 1).expect("cores");
        assert_eq!((cores.server, cores.client), (of(&[1]), of(&[4])));
        assert_eq!(cores.shown("nginx"), "nginx on core 1, client on core 4");
        let cores = Cores::among(&of(&[1, 4, 5]), 2).expect("cores");
        assert_eq!((cores.server, cores.client), (of(&[1, 4]), of(&[1, 4])));
        assert_eq!(cores.shown("nginx"), "nginx and client share cores 1, 4");
    }

    #[test]
    fn too_few_cores_are_told() {
        for (threads, told) in [(1, "one for the server"), (2, "2 are needed"), (3, "3 are needed")] {
            let error = Cores::among(&of(&[0]), threads).expect_err("one core").to_string();
            assert!(error.starts_with("1 of the cores") && error.contains(told), "{error}");
        }
    }
}
