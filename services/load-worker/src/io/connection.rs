//! One transport to an endpoint: connect, TLS handshake, send a request, receive its answer. Nothing here blocks.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};

use protocol::failure::FailureClass;
use rustix::io::Errno;

use crate::io::http1::{Limits, Parser, Progress, Sink};
use crate::io::socket::{Address, Socket};
use crate::io::tls::{Plain, Session};
use crate::io::tunnel::Tunnel;
use crate::spec::TlsSpec;

/// How far a transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Tunnel,
    Handshake,
    Open,
}

/// One transport. Registered for reading and writing, edge-triggered, so each method goes on until the socket
/// would block.
#[derive(Debug)]
pub struct Connection {
    stream: Socket,
    /// While the proxy makes it.
    tunnel: Option<Box<Tunnel>>,
    tls: Option<Box<Session>>,
    stage: Stage,
    /// What the socket did not take yet, from `written` on. Empty as good as always.
    out: Vec<u8>,
    written: usize,
    parser: Parser,
    /// An answer is expected.
    busy: bool,
}

/// Reads of the scratch buffer in one [`Connection::receive`]: a peer that writes faster than it is read must not keep
/// all others waiting.
const READS: usize = 16;

/// What [`Connection::receive`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// More must come.
    Pending,
    /// There may be more to read now: the caller looks at others first and then calls again.
    Unread,
    /// The answer is whole; whether the connection can carry another request.
    Whole {
        /// Neither side wants it closed, and nothing unexpected followed the answer.
        reusable: bool,
    },
    /// The answer cannot become whole. `untouched`: not one byte of it came.
    Failed {
        /// Why.
        class: FailureClass,
        /// Not one byte of an answer had come.
        untouched: bool,
    },
    /// Nothing was expected, and the peer closed or spoke out of turn: the connection is of no more use.
    Closed,
}

impl Connection {
    /// Begins to connect. `tunnel`: what the proxy at the address is asked to make.
    ///
    /// # Errors
    /// The system refuses at once: [`FailureClass::Exhausted`] for want of a descriptor or a port, else
    /// [`FailureClass::Connect`], as without a route.
    pub fn connect(
        address: Address<'_>,
        tunnel: Option<Tunnel>,
        tls: Option<&TlsSpec>,
    ) -> Result<Self, FailureClass> {
        let stream = Socket::connect(address).map_err(|error| refused(address, &error))?;
        let tls = tls.map(Session::new).transpose()?.map(Box::new);
        Ok(Self {
            stream,
            tunnel: tunnel.map(Box::new),
            tls,
            stage: Stage::Connecting,
            out: Vec::new(),
            written: 0,
            parser: Parser::new(),
            busy: false,
        })
    }

    /// The socket, to register it.
    pub const fn source(&mut self) -> &mut Socket {
        &mut self.stream
    }

