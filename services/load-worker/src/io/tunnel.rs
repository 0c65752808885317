//! A tunnel through an HTTP proxy (CONNECT, RFC 9110, section 9.3.6): what is said before TLS begins.

use std::io::{self, Read, Write};

use protocol::failure::FailureClass;

use crate::io::socket::Socket;

/// Bytes that the proxy's answer may have.
const MAX_ANSWER: usize = 8 * 1024;

/// A tunnel being made.
pub struct Tunnel {
    asked: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is asked may hold a password.
        f.debug_struct("Tunnel").field("written", &self.written).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// A tunnel to `host:port`, before its first byte. `authorization`: what the proxy is shown.
    #[must_use]
    pub fn to(authority: &str, authorization: Option<&str>) -> Self {
        let shown =
            authorization.map_or_else(String::new, |shown| format!("Proxy-Authorization: {shown}\r\n"));
        let asked = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{shown}\r\n").into_bytes();
        Self { asked, written: 0, answer: Vec::new() }
    }

    /// Goes on. `true` = the proxy has made it.
    ///
    /// # Errors
    /// [`FailureClass::Connect`]: the proxy refuses, closes, or does not speak HTTP.
    pub(crate) fn advance(&mut self, socket: &mut Socket) -> Result<bool, FailureClass> {
        while self.written < self.asked.len() {
            match socket.write(&self.asked[self.written..]) {
                Ok(0) => return Err(FailureClass::Connect),
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(FailureClass::Connect),
            }
        }
        let mut piece = [0; 1024];
        loop {
            match socket.read(&mut piece) {
                Ok(0) => return Err(FailureClass::Connect),
                Ok(n) => self.answer.extend_from_slice(&piece[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(FailureClass::Connect),
            }
            if let Some(made) = made(&self.answer)? {
                return if made { Ok(true) } else { Err(FailureClass::Connect) };
            }
            if self.answer.len() > MAX_ANSWER {
                return Err(FailureClass::Connect);
            }
        }
    }
}

/// Whether the answer is whole, and says that the tunnel is there. The first byte through it is ours (a client's hello),
/// so nothing may follow.
fn made(answer: &[u8]) -> Result<Option<bool>, FailureClass> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(answer) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(used)) => {
            let status = response.code.unwrap_or(0);
            Ok(Some((200..300).contains(&status) && used == answer.len()))
        }
        Err(_) => Err(FailureClass::Connect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_of_2xx_makes_a_tunnel() {
        let whole = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(made(&whole[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(made(whole), Ok(Some(true)));
        assert_eq!(made(&[&whole[..], b"x"].concat()), Ok(Some(false)));
        assert_eq!(
            made(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"),
            Ok(Some(false))
        );
        assert_eq!(made(b"220 mail.example ESMTP\r\n"), Err(FailureClass::Connect));
    }
}
