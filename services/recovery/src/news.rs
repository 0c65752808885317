//! What recovery sees and does, told as records: in order, each once, durable.

use std::time::Duration;

use bus::{Bus, BusError, RecordError};
use protocol::event::Event;
use protocol::id::{IncarnationId, RunId};
use protocol::v1;
use service::{OnError, Shutdown, Tasks};
use store::RecordKey;
use tokio::sync::{mpsc, oneshot};

/// News that wait for the log; when there are more, those who tell wait, too.
const QUEUE: usize = 1_024;
/// The pause before a record is tried again that the log did not take; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Tells of a run. Clones tell in one sequence; it ends with the last one.
#[derive(Clone, Debug)]
pub(crate) struct News {
    queue: mpsc::Sender<Said>,
}

#[derive(Debug)]
enum Said {
    /// At this stamp this happened.
    Happened(i64, Event),
    /// Everything before is durable once this is answered, with the number of the last record.
    Flush(oneshot::Sender<u64>),
}

impl News {
    /// Begins to tell of a run, counting from 1 under an incarnation of its own.
    pub(crate) fn start(run: RunId, bus: Bus, tasks: &Tasks, stop: Shutdown) -> Self {
        let (queue, said) = mpsc::channel(QUEUE);
        let writer = Writer { run, bus, incarnation: IncarnationId::new(), sequence: 0, stop };
        // Without it nobody learns what recovery does.
        tasks.spawn("recovery news", OnError::ShutDown, writer.write(said));
        Self { queue }
    }

    /// Tells something that happened at this stamp.
    pub(crate) async fn say(&self, at_unix_ns: i64, event: Event) {
        // Without a writer the service is ending, and nothing can be told any more.
        let _ = self.queue.send(Said::Happened(at_unix_ns, event)).await;
    }

    /// Waits until all that was told is durable: the number of its last record; `None` = the service is ending.
    pub(crate) async fn durable(&self) -> Option<u64> {
        let (durable, told) = oneshot::channel();
        self.queue.send(Said::Flush(durable)).await.ok()?;
        told.await.ok()
    }
}

struct Writer {
    run: RunId,
    bus: Bus,
    incarnation: IncarnationId,
    sequence: u64,
    /// The service ends: a log that takes nothing is not waited for any more.
    stop: Shutdown,
}

impl Writer {
    async fn write(mut self, mut said: mpsc::Receiver<Said>) -> Result<(), String> {
        while let Some(said) = said.recv().await {
            match said {
                Said::Happened(at_unix_ns, event) => {
                    let event_json = serde_json::to_string(&event).map_err(|error| error.to_string())?;
                    self.sequence += 1;
                    let (run, sequence) = (self.run.to_bytes(), self.sequence);
                    self.append(&v1::RecoveryNews { run, sequence, at_unix_ns, event_json }).await?;
                }
                Said::Flush(durable) => {
                    // Who asked may not wait any more.
                    let _ = durable.send(self.sequence);
                }
            }
        }
        Ok(())
    }

    /// Until the log takes it, or the service ends.
    async fn append(&self, news: &v1::RecoveryNews) -> Result<(), String> {
        let key = RecordKey {
            producer: bytes(&self.run.to_bytes()),
            incarnation: bytes(&self.incarnation.to_bytes()),
            sequence: news.sequence,
            part: 0,
        };
        let mut pause = PAUSE;
        loop {
            match self.bus.record(&key, news).await {
                Ok(()) => return Ok(()),
                Err(RecordError::Bus(error @ BusError::TooLarge { .. })) => return Err(error.to_string()),
                Err(error) if pause == PAUSE => {
                    tracing::warn!(%error, run = %self.run, "news of recovery cannot be recorded now and wait");
                }
                Err(_) => {}
            }
            tokio::select! {
                biased;
                () = self.stop.triggered() => {
                    tracing::error!(run = %self.run, sequence = news.sequence, "news of recovery are lost with this service's end");
                    return Ok(());
                }
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn bytes(id: &[u8]) -> [u8; 16] {
    let mut all = [0; 16];
    for (to, from) in all.iter_mut().zip(id) {
        *to = *from;
    }
    all
}
