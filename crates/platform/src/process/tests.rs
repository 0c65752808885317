use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const LONG: Duration = Duration::from_secs(20);

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn start(&self, spec: &Spec) -> Result<Running, StartError> {
        Running::start(spec, self.dir.path(), &self.log())
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("process.log")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    async fn until_logged(&self, wanted: &str) {
        until(&format!("{wanted:?} in the log"), || self.text().contains(wanted)).await;
    }

    /// The number after `name=` in the log.
    async fn logged_pid(&self, name: &str) -> u32 {
        let found: OnceLock<u32> = OnceLock::new();
        until(&format!("{name} in the log"), || {
            let text = self.text();
            // A whole line only: its end may not be written yet.
            let line = text
                .split_inclusive('\n')
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('=')?.strip_suffix('\n'));
            line.is_some_and(|pid| found.set(pid.parse().unwrap()).is_ok())
        })
        .await;
        *found.get().unwrap()
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {LONG:?} for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn alive(pid: u32) -> bool {
    proc_fs::stat(pid).is_ok_and(|stat| !stat.ended())
}

fn spec(script: &str) -> Spec {
    Spec {
        name: "shop".to_owned(),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        ready: None,
        ready_timeout: LONG,
        env: BTreeMap::new(),
        dir: None,
        stop_timeout: LONG,
    }
}

/// An address on which nobody listens just now.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Answers every request with `status` and hands out what was asked.
async fn serve(address: SocketAddr, status: &'static str, requests: tokio::sync::mpsc::Sender<String>) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4096];
        let read = stream.read(&mut head).await.unwrap();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = requests.try_send(String::from_utf8_lossy(&head[..read]).into_owned());
    }
}

#[tokio::test]
async fn output_environment_and_directory_are_as_the_plan_says() {
    let place = Place::new();
    std::fs::create_dir(place.dir.path().join("sub")).unwrap();
    let mut spec = spec("echo out $COLOUR $(basename \"$PWD\"); echo err >&2; cat; exit 3");
    spec.env.insert("COLOUR".to_owned(), "blue".to_owned());
    spec.dir = Some("sub".into());
    let running = place.start(&spec).unwrap();
    assert_eq!(running.exited().await, "exit code 3");
    assert_eq!(running.try_status().as_deref(), Some("exit code 3"));
    assert_eq!(place.text(), "out blue sub\nerr\n");
    assert_eq!(running.last_lines(), ["out blue sub", "err"]);
}

#[tokio::test]
async fn a_process_that_runs_has_no_status_and_leads_its_group() {
    let place = Place::new();
    let running = place.start(&spec("exec sleep 60")).unwrap();
    assert_eq!(running.try_status(), None);
    let stat = proc_fs::stat(running.pid()).unwrap();
    assert_eq!(stat.group, running.pid());
    assert_eq!(running.started_ticks(), Some(stat.started));
    assert!(running.wait_ready().await.is_ok(), "without a ready check it is ready at once");
    let pid = running.pid();
    assert_eq!(running.stop().await, Stopped { status: "signal 15".to_owned(), killed: false });
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it was reaped");
}

#[tokio::test]
async fn stop_lets_it_end_by_itself() {
    let place = Place::new();
    let running =
        place.start(&spec("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done")).unwrap();
    place.until_logged("up").await;
    assert_eq!(running.stop().await, Stopped { status: "exit code 0".to_owned(), killed: false });
    assert!(place.text().contains("bye"));
}

#[tokio::test]
async fn stop_kills_what_ignores_the_signal() {
    let place = Place::new();
    let mut spec = spec("trap '' TERM; echo up; while :; do sleep 0.01; done");
    spec.stop_timeout = Duration::from_millis(50);
    let running = place.start(&spec).unwrap();
    place.until_logged("up").await;
    assert_eq!(running.stop().await, Stopped { status: "signal 9".to_owned(), killed: true });
}

#[tokio::test]
async fn stop_leaves_no_descendant_behind() {
    let place = Place::new();
    // One child in the group that ignores SIGTERM, one in a session of its own.
    let script = "sh -c 'trap \"\" TERM; echo deaf=$$; while :; do sleep 0.01; done' & \
                  setsid sh -c 'echo stray=$$; exec sleep 60' & wait";
    let running = place.start(&spec(script)).unwrap();
    let (deaf, stray) = (place.logged_pid("deaf").await, place.logged_pid("stray").await);
    assert!(alive(deaf) && alive(stray));
    assert!(!running.stop().await.killed, "the leader itself ended in time");
    assert!(!alive(deaf));
    until("the stray to end", || !alive(stray)).await;
}

#[tokio::test]
async fn a_group_whose_leader_ended_is_ended_too() {
    let place = Place::new();
    let running = place.start(&spec("sh -c 'echo child=$$; exec sleep 60' & while :; do sleep 0.01; [ -s process.log ] && exit 4; done")).unwrap();
    let child = place.logged_pid("child").await;
    assert_eq!(running.exited().await, "exit code 4");
    assert!(alive(child));
    assert_eq!(running.stop().await, Stopped { status: "exit code 4".to_owned(), killed: false });
    assert!(!alive(child));
}

#[tokio::test]
async fn dropping_it_kills_all_of_it() {
    let place = Place::new();
    let running = place.start(&spec("sh -c 'echo child=$$; exec sleep 60' & wait")).unwrap();
    let (leader, child) = (running.pid(), place.logged_pid("child").await);
    drop(running);
    until("both to end", || !alive(leader) && !alive(child)).await;
    until("the leader to be reaped", || !Path::new(&format!("/proc/{leader}")).exists()).await;
}

