//! Connections of the raw client, and how long the server's fixed answer is.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use memchr::memmem;
use rustix::event::epoll;

/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1_024;

/// How long the server may take over the one request by which its answer is learnt.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is sent, and where to.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub addr: SocketAddr,
    /// The path that is asked for; begins with `/`.
    pub path: String,
    /// Connections, 1 to 60 000.
    pub connections: usize,
}

impl Load {
    /// The request, as written.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", self.path, self.addr).into_bytes()
    }
}

/// A connection, and what is still to come of the answer that it waits for.
#[derive(Debug)]
pub struct Connection {
    /// Does not block.
    pub stream: TcpStream,
    /// Bytes of the answer that are still to come; 0 = idle.
    pub missing: usize,
}

/// Connections in an epoll, each under its index.
#[derive(Debug)]
pub struct Connections {
    /// Says which are readable.
    pub epoll: OwnedFd,
    /// All of them, idle.
    pub all: Vec<Connection>,
    /// Length of every answer, bytes.
    pub answer: usize,
}

impl Connections {
    /// Learns how long the answer is, and makes the connections.
    ///
    /// # Errors
    /// No connection can be made, or the server does not answer with a `Content-Length`.
    pub fn make(load: &Load) -> io::Result<Self> {
        let answer = answer_length(load)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut all = Vec::with_capacity(load.connections);
        for index in 0..load.connections {
            let stream = TcpStream::connect(load.addr)?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
            all.push(Connection { stream, missing: 0 });
        }
        Ok(Self { epoll, all, answer })
    }
}

impl Connection {
    /// Writes a request.
    ///
    /// # Errors
    /// The server closed the connection, or reads no more.
    pub fn send(&mut self, request: &[u8], answer: usize) -> io::Result<()> {
        let written = self.stream.write(request)?;
        if written < request.len() {
            return Err(io::Error::other(
                "the server reads no requests any more: its receive buffer is full",
            ));
        }
        self.missing = answer;
        Ok(())
    }

    /// Reads what is there. `true` = the answer is whole.
    ///
    /// # Errors
    /// The server closed the connection, or sent more than its answer.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let read = match self.stream.read(buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection")),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.missing = self.missing.checked_sub(read).ok_or_else(|| {
            io::Error::other(
                "an answer is longer than the first one; the raw client wants a server with one fixed answer",
            )
        })?;
        Ok(self.missing == 0)
    }
}

/// Length of the answer, head and body, by one request.
fn answer_length(load: &Load) -> io::Result<usize> {
    let bad = |what: &str| io::Error::other(format!("{} answers {}: {what}", load.addr, load.path));
    let mut stream = TcpStream::connect(load.addr)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(&load.request())?;
    let mut read = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let more = stream.read(&mut buffer)?;
        if more == 0 || read.len() + more > MAX_ANSWER {
            return Err(bad("no whole head within 64 KiB"));
        }
        read.extend(buffer.iter().take(more));
        if let Some(end) = memmem::find(&read, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(read.get(..end).unwrap_or_default()).to_ascii_lowercase();
            if !head.starts_with("http/1.1 200") {
                return Err(bad("not with HTTP/1.1 200"));
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length
                .and_then(|length| length.trim().parse().ok())
                .ok_or_else(|| bad("without Content-Length"))?;
            return Ok(end + 4 + length);
        }
    }
}
