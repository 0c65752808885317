//! One load thread and two, in turns, each with a server of its own that runs on the same thread, in the generator's place:
//! between the two are Unix sockets, so that no packet, interrupt or other thread is part of it. If load threads share
//! nothing, two of them do twice as much.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use load_worker::spec::Endpoint;
use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};

use crate::get::{Beside, Gets};
use crate::rig::{Rig, closed};
use crate::{Result, number};

/// The listener's token; those of streams are their places.
const LISTENER: Token = Token(usize::MAX - 1);

/// A server that answers whatever it reads with the same 200, when the load thread lets it.
struct Peer {
    poll: Poll,
    events: Events,
    listener: UnixListener,
    streams: Vec<UnixStream>,
    begun: u64,
    answered: u64,
    /// Set when the phase is to end.
    over: Arc<AtomicBool>,
}

impl Peer {
    fn new(path: &Path, over: Arc<AtomicBool>) -> std::io::Result<Self> {
        // A phase before this one has had its own.
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error);
        }
        let poll = Poll::new()?;
        let mut listener = UnixListener::bind(path)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let events = Events::with_capacity(256);
        Ok(Self { poll, events, listener, streams: Vec::new(), begun: 0, answered: 0, over })
    }

    /// Answers what has come.
    fn serve(&mut self) -> std::io::Result<()> {
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world";
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        let mut buffer = [0; 4 * 1024];
        for event in &self.events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = self.listener.accept() {
                    let token = Token(self.streams.len());
                    self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    self.streams.push(stream);
                }
            } else if let Some(stream) = self.streams.get_mut(event.token().0) {
                while let Ok(1..) = stream.read(&mut buffer) {
                    stream.write_all(ANSWER)?;
                    self.answered += 1;
                }
            }
        }
        Ok(())
    }
}

impl Beside for Peer {
    fn begun(&mut self, turns: u64) {
        self.begun += turns;
    }

    fn keeps_a_user(&self) -> bool {
        true
    }

    fn again(&mut self) -> bool {
        // A server that fails answers nothing more, and the phase's grace ends it.
        self.serve().is_ok() && !(self.over.load(Ordering::Relaxed) && self.answered == self.begun)
    }
}

/// A load thread and its server.
struct Loop {
    rig: Rig,
    over: Arc<AtomicBool>,
}

impl Loop {
    fn start(path: PathBuf) -> Result<Self> {
        let over = Arc::<AtomicBool>::default();
        let endpoint = Endpoint {
            socket: Some(path.clone()),
            addrs: vec![],
            ..Endpoint::plain(([127, 0, 0, 1], 9).into())
        };
        let guest = {
            let over = Arc::clone(&over);
            Gets(move || -> Box<dyn Beside> {
                match Peer::new(&path, Arc::clone(&over)) {
                    Ok(peer) => Box::new(peer),
                    Err(error) => Box::new(Broken(error.to_string())),
                }
            })
        };
        Ok(Self { rig: Rig::start(endpoint, None, guest.source().into())?, over })
    }
}

/// A server that could not be made; its thread sends into nothing, and the counts show it.
struct Broken(String);

impl Beside for Broken {
    fn begun(&mut self, _: u64) {
        println!("no server: {}", self.0);
    }
}

/// What so many threads did together: requests a second, and of a second of their CPU time.
struct Done {
    per_second: f64,
    per_cpu_second: f64,
    requests: u64,
}

fn measure(loops: &[Loop], number: u32, seconds: u32, connections: u32) -> Result<Done> {
    let length = Duration::from_secs(seconds.into());
    let mut end = None;
    let mut before = Vec::new();
    for one in loops {
        one.over.store(false, Ordering::Relaxed);
        // One user more than connections: its turn is the server's.
        let spec = one.rig.phase(number, closed(connections + 1), length, connections, connections + 1);
        end = Some(spec.t0 + length);
        before.push(one.rig.begin(spec)?);
    }
    if let (Some(first), Some(end)) = (loops.first(), end) {
        first.rig.wait_until(end)?;
    }
    for one in loops {
        one.rig.tell_end(number);
        one.over.store(true, Ordering::Relaxed);
    }
    let (mut requests, mut cpu) = (0, Duration::ZERO);
    for (one, before) in loops.iter().zip(before) {
        let (arrivals, after) = one.rig.ended()?;
        if arrivals.failed + arrivals.dropped > 0 || arrivals.answered == 0 {
            return Err(format!("{arrivals:?}").into());
        }
        requests += arrivals.answered;
        cpu += after - before;
    }
    let answered = requests as f64;
    Ok(Done {
        per_second: answered / length.as_secs_f64(),
        per_cpu_second: answered / cpu.as_secs_f64(),
        requests,
    })
}

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let (seconds, rounds, connections) = (number(words, 0, 2)?, number(words, 1, 5)?, number(words, 2, 64)?);
    let dir = tempfile::tempdir()?;
    let loops = [0, 1]
        .map(|index| Loop::start(dir.path().join(format!("{index}.sock"))))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let mut rows = Vec::new();
    let mut number = 0;
    for _ in 0..rounds {
        let mut next = |loops: &[Loop]| {
            number += 1;
            measure(loops, number, seconds, connections)
        };
        let (one, two) = (next(&loops[..1])?, next(&loops)?);
        rows.push(serde_json::json!({
            "one": { "requests": one.requests, "per_second": one.per_second, "per_cpu_second": one.per_cpu_second },
            "two": { "requests": two.requests, "per_second": two.per_second, "per_cpu_second": two.per_cpu_second },
            "ratio": two.per_second / one.per_second,
            "ratio_of_cpu_time": 2.0 * two.per_cpu_second / one.per_cpu_second,
        }));
    }
    for one in loops {
        one.rig.join();
    }
    println!("{}", serde_json::Value::from(rows));
    Ok(())
}
