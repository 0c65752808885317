//! Bytes that the kernel moves from socket to socket, through a pipe and past our memory: for connections that have much to
//! carry and no toxic. A pipe is lent for as long as there is something in it, so idle connections have none.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// What a pipe holds at most: what the kernel allows without privilege.
const PIPE: usize = 1 << 20;

/// Pipes of a process, which bounds their files and what they hold. Who finds none copies.
const PIPES: usize = 32;

/// What may be a socket, or stands for one in a test.
pub(crate) trait Socket {
    /// The socket, where it is one.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Socket for ReadHalf<'_> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.as_ref())
    }
}

impl Socket for WriteHalf<'_> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.as_ref())
    }
}

/// Pipes to be lent. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipes {
    idle: Arc<Mutex<Vec<Pipe>>>,
    made: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Made and not yet closed; this one counts as long as it is there.
    made: Arc<AtomicUsize>,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.made.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipes {
    fn lend(&self) -> Option<Pipe> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if idle.is_some() {
            return idle;
        }
        if self.made.fetch_add(1, Ordering::Relaxed) >= PIPES {
            self.made.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
            self.made.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        // A smaller one is a pipe all the same.
        let _ = fcntl_setpipe_size(&write, PIPE);
        Some(Pipe { read, write, made: Arc::clone(&self.made) })
    }

    fn take_back(&self, pipe: Pipe) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pipe);
    }
}

/// The kernel's way for one direction.
pub(crate) struct Shortcut {
    pipes: Pipes,
    pipe: Option<Pipe>,
    inside: usize,
    /// The kernel does not do it for these sockets.
    refused: bool,
}

impl Shortcut {
    pub(crate) const fn new(pipes: Pipes) -> Self {
        Self { pipes, pipe: None, inside: 0, refused: false }
    }

    /// Bytes that are in the pipe.
    pub(crate) const fn inside(&self) -> usize {
        self.inside
    }

    /// Receives into the pipe: bytes, 0 at the end; `None` = not this way. The pipe must be empty.
    pub(crate) fn poll_fill(
        &mut self,
        from: &TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<usize>>> {
        if self.refused {
            return Poll::Ready(None);
        }
        let Some(pipe) = self.pipe.take().or_else(|| self.pipes.lend()) else { return Poll::Ready(None) };
        let result = loop {
            match from.poll_read_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
            match from.try_io(Interest::READABLE, || moved(from, &pipe.write, PIPE)) {
                // Its readiness was cleared: the next look waits.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => break Poll::Ready(result),
            }
        };
        match result {
            Poll::Ready(Ok(bytes @ 1..)) => {
                self.pipe = Some(pipe);
                self.inside = bytes;
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                self.refused = true;
                Poll::Ready(None)
            }
            other => {
                self.pipes.take_back(pipe);
                other.map(Some)
            }
        }
    }

    /// Sends what is in the pipe; bytes, 0 where it is empty.
    pub(crate) fn poll_drain(
        &mut self,
        to: &TcpStream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(to.poll_write_ready(context))?;
            match to.try_io(Interest::WRITABLE, || moved(&pipe.read, to, self.inside)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(bytes) => {
                    self.took(bytes);
                    return Poll::Ready(Ok(bytes));
                }
            }
        }
    }

    /// Reads what is in the pipe: toxics were added that have not seen it. Bytes, 0 where it is empty.
    pub(crate) fn take_out(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        let most = into.len().min(self.inside);
        let bytes = rustix::io::read(&pipe.read, &mut into[..most])?;
        self.took(bytes);
        Ok(bytes)
    }

    /// Closes the pipe with what is in it.
    pub(crate) fn give_up(&mut self) {
        self.pipe = None;
        self.inside = 0;
    }

    fn took(&mut self, bytes: usize) {
        self.inside = self.inside.saturating_sub(bytes);
        if self.inside == 0
            && let Some(pipe) = self.pipe.take()
        {
            self.pipes.take_back(pipe);
        }
    }
}

fn moved(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, most: usize) -> io::Result<usize> {
    Ok(splice(from, None, to, None, most, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)?)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncWrite};

    use super::*;

    impl<T: AsyncRead> Socket for tokio::io::ReadHalf<T> {
        fn socket(&self) -> Option<&TcpStream> {
            None
        }
    }

    impl<T: AsyncWrite> Socket for tokio::io::WriteHalf<T> {
        fn socket(&self) -> Option<&TcpStream> {
            None
        }
    }

    #[test]
    fn pipes_are_lent_up_to_a_number_and_used_again() {
        let pipes = Pipes::default();
        let mut lent: Vec<Pipe> = std::iter::from_fn(|| pipes.lend()).collect();
        assert_eq!(lent.len(), PIPES);
        pipes.take_back(lent.remove(0));
        assert!(pipes.lend().is_some_and(|again| {
            pipes.take_back(again);
            true
        }));
        drop(lent);
        assert_eq!(pipes.made.load(Ordering::Relaxed), 1);
    }
}
