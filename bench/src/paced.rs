//! The raw paced loop: requests on an absolute schedule.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use serde::Serialize;

use crate::connections::{Connections, Load};
use crate::resources;

/// Events taken from epoll at once: so many answers a request that is due may stand behind.
const EVENTS: usize = 128;

/// A wait shorter than this is spun: to be woken takes about as long.
const SPIN: Duration = Duration::from_micros(50);

/// Longest wait, for the case that the timer does not come.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Between making the connections and the first request, so that accepting them is over.
const LEAD: Duration = Duration::from_millis(200);

/// How long the last answers are waited for.
const GRACE: Duration = Duration::from_secs(5);

/// What epoll says of the timer; connections count from 0.
const TIMER: u64 = u64::MAX;

/// Microseconds.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "named by what they are")]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Paced {
    /// Requests that the schedule wanted.
    pub wanted: u64,
    /// Requests that were sent within it.
    pub sent: u64,
    /// Answers that were read.
    pub answered: u64,
    /// Length of the schedule.
    pub seconds: f64,
    /// Sent per second of it.
    pub requests_per_second: f64,
    /// Answers per second of CPU time. Spinning is CPU time.
    pub requests_per_cpu_second: f64,
    /// CPU time of the process, user and system.
    pub cpu_seconds: f64,
    /// From when a request was due to just before it was written. A request that finds no idle connection waits, and
    /// that counts.
    pub send_lag_us: Percentiles,
    /// From just before a request was written to when its answer was read.
    pub service_us: Percentiles,
    /// Largest resident memory, bytes.
    pub peak_memory_bytes: Option<u64>,
}

/// Sends `rate` requests a second, the k-th at k / rate after the start, for so long, each on the connection that has been
/// idle for longest.
///
/// # Errors
/// A connection or the timer fails: nothing that was measured counts then.
pub fn run(load: &Load, rate: f64, duration: Duration) -> io::Result<Paced> {
    let mut connections = Connections::make(load)?;
    let mut timer = Timer::new(&connections.epoll)?;
    let request = load.request();
    let answer = connections.answer;
    let mut idle: VecDeque<usize> = (0..connections.all.len()).collect();
    let mut sent_at = vec![0_u64; connections.all.len()];
    let mut lag = histogram()?;
    let mut service = histogram()?;
    let mut buffer = vec![0; 64 * 1_024];
    let mut events = Vec::with_capacity(EVENTS);
    // Truncated: a part of a request is not sent.
    let wanted = (rate * duration.as_secs_f64()) as u64;
    let due = |k: u64| Duration::from_secs_f64(k as f64 / rate);
    let cpu_before = resources::cpu();
    let t0 = Instant::now() + LEAD;
    let (mut sent, mut answered) = (0_u64, 0_u64);
    loop {
        let now = t0_to(t0);
        if now >= duration && (answered == sent || now >= duration + GRACE) {
            break;
        }
        let mut next = None;
        while sent < wanted && now < duration {
            let intended = due(sent);
            let now = t0_to(t0);
            if !has_begun(t0) || intended > now {
                next = Some(intended);
                break;
            }
            let Some(index) = idle.pop_front() else { break };
            let Some(connection) = connections.all.get_mut(index) else { break };
            lag.saturating_record(nanos(now.saturating_sub(intended)));
            if let Some(at) = sent_at.get_mut(index) {
                *at = nanos(now);
            }
            connection.send(&request, answer)?;
            sent += 1;
        }
        let wake = next.unwrap_or(duration);
        wait(&connections.epoll, &mut events, &mut timer, t0 + wake)?;
        for event in events.drain(..) {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            // The timer is no connection: it has done what it is for.
            let Some(connection) = connections.all.get_mut(index) else { continue };
            if connection.receive(&mut buffer)? {
                answered += 1;
                let at = sent_at.get(index).copied().unwrap_or(0);
                service.saturating_record(nanos(t0_to(t0)).saturating_sub(at));
                idle.push_back(index);
            }
        }
    }
    let cpu_seconds = resources::cpu().saturating_sub(cpu_before).as_secs_f64();
    Ok(Paced {
        wanted,
        sent,
        answered,
        seconds: duration.as_secs_f64(),
        requests_per_second: sent as f64 / duration.as_secs_f64(),
        requests_per_cpu_second: answered as f64 / cpu_seconds,
        cpu_seconds,
        send_lag_us: percentiles(&lag),
        service_us: percentiles(&service),
        peak_memory_bytes: resources::peak_memory(),
    })
}

/// Since the start; zero before it.
fn t0_to(t0: Instant) -> Duration {
    Instant::now().saturating_duration_since(t0)
}

fn has_begun(t0: Instant) -> bool {
    Instant::now() >= t0
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds up to an hour, three digits.
fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_max(3_600_000_000_000, 3).map_err(io::Error::other)
}

fn percentiles(of: &Histogram<u64>) -> Percentiles {
    let micros = |nanos: u64| nanos as f64 / 1_000.0;
    Percentiles {
        p50: micros(of.value_at_quantile(0.5)),
        p99: micros(of.value_at_quantile(0.99)),
        p999: micros(of.value_at_quantile(0.999)),
        max: micros(of.max()),
    }
}

/// Waits for sockets or `until`, whichever is first.
fn wait(
    epoll: &OwnedFd,
    events: &mut Vec<epoll::Event>,
    timer: &mut Timer,
    until: Instant,
) -> io::Result<()> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let left = until.saturating_duration_since(Instant::now());
    if left >= SPIN {
        timer.arm(until, left)?;
        return poll(epoll, events, &WAIT);
    }
    loop {
        poll(epoll, events, &NOW)?;
        if !events.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        std::hint::spin_loop();
    }
}

fn poll(epoll: &OwnedFd, events: &mut Vec<epoll::Event>, timeout: &Timespec) -> io::Result<()> {
    match epoll::wait(epoll, spare_capacity(events), Some(timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A timerfd in the epoll, whose own timeout is in whole milliseconds.
struct Timer {
    fd: OwnedFd,
    armed: Option<Instant>,
}

impl Timer {
    fn new(epoll: &OwnedFd) -> io::Result<Self> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // Edge-triggered, so that it need not be read.
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(epoll, &fd, epoll::EventData::new_u64(TIMER), flags)?;
        Ok(Self { fd, armed: None })
    }

    fn arm(&mut self, at: Instant, left: Duration) -> io::Result<()> {
        if self.armed == Some(at) {
            return Ok(());
        }
        let value = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &value)?;
        self.armed = Some(at);
        Ok(())
    }
}
