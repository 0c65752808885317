//! Heartbeats, from an OS thread of their own: a busy runtime or a full disk must not make a worker look dead.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bus::{Bus, BusError, SchedulerClock};
use protocol::id::{IncarnationId, WorkerId};
use protocol::v1;
use protocol::v1::heartbeat::State;
use service::Shutdown;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::weight::Strength;
use crate::lease::Lease;

/// What heartbeats tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Beat {
    /// The run, or the default without one.
    pub(super) run: Option<protocol::id::RunId>,
    pub(super) state: State,
    pub(super) phase: u32,
    pub(super) load_threads: u32,
    pub(super) incarnation: Option<IncarnationId>,
    pub(super) epoch: u32,
    /// How long the worker may send after what has reached the bus.
    pub(super) term: Duration,
}

/// What heartbeats need beside what they tell.
#[derive(Clone)]
pub(super) struct Pulse {
    pub(super) bus: Bus,
    pub(super) worker: WorkerId,
    pub(super) every: Duration,
    pub(super) clock: SchedulerClock,
    /// Where the worker runs, for people.
    pub(super) host: String,
    pub(super) strength: Strength,
    /// Renewed when the bus answers; `None` in one process.
    pub(super) lease: Option<Lease>,
}

/// The heartbeat thread; ends with its drop.
pub(super) struct Heartbeats {
    beat: watch::Sender<Beat>,
    stop: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeats {
    /// Begins with a heartbeat at once, then one every `every`.
    pub(super) fn start(pulse: Pulse, beat: Beat) -> io::Result<Self> {
        let (sender, beats) = watch::channel(beat);
        let stop = Shutdown::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            runtime.block_on(async {
                let mut last = beats.clone();
                tokio::select! {
                    () = stopped.triggered() => {}
                    () = tell(&pulse, beats) => {}
                }
                // A worker that ends says so, lest a run count on it.
                if last.borrow_and_update().state == State::Leaving && pulse.lease.is_some() {
                    let word = beat_once(&pulse, &mut last);
                    // A bus that does not take it is no reason to stay.
                    let _ = tokio::time::timeout(pulse.every, word).await;
                }
            });
        })?;
        Ok(Self { beat: sender, stop, thread: Some(thread) })
    }

    /// What they tell from now on.
    pub(super) fn say(&self, beat: Beat) {
        self.beat.send_if_modified(|now| std::mem::replace(now, beat) != beat);
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.stop.trigger("the worker ends");
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but the signal.
            let _ = thread.join();
        }
    }
}

async fn tell(pulse: &Pulse, mut beats: watch::Receiver<Beat>) {
    let mut ticks = interval(pulse.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Whoever waits for a change need not wait for the next beat.
            Ok(()) = beats.changed() => {}
        }
        let result = beat_once(pulse, &mut beats).await;
        // Once a stretch: a heartbeat that is lost is followed by another.
        if let Err(error) = &result
            && !failing
        {
            tracing::warn!(%error, "heartbeats cannot be sent");
        }
        failing = result.is_err();
    }
}

/// Says how things stand; where a lease depends on it, waits until that has arrived.
async fn beat_once(pulse: &Pulse, beats: &mut watch::Receiver<Beat>) -> Result<(), BusError> {
    let Pulse { bus, worker, every, clock, host, strength, lease } = pulse;
    let Beat { run, state, phase, load_threads, incarnation, epoch, term } = *beats.borrow_and_update();
    let offset = clock.offset();
    let heartbeat = v1::Heartbeat {
        worker: worker.to_bytes(),
        run: run.map(protocol::id::RunId::to_bytes).unwrap_or_default(),
        state: state.into(),
        phase,
        load_threads,
        sent_unix_ns: u64::try_from(clock.unix_ns()).unwrap_or(0),
        host: host.clone(),
        incarnation: incarnation.map(IncarnationId::to_bytes).unwrap_or_default(),
        epoch,
        clock_offset_ns: offset.map(|offset| offset.ns),
        clock_error_ns: offset.map_or(0, |offset| offset.error_ns),
        weight: strength.weight,
        thread_speed: strength.thread_speed,
    };
    let sent = Instant::now();
    bus.broadcast(&heartbeat).await?;
    if let Some(lease) = lease
        && bus.round_trip(*every).await.is_ok()
    {
        lease.renew(sent, term, Instant::now());
    }
    Ok(())
}

/// The machine's name.
pub(super) fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|h| h.trim().to_owned()).unwrap_or_default()
}
