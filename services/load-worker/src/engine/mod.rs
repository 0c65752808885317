//! One OS thread per load core, and everything on it: arrivals, users, guests, requests, connections, stamps.
//!
//! A thread shares nothing with others on its hot path. It hears of control by a channel and a waker
//! ([`ThreadHandle`]) and answers with [`EngineEvent`]s; counts and times go to its [`Recorder`].
//!
//! # Words
//! An **arrival** is due at its intended time and gets one **turn** of one user. In a turn the guest sends
//! **requests**; those make **operations**: a request with `operation` 0 is one by itself, several with the same
//! number make one, which `end-operation` ends. Series and counts are of operations. The first operation of a turn is
//! its arrival; a further one counts as scheduled and started at once, and a turn without any counts as started and
//! cancelled in the scenario's first step, so that counts always close (requirement R9.3).
//!
//! # Times
//! * *Intended*: the arrival's time by the schedule, for requests in the call in which the guest hears of it; for
//!   later requests of the turn, when the guest asked for them; plus `delay-us`.
//! * *Taken*: when the thread took the arrival from the schedule, not before intended. Whether anything was free
//!   while the thread was away nobody knows, so that time is never queue time, but the generator's lateness.
//! * *Ready*: when a user and a connection were free, not before taken; queue time = ready − taken. A connection that had
//!   to be made is free when it is made.
//! * *Sent*: just before the first write, so that encryption counts to the target; send lag = (taken − intended) + (sent
//!   − ready). A *fresh* connection is part of what its request measures: it is sent when connecting begins.
//! * *First and last byte*: when the read that brought them returned.
//! * *Event* (of a stream of server-sent events, see `answer`): when the read that brought its last byte returned.
//!
//! Latency = last byte − intended = queue time + send lag + service; service = last byte − sent. An operation of several requests has the intended,
//! ready, sent and first-byte times of its first one and ends with the last byte of its last, or, decided while a request
//! is still under way, with the decision.
//!
//! # Users
//! A user is free again when the guest has finished its turn *and* all its requests are over, and the think time
//! after that is too. So a guest that fires without interest may finish the user in the same breath. Operations that the
//! guest leaves open then end as failed, class `guest` or that of the last request.
//!
//! # Waiting and dropping
//! An arrival without a free user, or a free connection to its scenario's first target, waits, first come first
//! served within its scenario. It is dropped when `max_waiting` others wait already, or when it has waited for the request
//! timeout. A drop is *by the generator* when it was decided more than 5 ms after it was due: had the thread been there
//! in time, something might have been free. In closed models it is a user who waits, and only the timeout drops.
//!
//! # Catching up
//! Of what came due while the thread was away 20 ms of the schedule are taken at once; the rest follows at twice the schedule's
//! pace, in order, with the intended times it had (`catch_up`). What is still overdue when the phase ends is taken at once.
//!
//! # Connections
//! Each target has a pool ([`crate::io::pool`]) with its share of the phase's transports, kept across phases. A
//! request that finds none waits first come first served; its deadline counts from when it could have been sent. An
//! idle connection that the peer closes is replaced. One that turns out to be closed when a request was just written to it
//! (a reset before any byte of an answer, within two round trips) never carried it: an idempotent
//! request is sent once more on another connection, and nothing but the connects counts it.
//!
//! A target without keep-alive gets a fresh connection for each request, whatever the guest asks for, and none is made ahead.
//!
//! A peer that writes faster than it is read keeps nobody waiting: of one transport so much is read in a turn, and the rest
//! in the next.
//!
//! Places are filled in the background so fast that no target is stormed: with 64 connections to a target in progress, and
//! so many begun a second, at most. An endpoint that refuses is tried by one connection at a time, after pauses that grow.
//! Connections that a request asks for itself are load, and not held back.
//!
//! # Endpoints
//! Of a target with several each has an equal share of the pool's places, and the plan's policy says which one a request
//! goes to; see [`crate::io::pool`]. One is *out* while the worker's health checks say so (control does them, and tells every
//! thread), or while this thread has ejected it for failing in a row; then the others have its places. When all are out, all
//! are used: what fails on them is to be seen. A user's own connection stays where it is, whatever becomes of the endpoint.
//!
//! # HTTP/2
//! A target with `http = "2"` has *lanes* in the place of connections: each connection has as many as the plan's `streams`
//! and the server's settings both allow, and a request takes one. Waiting, dropping, promises and deadlines are of lanes;
//! a phase's number stays that of connections, which are used in turn. A connection is made when the peer has told its
//! settings. A request is *sent* when its head is handed to the socket, at the end of the loop's turn together with all
//! others of that turn. What gives a request up resets its stream, and the connection stays. An *own* connection is a lane
//! that its user keeps, a *fresh* one carries one request and is closed.
//!
//! A request of which the server says that it has not looked at it (a refused stream, a stream above the last one of a
//! connection that goes away) is sent once more whatever its method. A connection that the server takes out of service
//! ends with its last request, and its place is filled then. Bytes sent and received are those of heads and bodies as text, without
//! frames and compression.
//!
//! # Guests
//! A fault ends the instance: what its users were doing is cancelled, connections with an answer under way are
//! closed, a new instance is made (ten a second at most), users begin anew. Other scenarios notice nothing.
//!
//! # The end of a phase
//! Arrivals stop, those that wait stay counted as waiting, turns in progress may finish within the grace; then their
//! requests are cancelled, guests are told once, and what they leave open is cancelled too. Where a worker leaves in the
//! middle, those that wait may begin within the grace: they are nobody else's.

