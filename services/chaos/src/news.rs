//! What happens to faults, told as records: in order, each once, durable.

use std::time::Duration;

use bus::{Bus, RecordError};
use protocol::event::Event;
use protocol::id::{IncarnationId, RunId};
use protocol::v1;
use service::{OnError, Tasks};
use store::RecordKey;
use tokio::sync::{mpsc, oneshot};

/// News that wait for the log; when there are more, faults wait, too.
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
struct Said {
    /// `None` = nothing is told, only waited for.
    event: Option<(i64, Event)>,
    durable: oneshot::Sender<u64>,
}

/// Something that was told, and may not be durable yet.
#[derive(Debug)]
pub(crate) struct Told {
    durable: oneshot::Receiver<u64>,
}

impl Told {
    /// The number of the last record once it is durable, at most so long; `None` = it is not by then.
    pub(crate) async fn durable(self, within: Duration) -> Option<u64> {
        tokio::time::timeout(within, self.durable).await.ok()?.ok()
    }
}

impl News {
    /// Begins to tell of a run, counting from 1 under an incarnation of its own.
    pub(crate) fn new(run: RunId, bus: Bus, tasks: &Tasks) -> Self {
        let (queue, said) = mpsc::channel(QUEUE);
        let writer = Writer { run, bus, incarnation: IncarnationId::new(), sequence: 0 };
        tasks.spawn("fault news", OnError::ShutDown, writer.write(said));
        Self { queue }
    }

    /// Tells something that happened at an instant of the scheduler's clock.
    pub(crate) async fn say(&self, at_unix_ns: i64, event: Event) -> Told {
        self.enqueue(Some((at_unix_ns, event))).await
    }

    /// Waits until all that was told is durable; the number of its last record.
    pub(crate) async fn flush(&self, within: Duration) -> Option<u64> {
        self.enqueue(None).await.durable(within).await
    }

    async fn enqueue(&self, event: Option<(i64, Event)>) -> Told {
        let (durable, told) = oneshot::channel();
        // Without a writer the service is ending, and nobody will say that it is durable.
        let _ = self.queue.send(Said { event, durable }).await;
        Told { durable: told }
    }
}

struct Writer {
    run: RunId,
    bus: Bus,
    incarnation: IncarnationId,
    sequence: u64,
}

impl Writer {
    async fn write(mut self, mut said: mpsc::Receiver<Said>) -> Result<(), String> {
        while let Some(Said { event, durable }) = said.recv().await {
            if let Some((at_unix_ns, event)) = event {
                let event_json = serde_json::to_string(&event).map_err(|error| error.to_string())?;
                self.sequence += 1;
                let (run, sequence) = (self.run.to_bytes(), self.sequence);
                self.append(&v1::FaultNews { run, sequence, at_unix_ns, event_json }).await?;
            }
            // Few wait for it.
            let _ = durable.send(self.sequence);
        }
        Ok(())
    }

    /// Until the log takes it: what is told of a fault may wait, but is not lost.
    async fn append(&self, news: &v1::FaultNews) -> Result<(), String> {
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
                Err(RecordError::Bus(error @ bus::BusError::TooLarge { .. })) => {
                    return Err(error.to_string());
                }
                Err(error) if pause == PAUSE => {
                    tracing::warn!(%error, "news of faults cannot be recorded now and wait");
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
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
