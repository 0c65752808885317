//! Starts of instances: spawned as leaders of sessions, then waited for until they are ready.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, timeout_at};

use super::state_dir::{Exit, Record, StateDir};
use super::{Processes, StartError, clock, ending, log, members, observe, program, system};
use crate::PlatformError;
use crate::identity::{Handle, ProcessId};
use crate::instance::{Asked, InstanceId, Started};
use crate::proc_fs;
use crate::ready::Check;

/// How often a process that was spawned is looked at until it leads its session.
const LOOK: Duration = Duration::from_millis(1);
/// How long the program that begins the session may take to do so.
const BEGINS: Duration = Duration::from_secs(10);
/// How long it may then take to become the plan's program; where both are one file, nothing tells.
const BECOMES: Duration = Duration::from_millis(250);

/// What can be said without starting it: the directory is there, and the ready check can be made.
pub(super) fn check(record: &Record) -> Result<Option<Check>, StartError> {
    let spec = &record.spec;
    let dir = spec.dir.as_ref().map_or_else(|| record.base_dir.clone(), |dir| record.base_dir.join(dir));
    if !dir.is_dir() {
        return Err(StartError::NoDirectory { name: spec.name.clone(), dir });
    }
    let wrong = |problem| StartError::ReadyCheck { name: spec.name.clone(), problem };
    spec.ready.as_deref().map(Check::parse).transpose().map_err(wrong)
}

impl Processes {
    /// Starts it unless it runs, and waits until it is ready.
    pub(super) async fn start_and_wait(&self, id: &InstanceId) -> Result<Started, PlatformError> {
        let (lock, known) = self.lock(id).await?;
        let began = Instant::now();
        let by_us = observe::alive(&known)?.is_none();
        let record = if by_us { self.launch(known).await? } else { known };
        drop(lock);
        match self.wait_ready(&record, began).await {
            Ok(ready_after) => {
                Ok(Started { instance: observe::instance(&self.dir, &record)?, by_us, ready_after })
            }
            Err(error) => {
                if by_us {
                    if observe::alive(&record)?.is_some() {
                        self.dir.ask(&record, Asked::Kill)?;
                    }
                    ending::destroy(&self.dir, &record, Vec::new()).await?;
                }
                Err(error)
            }
        }
    }

    async fn launch(&self, known: Record) -> Result<Record, PlatformError> {
        let id = &known.id;
        let owner_lives = known.owner.is_alive().map_err(system(id, "looking for its owner"))?;
        if !owner_lives {
            return Err(PlatformError::OwnerEnded { name: known.name(), owner: known.owner.clone() });
        }
        // What is left of the former one must not meet the new one.
        ending::destroy(&self.dir, &known, Vec::new()).await?;
        let mut record = known.clone();
        if !record.program.is_file() {
            record.program = program::find(&record.spec, &record.base_dir)?;
        }
        let name = || known.name();
        if let Some(check) = check(&record)?
            && check.somebody_accepts()
        {
            // Else the answer of a stranger on the same port would pass for ours.
            let ready = record.spec.ready.clone().unwrap_or_default();
            return Err(StartError::Occupied { name: name(), ready }.into());
        }
        let setsid = program::setsid(&record.spec.name)?;
        let (child, process) = self.spawn(&known, &mut record, &setsid)?;
        reap(self.dir.clone(), record.clone(), child).map_err(|source| {
            let _ = ending::strike(&self.dir, &record, &mut vec![process.clone()]);
            StartError::Spawn { name: name(), program: record.program.clone(), source }
        })?;
        tracing::debug!(process = %record.id, pid = process.pid, "process started");
        self.settle(&record, &process, &setsid).await?;
        Ok(record)
    }

    /// Spawns it. Nothing is waited for between the spawn and the record of it; before the spawn the record says that there
    /// will be one, so that whatever carries its mark is found also when we die in between.
    fn spawn(
        &self,
        known: &Record,
        record: &mut Record,
        setsid: &Path,
    ) -> Result<(Child, ProcessId), PlatformError> {
        let spec = known.spec.clone();
        let name = || spec.name.clone();
        let unopened = |source| StartError::LogFile { name: name(), path: known.log.clone(), source };
        let output = OpenOptions::new().create(true).append(true).open(&known.log).map_err(unopened)?;
        record.log_from = output.metadata().map_err(unopened)?.len();
        let errors = output.try_clone().map_err(unopened)?;

        let environment = clock::set_up(&self.dir, record)?;
        record.generation += 1;
        record.process = None;
        record.spawner = Some(ProcessId::current().map_err(system(&known.id, "looking at ourselves"))?);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        record.started_unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.dir.write(record)?;

        let dir = spec.dir.as_ref().map_or_else(|| known.base_dir.clone(), |dir| known.base_dir.join(dir));
        let spawned = Command::new(setsid)
            .arg(&record.program)
            .args(spec.command.iter().skip(1))
            .envs(&spec.env)
            .envs(environment)
            .env(members::MARK, self.dir.mark(&record.id, record.generation))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        let result = match spawned {
            Ok(child) => self.note(record, child),
            Err(source) => {
                Err(StartError::Spawn { name: name(), program: record.program.clone(), source }.into())
            }
        };
        if result.is_err() {
            // As if it had not been tried.
            let _ = self.dir.write(known);
        }
        result
    }

