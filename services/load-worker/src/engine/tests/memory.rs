//! What hostile servers make the memory of a load thread grow by. It is a process of its own, so that the servers' memory is
//! not in it: [`child`], which is told on its standard input where to load and when to stop.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use sandbox::abi;

use super::rig::{Rig, endpoint, fire, rate, wait_for};
use super::server::{Act, Server, ok};

/// Set in the child.
const CHILD: &str = "GAUNTLET_TEST_MEMORY_CHILD";

/// By so much all of them together may make it grow, kilobytes: they do by 18 MB, of which 16 MiB are brotli's window.
const MOST: u64 = 32 * 1024;

/// How much of it is enough to show in the memory if it were kept.
#[derive(Clone, Copy)]
enum Enough {
    /// So many requests: what each leaves behind would be tens of kilobytes.
    Requests(usize),
    /// So many bytes from the servers.
    Bytes(u64),
}

/// A server that sends the first to each request, and the second over and over as long as it is read. If there is none, it
/// keeps the connection.
struct Case {
    name: &'static str,
    first: Vec<u8>,
    then: Vec<u8>,
    /// What of the answer the guest asks to see.
    sees: &'static str,
    /// Requests in progress at a time.
    at_once: u32,
    enough: Enough,
}

/// What has a limit, and is a failure when it is reached: often.
fn often(name: &'static str, first: &str, then: &str) -> Case {
    let (first, then) = (first.into(), then.repeat(4_096 / then.len()).into());
    Case { name, first, then, sees: "head", at_once: 16, enough: Enough::Requests(1_000) }
}

/// What goes on as long as there is time: much of it.
fn much(name: &'static str, sees: &'static str, first: &str, then: &[u8]) -> Case {
    let then = then.repeat(1 + 16_384 / then.len());
    Case { name, first: first.into(), then, sees, at_once: 4, enough: Enough::Bytes(128 << 20) }
}

/// What says nothing, or stops: from many at a time.
fn stalled(name: &'static str, first: Vec<u8>, at_once: u32) -> Case {
    Case { name, first, then: vec![], sees: "body", at_once, enough: Enough::Requests(at_once as usize) }
}

/// A coded body that does not end; one at a time, for each has a window.
fn coded(coding: &'static str, first: Vec<u8>, then: Vec<u8>) -> Case {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n").into_bytes();
    let enough = Enough::Bytes(if coding == "br" { 64 << 20 } else { 8 << 20 });
    Case { name: coding, first: [head, first].concat(), then, sees: "body", at_once: 1, enough }
}

/// Bytes that pack to about a twelfth.
fn sample(length: usize) -> Vec<u8> {
    let block =
        |n: u64| (0..8).flat_map(move |at| draws::at(n, at).to_le_bytes()).collect::<Vec<_>>().repeat(16);
    (0..length as u64 / 1_024).flat_map(block).collect()
}

fn cases() -> Vec<Case> {
    let (ok, chunked) = ("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let until_close = "HTTP/1.1 200 OK\r\n\r\n";
    let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let half_a_head = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 60_000]].concat();
    let noise: Vec<u8> = (0..512).flat_map(|at| draws::at(7, at).to_le_bytes()).collect();
    let mut cases = vec![
        often("endless reason", "HTTP/1.1 200 ", "x"),
        often("endless field", &format!("{ok}X: "), "x"),
        often("endless fields", ok, "X: y\r\n"),
        often("endless interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n"),
        often("endless trailers", &format!("{chunked}0\r\n"), "A: b\r\n"),
        often("endless chunk size", chunked, "0"),
        often("endless extension", &format!("{chunked}1;"), "x"),
        often("endless zeros", "", "\0"),
        often("endless greeting", "SSH-2.0-OpenSSH_9.2\r\n", "x"),
        often("more than its length", &format!("{ok}Content-Length: 5\r\n\r\nhello"), "x"),
        Case { then: noise, ..often("noise", "", "x") },
        Case { sees: "events", ..often("endless event", stream, "data: x\n") },
        much("endless body", "body", until_close, b"x"),
        much("huge length", "body", &format!("{ok}Content-Length: 18446744073709551615\r\n\r\n"), b"x"),
        much("endless chunk", "body", &format!("{chunked}ffffffffffffff\r\n"), b"x"),
        Case { enough: Enough::Bytes(64 << 20), ..much("endless chunks", "body", chunked, b"4\r\nwiki\r\n") },
        much("endless body of no interest", "nothing", until_close, b"x"),
        Case { enough: Enough::Bytes(64 << 20), ..much("endless events", "events", stream, b"data: x\n\n") },
        much("endless comment", "events", stream, b": x"),
        stalled("silent", vec![], 512),
        stalled("stops within the head", half_a_head, 64),
        stalled("stops within the body", format!("{chunked}5\r\nhe").into(), 512),
    ];
    let mut encoder = Compress::new(Compression::fast(), true);
    let [first, then] = [(); 2].map(|()| {
        let mut block = Vec::with_capacity(64 * 1024);
        // Nothing in a block refers to those before it, so that it can be repeated.
        encoder.compress_vec(&sample(64 * 1024), &mut block, FlushCompress::Full).unwrap();
        block
    });
    cases.push(coded("deflate", first, then));
    // As many members as are wanted.
    cases.push(coded("gzip", vec![], super::codings::gzip(&sample(64 * 1024))));
    // Frames of 8 MiB, with as large a window.
    let mut frame = vec![0; zstd_safe::compress_bound(8 << 20)];
    let length = zstd_safe::compress(&mut frame[..], &sample(8 << 20), 1).unwrap();
    frame.truncate(length);
    cases.push(coded("zstd", vec![], frame));
    // Blocks of 64 KiB as they are, in a window of 16 MiB (RFC 7932, sections 9.1 and 9.2).
    let block = |head: u32| [&head.to_le_bytes()[..3], &sample(64 * 1024)[..]].concat();
    cases.push(coded("br", block(0xf | 0xffff << 7 | 1 << 23), block(0xffff << 3 | 1 << 19)));
    cases
}