    /// Whether requests can be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// What the peer chose of the protocols that were offered in the TLS handshake.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.as_ref().and_then(|tls| tls.alpn())
    }

    /// The open socket, for a protocol that this type does not speak.
    #[must_use]
    pub fn into_parts(self) -> (Socket, Option<Box<Session>>) {
        (self.stream, self.tls)
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether the peer hears what is said: TCP, and the way through a proxy, are made.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        !matches!(self.stage, Stage::Connecting | Stage::Tunnel)
    }

    /// What it is that took too long, when a deadline for making the connection has passed.
    #[must_use]
    pub fn late(&self) -> FailureClass {
        if self.stage == Stage::Handshake { FailureClass::Tls } else { FailureClass::Connect }
    }

    /// Goes on with connecting and the handshake. `true` = open.
    ///
    /// # Errors
    /// [`FailureClass::Connect`] or [`FailureClass::Tls`].
    pub fn advance(&mut self) -> Result<bool, FailureClass> {
        if self.stage == Stage::Connecting {
            if !self.stream.connected().map_err(|_| FailureClass::Connect)? {
                return Ok(false);
            }
            self.stage = if self.tunnel.is_some() { Stage::Tunnel } else { self.above() };
        }
        if self.stage == Stage::Tunnel
            && let Some(tunnel) = &mut self.tunnel
            && tunnel.advance(&mut self.stream)?
        {
            self.tunnel = None;
            self.stage = self.above();
        }
        if self.stage == Stage::Handshake
            && let Some(tls) = &mut self.tls
            && tls.handshake(&mut self.stream)?
        {
            self.stage = Stage::Open;
        }
        Ok(self.stage == Stage::Open)
    }

    /// What follows when there are bytes to and fro.
    const fn above(&self) -> Stage {
        if self.tls.is_some() { Stage::Handshake } else { Stage::Open }
    }

    /// Sends a request and prepares for its answer; `to_head`: its method is HEAD.
    ///
    /// # Errors
    /// [`FailureClass::Reset`]: the peer has closed.
    pub fn send(&mut self, request: &[u8], to_head: bool) -> Result<(), FailureClass> {
        self.expect(to_head);
        self.write(request)
    }

    /// Writes a request whose answer is prepared for.
    ///
    /// # Errors
    /// [`FailureClass::Reset`]: the peer has closed.
    pub fn write(&mut self, request: &[u8]) -> Result<(), FailureClass> {
        if let Some(tls) = &mut self.tls {
            tls.write(request).map_err(|_| FailureClass::Reset)?;
            return tls.flush(&mut self.stream).map(|_| ()).map_err(|_| FailureClass::Reset);
        }
        let written = write(&mut self.stream, request).map_err(|_| FailureClass::Reset)?;
        self.out.extend_from_slice(&request[written..]);
        Ok(())
    }

    /// The socket for a request that goes to it as it is: `None` under TLS, or while it still has to take another.
    #[must_use]
    pub fn plain(&self) -> Option<BorrowedFd<'_>> {
        (self.tls.is_none() && self.stage == Stage::Open && self.out.is_empty()).then(|| self.stream.as_fd())
    }

    /// Prepares for the answer to a request that is written to [`Self::plain`].
    pub fn expect(&mut self, to_head: bool) {
        self.parser.begin(to_head);
        self.busy = true;
    }

    /// What became of writing a request to [`Self::plain`]; what the socket did not take is written when it does.
    ///
    /// # Errors
    /// [`FailureClass::Reset`]: the peer has closed.
    pub fn written(&mut self, request: &[u8], result: io::Result<usize>) -> Result<(), FailureClass> {
        let taken = match result {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(FailureClass::Reset),
        };
        self.out.extend_from_slice(request.get(taken..).unwrap_or_default());
        Ok(())
    }

    /// Goes on writing when the socket takes more.
    ///
    /// # Errors
    /// [`FailureClass::Reset`]: the peer has closed.
    pub fn flush(&mut self) -> Result<(), FailureClass> {
        if let Some(tls) = &mut self.tls {
            return tls.flush(&mut self.stream).map(|_| ()).map_err(|_| FailureClass::Reset);
        }
        if self.out.is_empty() {
            return Ok(());
        }
        self.written +=
            write(&mut self.stream, &self.out[self.written..]).map_err(|_| FailureClass::Reset)?;
        if self.written == self.out.len() {
            self.out = Vec::new();
            self.written = 0;
        }
        Ok(())
    }

    /// Reads what is there. `closing`: the poller says that the peer has closed its side. `bytes` grows by what
    /// was read. When the sink is full, the socket may hold more, of which the poller will not tell again.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        limits: Limits,
        sink: &mut impl Sink,
        closing: bool,
        bytes: &mut u64,
    ) -> Received {
        let mut reusable = None;
        let mut reads = 0;
        loop {
            if reads == READS && reusable.is_none() {
                return Received::Unread;
            }
            reads += 1;
            let read = match self.read(scratch) {
                Ok(Plain::Bytes(n)) => n,
                Ok(Plain::Pending) => {
                    return match reusable {
                        Some(reusable) => Received::Whole { reusable },
                        None => Received::Pending,
                    };
                }
                Ok(Plain::End) => return self.ended(reusable, *bytes),
                // Without the close alert nobody knows whether a body that a close ends is whole (RFC 9112, section 9.8).
                Ok(Plain::Cut) => return self.failed(reusable, FailureClass::Reset, *bytes),
                Err(class) => return self.failed(reusable, class, *bytes),
            };
            if reusable.is_some() || !self.busy {
                // Nobody asked for these.
                self.busy = false;
                return if reusable.is_some() {
                    Received::Whole { reusable: false }
                } else {
                    Received::Closed
                };
            }
            *bytes += read as u64;
            sink.read();
            match self.parser.feed(&scratch[..read], limits, sink) {
                Ok(Progress::More) => {}
                Ok(Progress::Done(used)) => {
                    self.busy = false;
                    // An answer to half a request: what is left of it would go before the next.
                    let sent = self.out.is_empty() && self.tls.as_ref().is_none_or(|tls| tls.is_flushed());
                    reusable = Some(self.parser.reusable() && used == read && sent);
                }
                Err(class) => return self.failed(None, class, *bytes),
            }
            if let Some(class) = sink.refused() {
                self.busy = true;
                return self.failed(None, class, *bytes);
            }
            // A short read of a plain socket has emptied it; a later close is an edge of its own.
            if self.tls.is_none() && read < scratch.len() && !closing {
                return match reusable {
                    Some(reusable) => Received::Whole { reusable },
                    None => Received::Pending,
                };
            }
            if reusable.is_none() && sink.is_full() {
                return Received::Pending;
            }
        }
    }

    fn read(&mut self, scratch: &mut [u8]) -> Result<Plain, FailureClass> {
        if let Some(tls) = &mut self.tls {
            return tls.read(&mut self.stream, scratch);
        }
        loop {
            return match self.stream.read(scratch) {
                Ok(0) => Ok(Plain::End),
                Ok(n) => Ok(Plain::Bytes(n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Plain::Pending),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Err(FailureClass::Reset),
            };
        }
    }

    fn ended(&mut self, reusable: Option<bool>, bytes: u64) -> Received {
        if reusable.is_none() && self.busy && self.parser.eof().is_ok() {
            self.busy = false;
            return Received::Whole { reusable: false };
        }
        self.failed(reusable, FailureClass::Reset, bytes)
    }

    fn failed(&mut self, reusable: Option<bool>, class: FailureClass, bytes: u64) -> Received {
        if reusable.is_some() {
            return Received::Whole { reusable: false };
        }
        if !self.busy {
            return Received::Closed;
        }
        self.busy = false;
        Received::Failed { class, untouched: bytes == 0 }
    }
}

/// Whose fault it is that a connection cannot even be begun.
fn refused(address: Address<'_>, error: &io::Error) -> FailureClass {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => FailureClass::Exhausted,
        // connect(2): no local port is free. Of a Unix socket EAGAIN says that its peer's backlog is full.
        Some(Errno::ADDRNOTAVAIL | Errno::AGAIN) if matches!(address, Address::Tcp(_)) => {
            FailureClass::Exhausted
        }
        _ => FailureClass::Connect,
    }
}

/// Writes as much as the socket takes.
fn write(stream: &mut Socket, bytes: &[u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        match stream.write(&bytes[at..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => at += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}
