//! Whether a target that runs on this machine answers: what a container's health check asks.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step of the question may take.
const ANSWER: Duration = Duration::from_secs(3);
/// Bytes of an answer that are read.
const LONGEST: u64 = 4 << 10;

/// Asks for `/health` at an address, as a probe, which the target counts apart and does not log.
///
/// # Errors
/// When nobody answers there in time, or the answer is not 200.
pub fn health(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    // Of HTTP/1.0, which ends an answer by closing.
    let request =
        format!("GET /health HTTP/1.0\r\nHost: {address}\r\nUser-Agent: gauntlet-probe/check-health\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split_ascii_whitespace().nth(1) {
        Some("200") => Ok(()),
        found => Err(io::Error::other(format!("/health answered {}", found.unwrap_or("nothing")))),
    }
}
