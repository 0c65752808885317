//! The raw limit: a closed loop over all connections.

use std::io;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use serde::Serialize;

use crate::connections::{Connections, Load};
use crate::resources;

/// Events taken from epoll at once.
const EVENTS: usize = 1_024;

/// Longest wait: the end of the measurement is seen so late at most.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Closed {
    /// Answers that were read.
    pub requests: u64,
    /// Length of the measurement.
    pub seconds: f64,
    /// CPU time of the process in it, user and system.
    pub cpu_seconds: f64,
    /// Answers per second.
    pub requests_per_second: f64,
    /// Answers per second of CPU time.
    pub requests_per_cpu_second: f64,
    /// Largest resident memory, bytes.
    pub peak_memory_bytes: Option<u64>,
}

/// Each connection sends as soon as it has its answer, for so long. Connecting is not measured.
///
/// # Errors
/// A connection fails: nothing that was measured counts then.
pub fn run(load: &Load, duration: Duration) -> io::Result<Closed> {
    let mut connections = Connections::make(load)?;
    let request = load.request();
    let answer = connections.answer;
    let mut buffer = vec![0; 64 * 1_024];
    let mut events = Vec::with_capacity(EVENTS);
    let (began, cpu_before) = (Instant::now(), resources::cpu());
    for connection in &mut connections.all {
        connection.send(&request, answer)?;
    }
    let mut requests = 0;
    while began.elapsed() < duration {
        match epoll::wait(&connections.epoll, spare_capacity(&mut events), Some(&WAIT)) {
            Err(rustix::io::Errno::INTR) => {}
            result => _ = result?,
        }
        for event in events.drain(..) {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            let Some(connection) = connections.all.get_mut(index) else { continue };
            if connection.receive(&mut buffer)? {
                requests += 1;
                connection.send(&request, answer)?;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu_seconds = resources::cpu().saturating_sub(cpu_before).as_secs_f64();
    Ok(Closed {
        requests,
        seconds,
        cpu_seconds,
        requests_per_second: requests as f64 / seconds,
        requests_per_cpu_second: requests as f64 / cpu_seconds,
        peak_memory_bytes: resources::peak_memory(),
    })
}
