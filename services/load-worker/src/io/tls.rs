//! TLS over a nonblocking socket: rustls does the protocol, this does the reading and writing.

use std::io::{self, Read, Write};
use std::sync::Arc;

use protocol::failure::FailureClass;
use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection};

use crate::io::socket::Socket;
use crate::spec::TlsSpec;

/// One TLS session over one socket.
pub struct Session {
    connection: ClientConnection,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("handshaking", &self.connection.is_handshaking()).finish()
    }
}

/// What a read of the session gave.
pub(crate) enum Plain {
    /// Bytes of the peer.
    Bytes(usize),
    /// Nothing until the socket is readable again.
    Pending,
    /// The peer ended the session by a close alert: nothing is missing.
    End,
    /// The socket was closed without one, by the peer or by whoever is between.
    Cut,
}

/// Tickets of one endpoint that a thread keeps: so many rustls keeps of a server, each of use once with TLS 1.3.
const SESSIONS: usize = 8;

/// Gives a load thread sessions of its own, where any are resumed: a store for all threads would be a lock that they
/// share.
pub(crate) fn own_sessions(spec: &mut TlsSpec) {
    if spec.resumption {
        let mut config = ClientConfig::clone(&spec.config);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        spec.config = Arc::new(config);
    }
}

impl Session {
    /// A session before its first message.
    ///
    /// # Errors
    /// The configuration cannot be used with this name.
    pub(crate) fn new(spec: &TlsSpec) -> Result<Self, FailureClass> {
        let mut connection = ClientConnection::new(Arc::clone(&spec.config), spec.server_name.clone())
            .map_err(|_| FailureClass::Tls)?;
        // A request is bounded before it comes here; a limit would only cut it into pieces.
        connection.set_buffer_limit(None);
        Ok(Self { connection })
    }

    /// Goes on with the handshake. `true` = done, and everything of it is written.
    pub(crate) fn handshake(&mut self, stream: &mut Socket) -> Result<bool, FailureClass> {
        loop {
            let flushed = self.flush(stream).map_err(|_| FailureClass::Tls)?;
            if !self.connection.is_handshaking() {
                return Ok(flushed);
            }
            if !self.fill(stream)? {
                return Ok(false);
            }
        }
    }

    /// Reads from the socket once. `false` = nothing there.
    fn fill(&mut self, stream: &mut Socket) -> Result<bool, FailureClass> {
        loop {
            match self.connection.read_tls(stream) {
                Ok(0) => return Err(FailureClass::Tls),
                Ok(_) => {
                    if self.connection.process_new_packets().is_err() {
                        // The alert tells the peer why; whether it arrives does not matter.
                        let _ = self.flush(stream);
                        return Err(FailureClass::Tls);
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(FailureClass::Tls),
            }
        }
    }

    /// Takes bytes to send; they are encrypted now and written by [`Session::flush`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(bytes)
    }

    /// Writes what is encrypted. `true` = nothing is left.
    pub(crate) fn flush(&mut self, stream: &mut Socket) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether everything written has gone to the socket.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.connection.wants_write()
    }

    /// What the peer chose of the protocols that were offered.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// Reads decrypted bytes into `buffer`.
    pub(crate) fn read(&mut self, stream: &mut Socket, buffer: &mut [u8]) -> Result<Plain, FailureClass> {
        loop {
            match self.connection.reader().read(buffer) {
                Ok(0) => return Ok(Plain::End),
                Ok(n) => return Ok(Plain::Bytes(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Plain::Cut),
                Err(_) => return Err(FailureClass::Tls),
            }
            match self.connection.read_tls(stream) {
                Ok(0) => return Ok(Plain::Cut),
                Ok(_) => {
                    if self.connection.process_new_packets().is_err() {
                        let _ = self.flush(stream);
                        return Err(FailureClass::Tls);
                    }
                    // Answers to key updates.
                    let _ = self.flush(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Plain::Pending),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(FailureClass::Reset),
            }
        }
    }
}
