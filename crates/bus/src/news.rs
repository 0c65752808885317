//! What happens in a run, told as records: in order, each once, durable.

use std::time::Duration;

use protocol::event::Event;
use protocol::id::{IncarnationId, RunId};
use protocol::message::Tells;
use service::{OnError, Shutdown, Tasks};
use store::RecordKey;
use tokio::sync::{mpsc, oneshot};

use crate::{Bus, BusError, RecordError};

/// News that wait for the log; when there are more, those who tell wait, too.
const QUEUE: usize = 1_024;
/// The pause before a record is tried again that the log did not take; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Tells of a run. Clones tell in one sequence; it ends with the last one.
#[derive(Clone, Debug)]
pub struct News {
    queue: mpsc::Sender<Said>,
}

#[derive(Debug)]
struct Said {
    /// `None` = nothing is told, only waited for.
    event: Option<(i64, Event)>,
    durable: oneshot::Sender<u64>,
}

/// Something that was told, and may not be durable yet.
#[derive(Debug)]
pub struct Told {
    durable: oneshot::Receiver<u64>,
}

impl Told {
    /// The number of the last record once it is durable; `None` = it will not be, for the service is ending.
    pub async fn durable(self) -> Option<u64> {
        self.durable.await.ok()
    }

    /// As [`Told::durable`], at most so long; `None` also = it is not durable by then.
    pub async fn durable_within(self, longest: Duration) -> Option<u64> {
        tokio::time::timeout(longest, self.durable()).await.ok()?
    }
}

impl News {
    /// Begins to tell of a run by records `R`, counting from 1 under an incarnation of its own. `name` is that of its task, as
    /// in `fault news`. From `end` on, a log that takes nothing is not waited for any more.
    pub fn start<R: Tells>(name: &'static str, run: RunId, bus: Bus, tasks: &Tasks, end: Shutdown) -> Self {
        let (queue, said) = mpsc::channel(QUEUE);
        let writer = Writer { name, run, bus, incarnation: IncarnationId::new(), sequence: 0, end };
        // Without it nobody learns what is done.
        tasks.spawn(name, OnError::ShutDown, writer.write::<R>(said));
        Self { queue }
    }

    /// Tells something that happened at an instant of the scheduler's clock, Unix nanoseconds.
    pub async fn say(&self, at_unix_ns: i64, event: Event) -> Told {
        self.enqueue(Some((at_unix_ns, event))).await
    }

    /// All that was told so far.
    pub async fn all(&self) -> Told {
        self.enqueue(None).await
    }

    async fn enqueue(&self, event: Option<(i64, Event)>) -> Told {
        let (durable, told) = oneshot::channel();
        // Without a writer the service is ending, and nobody will say that it is durable.
        let _ = self.queue.send(Said { event, durable }).await;
        Told { durable: told }
    }
}

struct Writer {
    name: &'static str,
    run: RunId,
    bus: Bus,
    incarnation: IncarnationId,
    sequence: u64,
    end: Shutdown,
}

impl Writer {
    async fn write<R: Tells>(mut self, mut said: mpsc::Receiver<Said>) -> Result<(), String> {
        while let Some(Said { event, durable }) = said.recv().await {
            if let Some((at_unix_ns, event)) = event {
                let event_json = serde_json::to_string(&event).map_err(|error| error.to_string())?;
                self.sequence += 1;
                if !self.append(&R::new(self.run, self.sequence, at_unix_ns, event_json)).await? {
                    // Nobody is told that what follows is durable.
                    return Ok(());
                }
            }
            // Few wait for it.
            let _ = durable.send(self.sequence);
        }
        Ok(())
    }

    /// Until the log takes it: what is told may wait, but is not lost. `false` = the service ends before that.
    async fn append<R: Tells>(&self, news: &R) -> Result<bool, String> {
        let Self { name, run, sequence, .. } = self;
        let key = RecordKey {
            producer: *run.as_bytes(),
            incarnation: *self.incarnation.as_bytes(),
            sequence: *sequence,
            part: 0,
        };
        let mut pause = PAUSE;
        loop {
            match self.bus.record(&key, news).await {
                Ok(()) => return Ok(true),
                Err(RecordError::Bus(error @ BusError::TooLarge { .. })) => return Err(error.to_string()),
                Err(error) if pause == PAUSE => {
                    tracing::warn!(%error, %run, "{name} cannot be recorded now and wait");
                }
                Err(_) => {}
            }
            tokio::select! {
                biased;
                () = self.end.triggered() => {
                    tracing::error!(%run, sequence, "{name} are lost with this service's end");
                    return Ok(false);
                }
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
