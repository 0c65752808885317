//! A Docker Engine of the test's own, in a network namespace of its own: nothing that it starts is reachable from outside,
//! and it knows nothing of any other engine's containers.
//!
//! A shell owns it, which takes everything away when our end of its standard input closes: however we end, by Ctrl-C and
//! SIGKILL as well.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How long the engine may take to start, and, with all its containers, to end.
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(120);
/// Lines of a log that are shown when something failed.
const LAST_LINES: usize = 40;

/// `nsenter` and not `ip netns exec`: that one mounts /sys anew, without the control groups that the engine needs.
const SUPERVISOR: &str = r#"
name=$1; short=$2; data=$3
docker() { timeout --kill-after=5 60 docker --host "unix://$short/docker.sock" "$@"; }
ip netns add "$name" && nsenter --net="/run/netns/$name" ip link set lo up || exit 1
nsenter --net="/run/netns/$name" dockerd --data-root "$data" --exec-root "$short/exec" --pidfile "$short/pid" \
    --host "unix://$short/docker.sock" --storage-driver overlay2 </dev/null >"$short/log" 2>&1 &
engine=$!
read -r word
left=$(docker ps --all --quiet)
[ -z "$left" ] || docker rm --force $left
kill -TERM "$engine"
( trap 'kill "$nap"; exit' TERM; sleep 45 & nap=$!; wait "$nap"; kill -KILL "$engine" ) &
watch=$!
wait "$engine"
kill "$watch"
for root in "$short" "$data"; do
    awk -v root="$root/" 'index($2, root) == 1 { print $2 }' /proc/self/mounts | sort --reverse | xargs --no-run-if-empty umount --lazy
    rm -rf "$root"
done
ip netns delete "$name"
"#;

/// The engine; its supervisor ends it with the value at the latest.
pub(super) struct Engine {
    supervisor: Option<Child>,
    name: String,
    /// Short: a socket's path has 107 characters at most.
    short: PathBuf,
    data: PathBuf,
}

impl Engine {
    /// Starts it, with its data under `work`.
    ///
    /// # Errors
    /// When it does not answer in time; what it said is printed.
    pub(super) fn start(work: &Path) -> anyhow::Result<Self> {
        let name = format!("gauntlet-compose-{}", std::process::id());
        let short = std::env::temp_dir().join(&name);
        let data = work.join(&name);
        fs::create_dir_all(&short).with_context(|| format!("make {}", short.display()))?;
        fs::create_dir_all(&data).with_context(|| format!("make {}", data.display()))?;
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SUPERVISOR, "sh", &name]).arg(&short).arg(&data);
        // A group of its own: a Ctrl-C is for us, and our end then lets the shell clean up.
        let shell = shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let supervisor = shell.spawn().context("start a shell for dockerd")?;
        let mut engine = Self { supervisor: Some(supervisor), name, short, data };
        if let Err(error) = engine.until_ready() {
            engine.complain();
            return Err(error.context("the engine did not start"));
        }
        Ok(engine)
    }

    fn until_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let answer = self.docker(&["version", "--format", "{{.Server.Version}}"]);
            let Err(error) = answer else { return Ok(()) };
            let ended = self.supervisor.as_mut().and_then(|shell| shell.try_wait().ok().flatten());
            anyhow::ensure!(
                ended.is_none(),
                "dockerd's supervisor ended: is this kernel one for containers?"
            );
            anyhow::ensure!(began.elapsed() < START, "not ready within {} s: {error:#}", START.as_secs());
            pause();
        }
    }

    /// A command of `docker`, its output as text.
    ///
    /// # Errors
    /// When it fails or takes over five minutes.
    pub(super) fn docker(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.client("docker", Duration::from_secs(300)).args(arguments))
    }

    /// A program that talks to this engine, given up after a while.
    pub(super) fn client(&self, program: &str, limit: Duration) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", &limit.as_secs().to_string(), program]);
        command.env("DOCKER_HOST", format!("unix://{}/docker.sock", self.short.display()));
        // Images are built by the engine itself; there is no builder beside it.
        command.env("DOCKER_BUILDKIT", "0").env("COMPOSE_DOCKER_CLI_BUILD", "0");
        command
    }

    /// What it runs on and with.
    ///
    /// # Errors
    /// When a program does not answer.
    pub(super) fn versions(&self) -> anyhow::Result<String> {
        let engine = self.docker(&["version", "--format", "{{.Server.Version}}"])?;
        let compose =
            output(self.client("docker-compose", Duration::from_secs(30)).args(["version", "--short"]))?;
        Ok(format!("Docker Engine {}, docker-compose {}", engine.trim(), compose.trim()))
    }

    /// The network namespace, as a file.
    pub(super) fn network(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Prints the end of the engine's log.
    pub(super) fn complain(&self) {
        let log = fs::read_to_string(self.short.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("the engine's log ends with:");
        for line in lines.iter().skip(lines.len().saturating_sub(LAST_LINES)) {
            eprintln!("  {line}");
        }
    }

    /// Ends it and waits until nothing is left of it.
    ///
    /// # Errors
    /// When something is.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        self.end()?;
        for left in [&self.short, &self.data, &self.network()] {
            anyhow::ensure!(!left.exists(), "{} was not removed", left.display());
        }
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let Some(mut supervisor) = self.supervisor.take() else { return Ok(()) };
        drop(supervisor.stdin.take());
        let began = Instant::now();
        while supervisor.try_wait()?.is_none() {
            anyhow::ensure!(
                began.elapsed() < END,
                "the engine did not end within {} s; its supervisor, pid {}, is still at it",
                END.as_secs(),
                supervisor.id()
            );
            pause();
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Runs a command; its standard output as text.
///
/// # Errors
/// When it fails, with what it said.
pub(super) fn output(command: &mut Command) -> anyhow::Result<String> {
    let shown = format!("{:?} {:?}", command.get_program(), command.get_args().collect::<Vec<_>>());
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {shown}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{shown} ended with {}: {}", output.status, said.trim_end());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[expect(clippy::disallowed_methods, reason = "polls a process, with a deadline")]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(200));
}