#[tokio::test]
async fn several_may_wait_for_its_end() {
    let place = Place::new();
    let running = place.start(&spec("exec sleep 0.05")).unwrap();
    let (first, second) = tokio::join!(running.exited(), running.exited());
    assert_eq!((first.as_str(), second.as_str()), ("exit code 0", "exit code 0"));
}

#[tokio::test]
async fn ready_means_that_its_url_answers_2xx_to_our_probe() {
    let place = Place::new();
    let address = free_address();
    let mut spec = spec("exec sleep 60");
    spec.ready = Some(format!("http://{address}/health"));
    let running = place.start(&spec).unwrap();
    let (sender, mut requests) = tokio::sync::mpsc::channel(1);
    tokio::select! {
        ready = running.wait_ready() => { ready.unwrap(); }
        () = serve(address, "204 No Content", sender) => unreachable!(),
    }
    let head = requests.recv().await.unwrap();
    assert!(head.starts_with("GET /health HTTP/1.1\r\n"), "{head}");
    assert!(
        head.to_lowercase()
            .contains(&format!("user-agent: gauntlet-probe/{}\r\n", env!("CARGO_PKG_VERSION"))),
        "{head}"
    );
}

#[tokio::test]
async fn ready_means_that_its_port_accepts() {
    let place = Place::new();
    let address = free_address();
    let mut spec = spec("exec sleep 60");
    spec.ready = Some(format!("tcp://{address}"));
    let running = place.start(&spec).unwrap();
    let _listener = TcpListener::bind(address).unwrap();
    running.wait_ready().await.unwrap();
}

#[tokio::test]
async fn not_ready_in_time_says_what_was_seen_and_printed() {
    let place = Place::new();
    let address = free_address();
    let mut spec = spec("echo loading; exec sleep 60");
    spec.ready = Some(format!("http://{address}/health"));
    spec.ready_timeout = Duration::from_millis(300);
    let running = place.start(&spec).unwrap();
    place.until_logged("loading").await;
    let (sender, _requests) = tokio::sync::mpsc::channel(1);
    let error = tokio::select! {
        ready = running.wait_ready() => ready.unwrap_err().to_string(),
        () = serve(address, "503 Service Unavailable", sender) => unreachable!(),
    };
    for part in
        ["process shop", "not ready within 300ms", "503 Service Unavailable", "| loading", "`ready-timeout`"]
    {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    // Nobody listening is told apart.
    let error = running.wait_ready().await.unwrap_err().to_string();
    assert!(error.contains("not ready within 300ms"), "{error}");
}

#[tokio::test]
async fn ended_before_ready_says_how_with_its_last_lines() {
    let place = Place::new();
    let mut spec =
        spec("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; echo cannot bind >&2; exit 98");
    spec.ready = Some(format!("tcp://{}", free_address()));
    let running = place.start(&spec).unwrap();
    let error = running.wait_ready().await.unwrap_err();
    assert!(matches!(&error, StartError::Exited { status, .. } if status == "exit code 98"), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("| cannot bind") && text.contains("| line 12") && !text.contains("| line 3\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stranger_on_the_port_is_not_taken_for_the_process() {
    let place = Place::new();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["http", "tcp"] {
        let mut spec = spec("exec sleep 60");
        spec.ready = Some(format!("{scheme}://{}", stranger.local_addr().unwrap()));
        let error = place.start(&spec).unwrap_err();
        assert!(matches!(error, StartError::Occupied { .. }), "{error}");
        assert!(error.to_string().contains("listening at"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_program_says_where_it_was_looked_for() {
    let place = Place::new();
    let mut spec = spec("");
    spec.command = vec!["no-such-shop".to_owned()];
    spec.env.insert("PATH".to_owned(), "/opt/nowhere:/bin".to_owned());
    let text = place.start(&spec).unwrap_err().to_string();
    let beside = place.dir.path().join("no-such-shop").display().to_string();
    for part in [beside.as_str(), "/opt/nowhere/no-such-shop", "/bin/no-such-shop"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    // A path with a directory is not looked up in PATH.
    spec.command = vec!["./no-such-shop".to_owned()];
    assert!(!place.start(&spec).unwrap_err().to_string().contains("/bin/"));
}

#[tokio::test]
async fn a_program_beside_the_plan_goes_before_path_and_must_be_executable() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let program = place.dir.path().join("my-shop");
    std::fs::write(&program, "#!/bin/sh\necho mine\n").unwrap();
    let mut spec = spec("");
    spec.command = vec!["my-shop".to_owned()];
    let error = place.start(&spec).unwrap_err();
    assert!(matches!(&error, StartError::NotExecutable { path, .. } if *path == program), "{error}");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let running = place.start(&spec).unwrap();
    assert_eq!(running.exited().await, "exit code 0");
    assert_eq!(running.last_lines(), ["mine"]);
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_with_its_reason() {
    let place = Place::new();
    let refused = |spec: &Spec| place.start(spec).unwrap_err();
    assert!(matches!(refused(&Spec { command: vec![], ..spec("") }), StartError::NoCommand { .. }));
    let absent = Spec { dir: Some("absent".into()), ..spec("") };
    assert!(matches!(refused(&absent), StartError::NoDirectory { dir, .. } if dir.ends_with("absent")));
    let check = Spec { ready: Some("https://127.0.0.1/".to_owned()), ..spec("") };
    assert!(matches!(refused(&check), StartError::ReadyCheck { .. }));
    let log = place.dir.path().join("absent/process.log");
    let error = Running::start(&spec(""), place.dir.path(), &log).unwrap_err();
    assert!(matches!(error, StartError::LogFile { path, .. } if path == log));
}