mod answer;
mod arrivals;
mod balancing;
mod catch_up;
mod clock;
mod connect_pace;
mod expect;
mod guest;
mod making;
mod operations;
mod output;
mod own;
mod phase;
mod request;
mod scenario;
mod sending;
mod slots;
mod streams;
mod thread;
mod timers;
mod told;
mod transport;
mod unread;
mod users;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use mio::{Poll, Waker};

pub use guest::{Generator, Source};

use crate::record::Recorder;
use crate::spec::{EngineCommand, EngineEvent, ThreadSpec};
use thread::{LoadThread, WAKER};

/// A running load thread. Dropping it ends the thread without waiting for it.
#[derive(Debug)]
pub struct ThreadHandle {
    commands: Sender<EngineCommand>,
    waker: Arc<Waker>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ThreadHandle {
    /// Tells the thread something, in order. `false` = it has ended.
    pub fn send(&self, command: EngineCommand) -> bool {
        let sent = self.commands.send(command).is_ok();
        self.wake();
        sent
    }

    /// Makes the loop turn now, so that it sees a flip that was asked for.
    pub fn wake(&self) {
        // A waker that fails leaves the loop to its own 10 ms.
        let _ = self.waker.wake();
    }

    /// Wakes the thread from elsewhere.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Ends the thread and waits for it: connections are closed, guests dropped.
    pub fn join(mut self) {
        self.send(EngineCommand::Exit);
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for ThreadHandle {
    fn drop(&mut self) {
        self.send(EngineCommand::Exit);
    }
}

/// Starts a load thread, named `load-<index>`. `events` is called on that thread and must not block.
///
/// # Errors
/// The system gives no poller, timer or thread.
pub fn start(
    spec: ThreadSpec,
    recorder: Recorder,
    events: impl FnMut(EngineEvent) + Send + 'static,
) -> io::Result<ThreadHandle> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (commands, receiver) = channel();
    let name = format!("load-{}", spec.index);
    let load = LoadThread::new(spec, poll, clock::Clock::new(), recorder, receiver, Box::new(events))?;
    let thread = std::thread::Builder::new().name(name).spawn(move || load.run())?;
    Ok(ThreadHandle { commands, waker, thread: Some(thread) })
}

#[cfg(test)]
pub(crate) mod tests;
