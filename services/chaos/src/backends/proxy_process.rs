//! The fault proxy's process: started with all proxies at once, and on the same ports again.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fault_proxy::ProxyInput;
use platform::identity::{Handle, ProcessId, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// How long the proxy may take until it listens.
const STARTS: Duration = Duration::from_secs(10);
/// How long a process may take to be gone after SIGKILL.
const DIES: Duration = Duration::from_secs(5);
/// What its first line begins with.
const LISTENS: &str = "listening on http://";
/// What of its log an error shows at most.
const LOG: usize = 500;

/// How the proxy's process is started.
#[derive(Clone, Debug)]
pub(crate) struct ProxyCommand {
    pub(crate) command: Vec<OsString>,
    pub(crate) dir: PathBuf,
    pub(crate) address: IpAddr,
    pub(crate) lease: Duration,
    pub(crate) seed: u64,
}

/// What is kept of it in a file, so that another life of this service ends it, and has the same ports again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProxyRecord {
    /// The run for which it was started.
    pub(crate) run: String,
    /// Its process.
    pub(crate) process: ProcessId,
    /// Where its API listens.
    pub(crate) api: String,
    /// What its callers say.
    pub(crate) token: String,
    /// Its proxies with the addresses that they have.
    pub(crate) proxies: Vec<ProxyInput>,
}

/// A running one. Dropped, it runs on until its lease has ended.
#[derive(Debug)]
pub(crate) struct ProxyProcess {
    /// `None` = an earlier life of this service started it.
    child: Option<Child>,
    handle: Handle,
    pub(crate) process: ProcessId,
    /// Where its API listens: host and port.
    pub(crate) api: String,
}

impl ProxyProcess {
    /// One that an earlier life of this service started; `None` = it has ended.
    pub(crate) fn of_another(process: &ProcessId, api: &str) -> Option<Self> {
        let handle = process.open().ok()??;
        Some(Self { child: None, handle, process: process.clone(), api: api.to_owned() })
    }

    /// Waits until it has ended; how it did, if that can be known.
    pub(crate) async fn ended(&mut self) -> String {
        match &mut self.child {
            Some(child) => {
                child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            None => {
                self.handle.ended().await;
                "it ended".to_owned()
            }
        }
    }
}

impl ProxyCommand {
    /// Starts it with its API at `api`, and these proxies.
    ///
    /// # Errors
    /// Why it does not run.
    pub(crate) async fn start(
        &self,
        api: &str,
        token: &str,
        proxies: &[ProxyInput],
    ) -> Result<ProxyProcess, String> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err("the fault proxy has no program".to_owned());
        };
        let failed = |error: &dyn std::fmt::Display| {
            format!("the fault proxy {} cannot be started: {error}", program.to_string_lossy())
        };
        let files = self.files(token, proxies);
        let (token_file, config, log) =
            files.map_err(|error| failed(&format!("{}: {error}", self.dir.display())))?;
        let errors = fs::File::create(&log).map_err(|error| failed(&error))?;
        let mut child = Command::new(program)
            .args(arguments)
            .args(["--listen", api, "--own-session", "--log", "warn"])
            .arg("--token-file")
            .arg(&token_file)
            .arg("--config")
            .arg(&config)
            .args(["--seed", &self.seed.to_string(), "--lease", &self.lease.as_millis().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(|error| failed(&error))?;
        match listening(&mut child).await {
            Ok((api, handle)) => {
                Ok(ProxyProcess { process: handle.id().clone(), api, handle, child: Some(child) })
            }
            Err(why) => {
                // It may have ended by itself.
                let _ = child.kill().await;
                Err(failed(&format!("{why}: {}", tail(&log))))
            }
        }
    }

    fn files(&self, token: &str, proxies: &[ProxyInput]) -> io::Result<(PathBuf, PathBuf, PathBuf)> {
        fs::create_dir_all(&self.dir)?;
        let (token_file, config) = (self.dir.join("token"), self.dir.join("proxies.json"));
        private(&token_file, token.as_bytes())?;
        private(&config, &serde_json::to_vec(proxies)?)?;
        Ok((token_file, config, self.dir.join("log")))
    }

    fn record_file(&self) -> PathBuf {
        self.dir.join("process.json")
    }

    /// Keeps what another life of this service needs to know.
    pub(crate) fn keep(&self, record: &ProxyRecord) -> io::Result<()> {
        private(&self.record_file(), &serde_json::to_vec(record)?)
    }

    /// What an earlier life kept.
    pub(crate) fn kept(&self) -> Option<ProxyRecord> {
        serde_json::from_slice(&fs::read(self.record_file()).ok()?).ok()
    }

    /// Forgets what was kept.
    pub(crate) fn forget(&self) {
        for file in [self.record_file(), self.dir.join("token"), self.dir.join("proxies.json")] {
            // What is not there needs no removal; what cannot be removed does no harm.
            let _ = fs::remove_file(file);
        }
    }
}

/// Ends a proxy that an earlier life of this service started, if it still runs.
pub(crate) async fn end(process: &ProcessId) {
    let Ok(Some(handle)) = process.open() else { return };
    if let Err(error) = handle.signal(Signal::KILL) {
        tracing::warn!(%process, %error, "an earlier fault proxy cannot be ended");
        return;
    }
    if tokio::time::timeout(DIES, handle.ended()).await.is_err() {
        tracing::warn!(%process, "an earlier fault proxy does not end");
    }
}

/// Where its API listens, once it does, and what holds its process.
async fn listening(child: &mut Child) -> Result<(String, Handle), String> {
    let said = tokio::time::timeout(STARTS, first_line(child)).await;
    let said = said.map_err(|_| format!("it did not listen within {STARTS:?}"))?;
    let said = said.map_err(|error| error.to_string())?;
    let api = said.trim().strip_prefix(LISTENS);
    let api = api.ok_or_else(|| format!("found {said:?}, expected `{LISTENS}…`"))?;
    let process = child.id().ok_or("it has ended")?;
    let handle = ProcessId::of(process).and_then(|process| process.open());
    let handle = handle.map_err(|error| error.to_string())?.ok_or("it has ended")?;
    Ok((api.to_owned(), handle))
}

async fn first_line(child: &mut Child) -> io::Result<String> {
    let Some(output) = child.stdout.as_mut() else { return Ok(String::new()) };
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await?;
    Ok(line)
}

/// Nobody else reads it.
fn private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

/// The last that it said.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let from = text.char_indices().rev().nth(LOG).map_or(0, |(at, _)| at);
    match text.get(from..).unwrap_or_default().trim() {
        "" => "it said nothing".to_owned(),
        said => said.to_owned(),
    }
}
