//! A target: this very test program, told by its environment to serve HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where a target is to listen.
pub(crate) const ADDRESS: &str = "CHAOS_TEST_TARGET";

/// Arguments by which this program becomes a target.
pub(crate) const ARGUMENTS: [&str; 3] = ["target::serves", "--exact", "--nocapture"];

/// Not a test but a target, when the environment says where it listens: answers each request with its wall clock.
#[test]
fn serves() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let listener = TcpListener::bind(&address).unwrap();
    for connection in listener.incoming() {
        let Ok(connection) = connection else { continue };
        std::thread::spawn(move || answer(connection));
    }
}

fn answer(mut connection: TcpStream) -> Option<()> {
    let mut request = [0; 4_096];
    while connection.read(&mut request).ok()? > 0 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis().to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", now.len());
        connection.write_all(format!("{head}{now}").as_bytes()).ok()?;
    }
    None
}

/// Asks a target, or the proxy before it, within a time; its status line and body.
pub(crate) fn ask(address: &str, within: Duration) -> std::io::Result<(String, String)> {
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
    let connection = TcpStream::connect_timeout(&address, within)?;
    ask_over(connection, within)
}

/// The same over a connection that is there.
pub(crate) fn ask_over(mut connection: TcpStream, within: Duration) -> std::io::Result<(String, String)> {
    connection.set_read_timeout(Some(within))?;
    connection.write_all(b"GET / HTTP/1.1\r\nhost: target\r\n\r\n")?;
    let mut answer = String::new();
    let mut chunk = [0; 4_096];
    loop {
        let read = match connection.read(&mut chunk) {
            // A child of another test ended.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.push_str(&String::from_utf8_lossy(&chunk[..read]));
        if let Some((head, body)) = answer.split_once("\r\n\r\n")
            && !body.is_empty()
        {
            let status = head.lines().next().unwrap_or_default();
            return Ok((status.to_owned(), body.to_owned()));
        }
    }
}

/// The wall clock of a target, in milliseconds.
pub(crate) fn clock_of(address: &str) -> i64 {
    ask(address, Duration::from_secs(20)).unwrap().1.parse().unwrap()
}
