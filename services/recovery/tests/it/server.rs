//! A target as a process of its own: this test's program, started anew as a server, with knobs that are files.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What a server is told by.
const PORT: &str = "GAUNTLET_TEST_SERVER_PORT";
const KNOBS: &str = "GAUNTLET_TEST_SERVER_KNOBS";
const OWNER: &str = "GAUNTLET_TEST_SERVER_OWNER";

/// The command of a process of the plan that serves.
pub(crate) fn command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_string_lossy().into_owned();
    let mut command = vec![program];
    command.extend(["--exact", "server::serve", "--ignored", "--nocapture"].map(str::to_owned));
    command
}

/// Its environment. In `knobs`, a file `broken` makes it refuse to start, `mortal` makes it die after its second answer,
/// and `status` is the status that it answers.
pub(crate) fn environment(port: u16, knobs: &Path) -> Vec<(String, String)> {
    let (knobs, owner) = (knobs.to_string_lossy().into_owned(), std::process::id().to_string());
    [(PORT, port.to_string()), (KNOBS, knobs), (OWNER, owner)]
        .map(|(key, value)| (key.to_owned(), value))
        .to_vec()
}

/// Not a test: what the servers of tests run.
#[test]
#[ignore = "it is a program that tests start"]
fn serve() {
    let Ok(port) = std::env::var(PORT) else { return };
    let knobs = PathBuf::from(std::env::var(KNOBS).unwrap());
    assert!(!knobs.join("broken").exists(), "it is told not to start");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().unwrap())).unwrap();
    let own = listener.local_addr().unwrap();
    let gone = Arc::new(AtomicBool::new(false));
    end_with_the_test(own, Arc::clone(&gone));
    let answers = Arc::new(AtomicU32::new(0));
    for stream in listener.incoming() {
        if gone.load(Ordering::Relaxed) {
            return;
        }
        let (knobs, gone, answers) = (knobs.clone(), Arc::clone(&gone), Arc::clone(&answers));
        // One that asks for nothing keeps nobody else waiting.
        std::thread::spawn(move || {
            let answered = stream.is_ok_and(|stream| answer(stream, &knobs));
            if answered && answers.fetch_add(1, Ordering::Relaxed) >= 1 && knobs.join("mortal").exists() {
                end(own, &gone);
            }
        });
    }
}

fn end(own: SocketAddr, gone: &AtomicBool) {
    gone.store(true, Ordering::Relaxed);
    // So that it is seen.
    let _ = TcpStream::connect(own);
}

fn answer(mut stream: TcpStream, knobs: &Path) -> bool {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    // A connection that asks for nothing, as that of a ready check.
    if stream.read(&mut [0; 1_024]).unwrap_or(0) == 0 {
        return false;
    }
    let status = std::fs::read_to_string(knobs.join("status"));
    let status = status.map_or_else(|_| "200 OK".to_owned(), |status| status.trim().to_owned());
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    stream.write_all(answer.as_bytes()).is_ok()
}

/// However the test ends, its servers do, too.
fn end_with_the_test(own: SocketAddr, gone: Arc<AtomicBool>) {
    let owner = PathBuf::from(format!("/proc/{}", std::env::var(OWNER).unwrap()));
    std::thread::spawn(move || {
        let (_held, never) = mpsc::channel::<()>();
        while owner.exists() {
            let _ = never.recv_timeout(Duration::from_secs(1));
        }
        end(own, &gone);
    });
}
