//! Drives a link between two halves of sockets: what comes in, the link's time, what goes out.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use crate::link::{CHUNK, Link};
use crate::splice::{Shortcut, Socket};
use crate::toxic::Toxic;
use crate::toxic::behaviour::End;

/// The toxics of a proxy, in their order.
pub(crate) type Chain = Arc<[Arc<Toxic>]>;

/// What is received at a time where there are no toxics.
const SCRATCH: usize = 256 << 10;

/// What makes it worth while to move bytes past our memory.
const MUCH: usize = 32 << 10;

thread_local! {
    /// One a thread and not one a connection: idle connections hold no buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Bytes of one direction.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
}

/// How a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// All was sent, and so was the end.
    Closed,
    /// The receiver takes no more. What it has to say may still come the other way.
    Refused,
    /// The whole connection is to be closed.
    Close,
    /// The whole connection is to be reset.
    Reset,
}

/// One direction of a connection at work.
pub(crate) struct Flow<R, W> {
    from: R,
    to: W,
    link: Link,
    chain: watch::Receiver<Chain>,
    traffic: Arc<Traffic>,
    alarm: Option<Pin<Box<Sleep>>>,
    shortcut: Shortcut,
    /// The last time as much came as makes the shortcut worth its two calls.
    much: bool,
}

impl<R: AsyncRead + Socket + Unpin, W: AsyncWrite + Socket + Unpin> Flow<R, W> {
    pub(crate) const fn new(
        from: R,
        to: W,
        link: Link,
        chain: watch::Receiver<Chain>,
        traffic: Arc<Traffic>,
        shortcut: Shortcut,
    ) -> Self {
        Self { from, to, link, chain, traffic, alarm: None, shortcut, much: false }
    }

    /// Goes on until there is nothing to be done but to wait.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Done> {
        loop {
            self.take_over_changes();
            let mut moved = false;
            let mut again = None;
            if self.link.has_toxics() {
                again = self.link.advance(Instant::now());
            }
            match self.send(context) {
                Ok(sent) => moved |= sent,
                Err(_) => {
                    self.link.discard();
                    return Poll::Ready(Done::Refused);
                }
            }
            if self.shortcut.inside() == 0 {
                if let Some(end) = self.link.finished() {
                    return self.finish(end, context);
                }
                if self.link.wants_more() {
                    moved |= self.receive(context);
                }
            }
            if !moved && !self.alarm_has_rung(again, context) {
                return Poll::Pending;
            }
        }
    }

    fn take_over_changes(&mut self) {
        if self.chain.has_changed().unwrap_or(false) {
            let chain = Arc::clone(&self.chain.borrow_and_update());
            self.link.adopt(&chain, Instant::now());
        }
    }

    /// Sends what is ready; whether anything was.
    fn send(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut sent = false;
        while self.shortcut.inside() > 0
            && let Some(to) = self.to.socket()
        {
            let Poll::Ready(moved) = self.shortcut.poll_drain(to, context) else { return Ok(sent) };
            let bytes = some(moved?)?;
            self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
            sent = true;
        }
        while let Some(data) = self.link.front() {
            let Poll::Ready(written) = Pin::new(&mut self.to).poll_write(context, data) else { break };
            let bytes = some(written?)?;
            self.link.sent(bytes);
            self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
            sent = true;
        }
        Ok(sent)
    }

    /// Receives once; whether anything came, the end included.
    fn receive(&mut self, context: &mut Context<'_>) -> bool {
        if self.much
            && self.link.is_clear()
            && let Some(received) = self.receive_into_pipe(context)
        {
            return received;
        }
        BUFFER.with_borrow_mut(|buffer| {
            let most = if self.link.has_toxics() { CHUNK } else { SCRATCH };
            let mut into = ReadBuf::new(&mut buffer[..most]);
            match Pin::new(&mut self.from).poll_read(context, &mut into) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => self.link.close(End::Broken),
                Poll::Ready(Ok(())) if into.filled().is_empty() => self.link.close(End::Eof),
                Poll::Ready(Ok(())) => {
                    let data = into.filled();
                    self.traffic.received.fetch_add(data.len() as u64, Ordering::Relaxed);
                    self.much = data.len() >= MUCH;
                    // Whoever sent this after a toxic was confirmed finds the toxic at work.
                    self.take_over_changes();
                    let passed = if self.link.is_clear() { self.send_at_once(data, context) } else { 0 };
                    self.traffic.sent.fetch_add(passed as u64, Ordering::Relaxed);
                    if passed < data.len() {
                        self.keep(&data[passed..]);
                    }
                }
            }
            true
        })
    }

    /// Receives past our memory; `None` = not this way.
    fn receive_into_pipe(&mut self, context: &mut Context<'_>) -> Option<bool> {
        self.to.socket()?;
        let from = self.from.socket()?;
        match self.shortcut.poll_fill(from, context) {
            Poll::Pending => return Some(false),
            Poll::Ready(None) => return None,
            Poll::Ready(Some(Err(_))) => self.link.close(End::Broken),
            Poll::Ready(Some(Ok(0))) => self.link.close(End::Eof),
            Poll::Ready(Some(Ok(bytes))) => {
                self.traffic.received.fetch_add(bytes as u64, Ordering::Relaxed);
                self.much = bytes >= MUCH;
                if self.chain.has_changed().unwrap_or(false) {
                    self.take_out_of_pipe();
                }
            }
        }
        Some(true)
    }

    /// Whoever sent this after a toxic was confirmed finds the toxic at work.
    fn take_out_of_pipe(&mut self) {
        self.take_over_changes();
        let mut buffer = vec![0; CHUNK];
        while self.shortcut.inside() > 0 {
            match self.shortcut.take_out(&mut buffer) {
                Ok(bytes @ 1..) => self.keep(&buffer[..bytes]),
                // A pipe that does not give what went into it: the stream has a hole, and is ended.
                Ok(0) | Err(_) => {
                    self.shortcut.give_up();
                    self.link.close(End::Broken);
                }
            }
        }
    }

    /// Sends from the buffer of the thread, uncopied; bytes sent. An error shows again when the rest is sent.
    fn send_at_once(&mut self, data: &[u8], context: &mut Context<'_>) -> usize {
        match Pin::new(&mut self.to).poll_write(context, data) {
            Poll::Ready(Ok(bytes)) => bytes,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        }
    }

    fn keep(&mut self, data: &[u8]) {
        let now = Instant::now();
        for chunk in data.chunks(CHUNK) {
            self.link.push(Bytes::copy_from_slice(chunk), now);
        }
    }

    fn finish(&mut self, end: End, context: &mut Context<'_>) -> Poll<Done> {
        match end {
            End::Eof => {
                // Refused or not, this direction is over.
                let _ = ready!(Pin::new(&mut self.to).poll_shutdown(context));
                Poll::Ready(Done::Closed)
            }
            End::Broken | End::Cut => Poll::Ready(Done::Close),
            End::Reset => Poll::Ready(Done::Reset),
        }
    }

    fn alarm_has_rung(&mut self, again: Option<Instant>, context: &mut Context<'_>) -> bool {
        let Some(again) = again else { return false };
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(again)));
        if alarm.deadline() != again {
            alarm.as_mut().reset(again);
        }
        alarm.as_mut().poll(context).is_ready()
    }
}

/// A socket that takes nothing will never take anything.
fn some(bytes: usize) -> io::Result<usize> {
    if bytes == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(bytes) }
}
