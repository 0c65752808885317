//! Holding connections open.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::inject::Refusal;

/// How long one may take to open. A listener whose queue is full does not answer at all.
const OPENS: Duration = Duration::from_secs(1);

/// Connections to one address, on which nothing is ever said.
pub(super) struct Connections {
    address: SocketAddr,
    wanted: usize,
    open: Vec<TcpStream>,
    problem: Option<io::Error>,
}

impl Connections {
    /// Opens as many as are wanted, or until one is refused: then the listener has no more, which is what was wanted.
    pub(super) fn open(address: SocketAddr, count: u32) -> Result<Self, Refusal> {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // Refused, the old limit stays, and what does not fit is told.
        let _ = setrlimit(Resource::Nofile, limit);
        let mut connections = Self { address, wanted: count as usize, open: Vec::new(), problem: None };
        connections.fill(usize::MAX);
        match &connections.problem {
            Some(error) if connections.open.is_empty() => Err(Refusal::new(
                format!("{address} does not take a connection: {error}"),
                "name an address where something listens",
            )),
            _ => Ok(connections),
        }
    }

    /// What it has.
    pub(super) fn text(&self) -> String {
        let (open, wanted, address) = (self.open.len(), self.wanted, self.address);
        match &self.problem {
            None => format!("{open} connections to {address} are open"),
            Some(error) => {
                format!("{open} of {wanted} connections to {address} are open, then it was: {error}")
            }
        }
    }

    /// Takes away those that the other side closed, and opens others in their place, a few at a time.
    pub(super) fn tend(&mut self) {
        self.open.retain(|stream| match stream.peek(&mut [0]) {
            Ok(0) => false,
            Ok(_) => true,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        });
        // One that is refused costs up to a second, in which nothing is watched.
        self.fill(64);
    }

    fn fill(&mut self, most: usize) {
        self.problem = None;
        let missing = self.wanted - self.open.len();
        for _ in 0..missing.min(most) {
            let opened = TcpStream::connect_timeout(&self.address, OPENS)
                .and_then(|stream| stream.set_nonblocking(true).map(|()| stream));
            match opened {
                Ok(stream) => self.open.push(stream),
                Err(error) => {
                    self.problem = Some(error);
                    return;
                }
            }
        }
    }
}
