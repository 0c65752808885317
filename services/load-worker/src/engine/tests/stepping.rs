//! A load thread that is driven turn by turn, under a clock that is set by hand, with its peer in the same thread.
//!
//! Nothing waits: what takes time takes as long as the test says. The sockets are Unix sockets, because a write to one has told
//! the reader's poller when it returns. So a test sees the same turns on every machine, however busy.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use plan::model::LoadModel;
use protocol::v1;

use super::rig::{Around, endpoint};
use crate::engine::Source;
use crate::engine::clock::Clock;
use crate::engine::thread::{EVENTS, LoadThread};
use crate::spec::{Endpoint, EngineCommand, EngineEvent, PhaseSpec, ThreadSpec};

/// The clock. Copies show the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time(&'static AtomicU64);

impl Time {
    /// Begins at one second, for 0 means "not yet" to the engine.
    pub(super) fn new() -> Self {
        Self(Box::leak(Box::new(AtomicU64::new(1_000_000_000))))
    }

    pub(super) fn now(self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// So many nanoseconds pass.
    pub(super) fn pass(self, ns: u64) {
        self.0.fetch_add(ns, Ordering::Relaxed);
    }

    /// It is not before this any more.
    pub(super) fn reach(self, at: u64) {
        self.0.fetch_max(at, Ordering::Relaxed);
    }
}

/// The other end of the thread's connections.
struct Peer {
    listener: UnixListener,
    poll: Poll,
    events: Events,
    streams: Vec<UnixStream>,
}

impl Peer {
    fn at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, poll: Poll::new().unwrap(), events: Events::with_capacity(EVENTS), streams: vec![] }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true).unwrap();
                    let mut stream = UnixStream::from_std(stream);
                    let token = Token(self.streams.len());
                    self.poll.registry().register(&mut stream, token, Interest::READABLE).unwrap();
                    self.streams.push(stream);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("a connection was not accepted: {error}"),
            }
        }
    }

    /// The requests that have come: on which connection, and the text of each.
    fn requests(&mut self) -> Vec<(usize, String)> {
        let mut requests = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            self.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
            if self.events.is_empty() {
                return requests;
            }
            for event in &self.events {
                let stream = event.token().0;
                // A request is written whole, and there is one at a time.
                match self.streams[stream].read(&mut buffer) {
                    Ok(0) => {}
                    Ok(read) => {
                        let text = std::str::from_utf8(&buffer[..read]).unwrap();
                        assert!(text.ends_with("\r\n\r\n"), "{text}");
                        requests.push((stream, text.to_owned()));
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}"),
                }
            }
        }
    }
}

/// See the module.
pub(super) struct Lockstep {
    time: Time,
    epoch: Instant,
    thread: LoadThread,
    events: Events,
    commands: Sender<EngineCommand>,
    said: Receiver<EngineEvent>,
    around: Around,
    peer: Peer,
    /// An end of the interval is asked for.
    flips: bool,
    batches: Vec<v1::SampleBatch>,
    ended: Option<v1::ArrivalCounts>,
    _dir: tempfile::TempDir,
}

impl Lockstep {
    pub(super) fn new(time: Time, guest: Arc<dyn Source>, tweak: impl FnOnce(&mut ThreadSpec)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("peer.sock");
        let peer = Peer::at(&path);
        let there = Endpoint {
            url: "http://peer".into(),
            addrs: vec![],
            socket: Some(path),
            host_header: "peer".into(),
            ..endpoint("127.0.0.1:9".parse().unwrap())
        };
        let (around, mut spec, recorder) = Around::new(1, vec![there], vec![guest]);
        tweak(&mut spec);
        let epoch = Instant::now();
        let (commands, obeyed) = channel();
        let (says, said) = channel();
        let thread = LoadThread::new(
            spec,
            Poll::new().unwrap(),
            Clock::by_hand(epoch, time.0),
            recorder,
            obeyed,
            Box::new(move |event| {
                let _ = says.send(event);
            }),
        );
        Self {
            time,
            epoch,
            thread: thread.unwrap(),
            events: Events::with_capacity(EVENTS),
            commands,
            said,
            around,
            peer,
            flips: false,
            batches: vec![],
            ended: None,
            _dir: dir,
        }
    }

    /// Has a phase begin in a second. When that is.
    pub(super) fn begin(
        &mut self,
        model: LoadModel,
        duration: Duration,
        tweak: impl FnOnce(&mut PhaseSpec),
    ) -> u64 {
        let t0 = self.time.now() + 1_000_000_000;
        let mut spec = self.around.phase(model, duration);
        spec.t0 = self.epoch + Duration::from_nanos(t0);
        tweak(&mut spec);
        self.commands.send(EngineCommand::StartPhase(Box::new(spec))).unwrap();
        t0
    }

    /// The first part of a turn: until when the thread wants to wait, and the requests that it has sent.
    pub(super) fn work(&mut self) -> (u64, Vec<(usize, String)>) {
        let until = self.thread.work().expect("a thread that goes on");
        self.peer.accept();
        while let Ok(event) = self.said.try_recv() {
            match event {
                EngineEvent::Started { .. } => {}
                EngineEvent::PhaseEnded { arrivals, .. } => self.ended = Some(arrivals),
                other => panic!("{other:?}"),
            }
        }
        if self.flips && self.around.spool.flipped() {
            self.flips = false;
            self.batches.push(self.around.flipped());
        }
        (until, self.peer.requests())
    }

    /// Writes a part of an answer.
    pub(super) fn write(&mut self, stream: usize, bytes: &[u8]) {
        self.peer.streams[stream].write_all(bytes).unwrap();
    }

    /// The second part of a turn: the thread reads what there is.
    pub(super) fn hear(&mut self) {
        self.thread.poll.poll(&mut self.events, Some(Duration::ZERO)).unwrap();
        self.thread.hear(&self.events);
    }

    /// Has the interval of the samples end with the next turn.
    pub(super) fn flip(&mut self) {
        assert!(self.around.spool.ask_flip());
        self.flips = true;
    }

    /// Ends the phase, in which nothing is under way any more: its counts, and the samples of all intervals.
    pub(super) fn end(mut self) -> (v1::ArrivalCounts, Vec<v1::SampleBatch>) {
        let end = EngineCommand::EndPhase { phase: 1, grace: Duration::from_secs(1), drains: false };
        self.commands.send(end).unwrap();
        self.flip();
        self.work();
        assert!(!self.flips, "the last interval has not ended");
        (self.ended.expect("the end of the phase"), self.batches)
    }
}