    /// Records who was spawned; one that cannot be recorded is killed.
    fn note(&self, record: &mut Record, mut child: Child) -> Result<(Child, ProcessId), PlatformError> {
        let noted = ProcessId::of(child.id()).map_err(system(&record.id, "looking at its process"));
        let noted = noted.and_then(|process| {
            record.process = Some(process.clone());
            self.dir.write(record).map(|()| process)
        });
        match noted {
            Ok(process) => Ok((child, process)),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Waits until it leads its session and is the plan's program: only then is it found as we look for it.
    async fn settle(&self, record: &Record, process: &ProcessId, setsid: &Path) -> Result<(), StartError> {
        // By the machine's clock, whatever the runtime's does in a test.
        let began = std::time::Instant::now();
        let setsid = setsid.canonicalize().ok();
        let failed = |text: String| StartError::Spawn {
            name: record.name(),
            program: record.program.clone(),
            source: io::Error::other(text),
        };
        loop {
            let stat = proc_fs::stat(process.pid).ok().filter(|stat| stat.started == process.started_ticks);
            let Some(stat) = stat.filter(|stat| !stat.ended()) else { break };
            let leads = stat.session == process.pid;
            let is_itself = match fs::read_link(format!("/proc/{}/exe", process.pid)) {
                Ok(program) => Some(program) != setsid,
                // A program that runs with another user's rights hides what it is; one that is ending is nothing any more.
                Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
            };
            if leads && (is_itself || began.elapsed() > BECOMES) {
                return Ok(());
            }
            if began.elapsed() > BEGINS {
                let error = failed("setsid did not begin a session in place".to_owned());
                let _ = ending::strike(&self.dir, record, &mut vec![process.clone()]);
                return Err(error);
            }
            sleep(LOOK).await;
        }
        // It has ended already. A program that could not be executed was not even itself.
        let status = observe::status(&self.dir, record).await;
        let last = log::last_lines(&record.log, record.log_from, 1);
        match last.first().and_then(|line| line.strip_prefix("setsid: ")) {
            Some(why) if matches!(status.as_str(), "exit code 126" | "exit code 127") => {
                Err(failed(why.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the ready check passes, and returns how long after `began` that was.
    async fn wait_ready(&self, record: &Record, began: Instant) -> Result<Duration, PlatformError> {
        let Some(ready) = &record.spec.ready else { return Ok(began.elapsed()) };
        let Some(check) = check(record)? else { return Ok(began.elapsed()) };
        let last_lines = || log::last_lines(&record.log, record.log_from, log::QUOTED);
        let leader = observe::alive(record)?;
        let mut seen = "nothing yet".to_owned();
        let mut pause = Duration::from_millis(5);
        let attempts = async {
            while let Err(found) = check.attempt().await {
                seen = found;
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(100));
            }
        };
        let is_ready = tokio::select! {
            // A process that ended is not ready, even if somebody answers in its place.
            biased;
            () = ended(leader.as_ref()) => false,
            ready = timeout_at(began + record.spec.ready_timeout, attempts) => ready.is_ok(),
        };
        if observe::alive(record)?.is_none() {
            let status = observe::status(&self.dir, record).await;
            return Err(StartError::Exited { name: record.name(), status, last_lines: last_lines() }.into());
        }
        if is_ready {
            return Ok(began.elapsed());
        }
        Err(StartError::NotReady {
            name: record.name(),
            ready: ready.clone(),
            timeout: record.spec.ready_timeout,
            seen,
            last_lines: last_lines(),
        }
        .into())
    }
}

async fn ended(leader: Option<&Handle>) {
    if let Some(leader) = leader {
        leader.ended().await;
    }
}

/// Waits for a child in a thread of its own, and says how it ended to all who look at the state directory.
fn reap(dir: StateDir, record: Record, mut child: Child) -> io::Result<()> {
    let wait = move || {
        let Ok(status) = child.wait() else { return };
        let exit = Exit { status: text(status) };
        // Whoever wants to know will say that the status is unknown.
        if let Err(error) = dir.write_exit(&record.id, record.generation, &exit) {
            tracing::debug!(process = %record.id, %error, "how it ended is not noted");
        }
        clock::tidy(&record);
    };
    std::thread::Builder::new().name("reap".to_owned()).spawn(wait).map(|_| ())
}

fn text(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
