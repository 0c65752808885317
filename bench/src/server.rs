//! A bare HTTP/1.1 server: one thread, epoll, fixed answers.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use memchr::memmem;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// Requests for paths that begin with this get the JSON answer.
pub const JSON_PATH: &str = "/json/";

/// The price in the JSON answer, at `$.price`.
pub const JSON_PRICE: f64 = 12.5;

/// Length of the JSON answer's body, bytes.
pub const JSON_BYTES: usize = 1_024;

const HELLO: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello world\n";

/// Connections that wait to be accepted at most; the system may allow fewer.
const BACKLOG: i32 = 16_384;

/// Events taken from epoll at once.
const EVENTS: usize = 1_024;

/// A request head of which not all has come is kept up to this many bytes; a longer one closes its connection.
const MAX_HEAD: usize = 16 * 1_024;

/// What epoll says of the listener; connections count from 0.
const LISTENER: u64 = u64::MAX;

/// What is logged: a line for each request, in the order in which they came. It has the request's first line, and for each
/// of the named header fields a tab and the field's value, `-` where a request has no such field.
#[derive(Debug)]
pub struct Log {
    file: BufWriter<File>,
    headers: Vec<String>,
}

impl Log {
    /// Logs to a file, with the values of these header fields, whatever the case of their names.
    #[must_use]
    pub fn new(file: File, headers: Vec<String>) -> Self {
        Self { file: BufWriter::new(file), headers }
    }

    /// Writes the line of a request with this head.
    fn write(&mut self, head: &[u8]) -> io::Result<()> {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        self.file.write_all(lines.next().unwrap_or_default())?;
        for name in &self.headers {
            let value = lines.clone().find_map(|line| field(line, name)).unwrap_or(b"-");
            self.file.write_all(b"\t")?;
            self.file.write_all(value)?;
        }
        self.file.write_all(b"\n")
    }
}

/// The value of a header field in a line of a head, if the line is that field's.
fn field<'a>(line: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    json: Vec<u8>,
    log: Option<Log>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// A head of which the rest is still to come; empty nearly always.
    begun: Vec<u8>,
}

impl Server {
    /// Listens on 127.0.0.1; port 0 = any free one.
    ///
    /// # Errors
    /// The port is taken.
    pub fn bind(port: u16, log: Option<Log>) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        // The standard library's listener has room for 128: ten thousand connections at once would wait for SYNs to be
        // sent again.
        listen(&socket, BACKLOG)?;
        Ok(Self { listener: TcpListener::from(socket), json: json_answer(), log })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves for ever. It reads requests without a body; pipelined ones are answered in order.
    ///
    /// # Errors
    /// epoll fails, or the log cannot be written. A connection that fails is closed and ends nothing.
    pub fn run(mut self) -> io::Result<()> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(LISTENER);
        epoll::add(&epoll, &self.listener, data, epoll::EventFlags::IN)?;
        let mut connections: Vec<Option<Connection>> = Vec::new();
        let mut free: Vec<usize> = Vec::new();
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; 64 * 1_024];
        loop {
            match epoll::wait(&epoll, spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => {}
                result => _ = result?,
            }
            for event in events.drain(..) {
                let key = event.data.u64();
                if key == LISTENER {
                    self.accept(&epoll, &mut connections, &mut free)?;
                    continue;
                }
                let Ok(index) = usize::try_from(key) else { continue };
                let Some(place) = connections.get_mut(index) else { continue };
                let keep = match place {
                    Some(connection) => self.answer(connection, &mut buffer)?,
                    None => continue,
                };
                if !keep {
                    *place = None;
                    free.push(index);
                }
            }
            if let Some(log) = &mut self.log {
                log.file.flush()?;
            }
        }
    }

    fn accept(
        &self,
        epoll: &std::os::fd::OwnedFd,
        connections: &mut Vec<Option<Connection>>,
        free: &mut Vec<usize>,
    ) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // A peer that went away while it waited is no failure of ours.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = free.pop().unwrap_or_else(|| {
                connections.push(None);
                connections.len() - 1
            });
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(epoll, &stream, data, epoll::EventFlags::IN)?;
            if let Some(place) = connections.get_mut(index) {
                *place = Some(Connection { stream, begun: Vec::new() });
            }
        }
    }

    /// Reads what is there and answers each whole request. `false` = the connection is over.
    fn answer(&mut self, connection: &mut Connection, buffer: &mut [u8]) -> io::Result<bool> {
        let read = match connection.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(read) => read,
            Err(error) => return Ok(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)),
        };
        let read = buffer.get(..read).unwrap_or_default();
        let joined;
        let mut rest = if connection.begun.is_empty() {
            read
        } else {
            connection.begun.extend_from_slice(read);
            joined = std::mem::take(&mut connection.begun);
            joined.as_slice()
        };
        while let Some(end) = memmem::find(rest, b"\r\n\r\n") {
            let (head, further) = rest.split_at(end + 4);
            rest = further;
            if let Some(log) = &mut self.log {
                log.write(head)?;
            }
            let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            let answer = if path.starts_with(JSON_PATH.as_bytes()) { &self.json } else { HELLO };
            // A peer that does not read its answers is not worth a buffer here.
            if !matches!(connection.stream.write(answer), Ok(written) if written == answer.len()) {
                return Ok(false);
            }
        }
        if rest.len() > MAX_HEAD {
            return Ok(false);
        }
        if !rest.is_empty() {
            connection.begun = rest.to_vec();
        }
        Ok(true)
    }
}

/// An object as APIs answer with, `$.price` in the middle of it.
fn json_answer() -> Vec<u8> {
    let item = |filler: &str| {
        serde_json::json!({
            "category": "tools",
            "description": filler,
            "dimensions": { "depth": 11.5, "height": 30, "width": 21.25 },
            "id": 4711,
            "name": "a hammer with a wooden handle",
            "price": JSON_PRICE,
            "reviews": [
                { "by": "ada", "stars": 5, "text": "It does what a hammer does." },
                { "by": "ben", "stars": 4, "text": "A little heavy, \"but good\"." },
            ],
            "tags": ["hammer", "wood", "steel", "workshop"],
        })
        .to_string()
    };
    let filler = "x".repeat(JSON_BYTES.saturating_sub(item("").len()));
    let body = item(&filler);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    head.into_bytes()
}
