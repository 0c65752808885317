//! A nonblocking socket as the byte stream that `h2` wants, and the marks that its wakers set.
//!
//! Nobody waits here: what the socket does not give or take now is `Pending`, and the poller's next event is what goes
//! on. A waker only marks what is to be looked at.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use protocol::failure::FailureClass;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::io::socket::Socket;
use crate::io::tls::{Plain, Session};

/// Bytes that one turn of a connection reads at most: a peer that never stops sending holds up the thread no longer, and
/// the times of what came with them are this exact.
const READ_BUDGET: usize = 256 * 1024;

/// What is to be done on one connection. Everything happens on the connection's own thread; these are atomics because a
/// [`Waker`] has to be, and so they need no order among each other.
#[derive(Debug)]
pub(super) struct Marks {
    /// The connection wants to be polled.
    connection: AtomicBool,
    /// A bit for each lane whose stream has news.
    lanes: Box<[AtomicU64]>,
    /// The socket may have bytes.
    readable: AtomicBool,
    /// The peer has closed its side: what is there is to be read to its end.
    closing: AtomicBool,
    /// Bytes that may yet be read in this turn.
    budget: AtomicUsize,
}

impl Marks {
    pub(super) fn new(lanes: u32) -> Arc<Self> {
        Arc::new(Self {
            connection: AtomicBool::new(false),
            lanes: (0..lanes.div_ceil(u64::BITS)).map(|_| AtomicU64::new(0)).collect(),
            readable: AtomicBool::new(true),
            closing: AtomicBool::new(false),
            budget: AtomicUsize::new(READ_BUDGET),
        })
    }

    /// The poller says that there is something to read.
    pub(super) fn readable(&self, closing: bool) {
        self.readable.store(true, Ordering::Relaxed);
        if closing {
            self.closing.store(true, Ordering::Relaxed);
        }
    }

    /// A turn begins: what was wanted is done now.
    pub(super) fn begin(&self) {
        self.connection.store(false, Ordering::Relaxed);
        self.budget.store(READ_BUDGET, Ordering::Relaxed);
    }

    /// Whether another turn is wanted, though the socket says nothing new.
    pub(super) fn wanted(&self) -> bool {
        self.connection.load(Ordering::Relaxed) || self.has_lanes()
    }

    pub(super) fn mark_lane(&self, lane: u32) {
        if let Some(word) = self.lanes.get((lane / u64::BITS) as usize) {
            word.fetch_or(1 << (lane % u64::BITS), Ordering::Relaxed);
        }
    }

    /// Marks lanes of a word.
    pub(super) fn mark_lanes(&self, word: usize, bits: u64) {
        if let Some(word) = self.lanes.get(word) {
            word.fetch_or(bits, Ordering::Relaxed);
        }
    }

    /// Words of marks of lanes.
    pub(super) fn words(&self) -> usize {
        self.lanes.len()
    }

    /// Takes the marks of a word that the mask has.
    pub(super) fn take_lanes(&self, word: usize, mask: u64) -> u64 {
        self.lanes.get(word).map_or(0, |word| word.fetch_and(!mask, Ordering::Relaxed) & mask)
    }

    /// Whether any lane is marked.
    pub(super) fn has_lanes(&self) -> bool {
        self.lanes.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }
}

impl Wake for Marks {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.connection.store(true, Ordering::Relaxed);
    }
}

/// Marks one lane.
struct LaneMark {
    marks: Arc<Marks>,
    lane: u32,
}

impl Wake for LaneMark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.marks.mark_lane(self.lane);
    }
}

/// The waker of a lane's stream.
pub(super) fn lane_waker(marks: &Arc<Marks>, lane: u32) -> Waker {
    Waker::from(Arc::new(LaneMark { marks: Arc::clone(marks), lane }))
}

/// The socket.
pub(super) struct Pipe {
    stream: Socket,
    tls: Option<Box<Session>>,
    marks: Arc<Marks>,
}

impl Pipe {
    pub(super) const fn new(stream: Socket, tls: Option<Box<Session>>, marks: Arc<Marks>) -> Self {
        Self { stream, tls, marks }
    }

    /// Reads once into a buffer of some size; `Ok(0)` = the peer has ended.
    fn read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(tls) = &mut self.tls {
            return match tls.read(&mut self.stream, buffer) {
                Ok(Plain::Bytes(n)) => Poll::Ready(Ok(n)),
                // Frames say what is whole.
                Ok(Plain::End | Plain::Cut) => Poll::Ready(Ok(0)),
                Ok(Plain::Pending) => Poll::Pending,
                // A kind that a socket does not give: by it the class is known again.
                Err(FailureClass::Tls) => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                Err(_) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Whether TLS has nothing left to write. What it encrypts it keeps, so it is given more only then.
    fn flushed(&mut self) -> Poll<io::Result<()>> {
        match self.tls.as_mut().map(|tls| tls.flush(&mut self.stream)) {
            None | Some(Ok(true)) => Poll::Ready(Ok(())),
            Some(Ok(false)) => Poll::Pending,
            Some(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let budget = me.marks.budget.load(Ordering::Relaxed);
        if !me.marks.readable.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if budget == 0 {
            me.marks.connection.store(true, Ordering::Relaxed);
            return Poll::Pending;
        }
        let room = buf.initialize_unfilled();
        let wanted = room.len();
        match me.read(room) {
            Poll::Pending => {
                me.marks.readable.store(false, Ordering::Relaxed);
                Poll::Pending
            }
            Poll::Ready(Ok(n)) => {
                // A short read of a plain socket has emptied it; whatever comes later is an edge of its own.
                if me.tls.is_none() && n < wanted && !me.marks.closing.load(Ordering::Relaxed) {
                    me.marks.readable.store(false, Ordering::Relaxed);
                }
                me.marks.budget.store(budget.saturating_sub(n), Ordering::Relaxed);
                buf.advance(n);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        match me.flushed() {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        if let Some(tls) = &mut me.tls {
            let mut taken = 0;
            for buf in bufs {
                tls.write(buf)?;
                taken += buf.len();
            }
            return Poll::Ready(Ok(taken));
        }
        loop {
            match me.stream.write_vectored(bufs) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().flushed()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The peer learns of the end by the close of the socket at the latest.
        let _ = self.get_mut().stream.end_writing();
        Poll::Ready(Ok(()))
    }
}
