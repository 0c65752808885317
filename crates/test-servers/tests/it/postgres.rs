//! No server outlives the process that started it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use test_servers::postgres::{Postgres, Settings};

const CHILD: &str = "TEST_SERVERS_CHILD";

/// Waits until the server's process and files are gone.
fn is_gone(pid: &str, files: &Path) {
    let started = Instant::now();
    while Path::new("/proc").join(pid).exists() || files.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "{pid} in {} is still there", files.display());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The server's process and files, as it tells them.
fn traits(server: &Postgres) -> (String, String) {
    let files = server.execute("postgres", "SHOW data_directory").remove(0);
    let pid = std::fs::read_to_string(format!("{files}/postmaster.pid")).unwrap();
    (pid.lines().next().unwrap().trim().to_owned(), files)
}

#[test]
fn a_server_ends_with_its_value() {
    let server = Postgres::start(Settings::default());
    let (pid, files) = traits(&server);
    drop(server);
    is_gone(&pid, Path::new(&files));
}

/// Not a test by itself: the process that [`a_server_ends_with_a_killed_process`] kills.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_some() {
        let (pid, files) = traits(Postgres::shared());
        println!("\nserver {pid} {files}");
        loop {
            std::thread::park();
        }
    }
}

#[test]
fn a_server_ends_with_a_killed_process() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgres::child", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.into_iter().find(|line| line.starts_with("server ")).unwrap();
    let (pid, files) = line.trim_start_matches("server ").split_once(' ').unwrap();
    assert!(Path::new("/proc").join(pid).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    is_gone(pid, Path::new(files));
}

#[test]
fn replicas_have_what_was_written_and_take_no_writes() {
    let (mut primary, replicas) = Postgres::start_with_replicas(&Settings::default(), 2);
    primary.execute("postgres", "CREATE TABLE words (word text); INSERT INTO words VALUES ('first')");
    let all_have = |words: &str| {
        let started = Instant::now();
        let ask = "SELECT string_agg(word, ' ' ORDER BY word) FROM words";
        while !replicas.iter().all(|replica| replica.execute("postgres", ask) == [words]) {
            assert!(started.elapsed() < Duration::from_secs(60), "the replicas do not have {words}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    };
    // The table itself has to arrive first; a question for one that is not there fails.
    let started = Instant::now();
    let arrived = "SELECT count(*) FROM pg_tables WHERE tablename = 'words'";
    while !replicas.iter().all(|replica| replica.execute("postgres", arrived) == ["1"]) {
        assert!(started.elapsed() < Duration::from_secs(60), "the replicas do not have the table");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    all_have("first");
    for replica in &replicas {
        assert_eq!(replica.execute("postgres", "SHOW transaction_read_only"), ["on"]);
    }
    primary.kill();
    primary.start_again();
    primary.execute("postgres", "INSERT INTO words VALUES ('second')");
    all_have("first second");
}

#[test]
fn a_server_that_a_test_left_frozen_ends_with_its_value() {
    let server = Postgres::start(Settings::default());
    let port = server.port();
    server.freeze(true);
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens");
}