impl Case {
    /// Serves one connection.
    fn go(&self, mut stream: &TcpStream, written: &AtomicU64) {
        // What was written and not read is no evidence.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(stream, 64 * 1024);
        if stream.write_all(&self.first).is_err() {
            return;
        }
        while !self.then.is_empty() && stream.write_all(&self.then).is_ok() {
            written.fetch_add(self.then.len() as u64, Ordering::Relaxed);
        }
        let mut rest = [0; 1024];
        while stream.read(&mut rest).is_ok_and(|n| n > 0) {}
    }
}

/// The process with the load thread.
struct Loader {
    process: std::process::Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Loader {
    fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::tests::memory::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, stdin, lines: BufReader::new(stdout).lines() }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    /// What it says next.
    fn hear(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the process has ended").unwrap();
            if let Some(said) = line.strip_prefix('@') {
                return said.to_owned();
            }
        }
    }

    /// Loads a server until it is enough, and returns the process's memory after that and the most that it ever had,
    /// kilobytes.
    fn load(&mut self, server: &Server, case: (&str, u32), enough: impl FnMut() -> bool) -> (u64, u64) {
        let (sees, at_once) = case;
        self.tell(&format!("{} {sees} {at_once}", server.addr));
        wait_for("enough of it", enough);
        self.tell("end");
        let said = self.hear();
        let (now, most) = said.split_once(' ').unwrap();
        (now.parse().unwrap(), most.parse().unwrap())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Memory of this process, kilobytes.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Not a test of its own: one load thread after the other. A line says where, what of answers is seen, and how many at a
/// time; the next line ends that.
#[test]
#[ignore = "run by the test that has the servers"]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let mut lines = std::io::stdin().lines();
    while let Some(Ok(line)) = lines.next() {
        let words: Vec<_> = line.split(' ').collect();
        let [addr, sees, at_once] = words[..] else { panic!("{line}") };
        let interest = match sees {
            "head" => abi::Interest::HEAD,
            "body" => abi::Interest::BODY,
            "events" => abi::Interest::EVENTS,
            _ => abi::Interest::empty(),
        };
        let guest = fire(move |request: &mut abi::Request| request.interest = interest);
        let rig =
            Rig::with(vec![endpoint(addr.parse().unwrap())], vec![guest], |spec| spec.max_body = u64::MAX);
        let at_once: u32 = at_once.parse().unwrap();
        let mut spec = rig.phase(rate(2_000.0), Duration::from_secs(60));
        (spec.connections, spec.total_connections) = (at_once, at_once);
        (spec.users, spec.total_users, spec.capacity, spec.max_waiting) = (at_once, at_once, at_once, 100);
        rig.begin(&spec);
        lines.next().unwrap().unwrap();
        rig.end(1, Duration::ZERO);
        rig.handle.join();
        println!("\n@{} {}", memory("VmRSS:"), memory("VmHWM:"));
    }
}

#[test]
fn no_hostile_server_fills_the_memory() {
    let mut loader = Loader::start();
    // What the process has when it has done its work once.
    let good = Server::start(|_, _| Act::Reply(ok("good")));
    let (before, _) = loader.load(&good, ("body", 512), || good.requests() >= 2_000);
    let mut grown = Vec::new();
    for case in cases().into_iter().map(Arc::new) {
        let written = Arc::<AtomicU64>::default();
        let server = {
            let (case, written) = (Arc::clone(&case), Arc::clone(&written));
            Server::start(move |_, _| {
                let (case, written) = (Arc::clone(&case), Arc::clone(&written));
                Act::Do(Box::new(move |stream| case.go(stream, &written)))
            })
        };
        let (_, most) = loader.load(&server, (case.sees, case.at_once), || match case.enough {
            Enough::Requests(requests) => server.requests() >= requests,
            Enough::Bytes(bytes) => written.load(Ordering::Relaxed) >= bytes,
        });
        grown.push((case.name, most.saturating_sub(before)));
        println!("{}: at most {} KB more than before", case.name, most.saturating_sub(before));
    }
    let (name, most) = grown.iter().find(|(_, most)| *most > MOST).copied().unwrap_or_default();
    assert!(most == 0, "{name}: {most} KB more than before; after each case, in order: {grown:?}");
}
