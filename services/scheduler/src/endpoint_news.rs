//! What load-workers tell of the endpoints that they use no more, or again: for the history of the run.

use std::sync::Arc;

use bus::BusError;
use protocol::event::Event;
use protocol::id::WorkerId;
use protocol::v1;
use service::{OnError, Shutdown};

use crate::service_loop::{Service, next_until};

impl Service {
    /// Takes the records in.
    ///
    /// # Errors
    /// When the bus refuses.
    pub(crate) async fn spawn_endpoint_news(self: &Arc<Self>, until: &Shutdown) -> Result<(), BusError> {
        let mut news = self.bus.consume::<v1::EndpointNews>("scheduler").await?;
        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("endpoint news", OnError::ShutDown, async move {
            while let Some(delivery) = next_until(&end, news.next()).await {
                service.note_endpoint(&delivery.body).await?;
                delivery.ack().await.map_err(|error| error.to_string())?;
            }
            Ok::<(), String>(())
        });
        Ok(())
    }

    /// Puts a change into the history of its run. Workers bound how many they tell.
    async fn note_endpoint(&self, news: &v1::EndpointNews) -> Result<(), String> {
        const WHAT: &str = "endpoint news";
        let history = {
            let active = self.active.lock().await;
            let of_run = active.as_ref().filter(|active| active.id.to_bytes() == news.run);
            of_run.map(|active| active.history.clone())
        };
        let Some(history) = history else {
            self.dropped.note(WHAT, &news.run, "the run is over");
            return Ok(());
        };
        let event = Event::EndpointChanged {
            phase: news.phase,
            target: news.target.clone(),
            endpoint: news.endpoint.clone(),
            worker: WorkerId::from_bytes(&news.worker).map(|id| id.to_string()).unwrap_or_default(),
            out: news.out,
            cause: news.cause.clone(),
            detail: news.detail.clone(),
        };
        let now = self.clock.unix_ns();
        if !history.append_from("load-worker", now, event).await.map_err(|error| error.to_string())? {
            self.dropped.note(WHAT, &news.run, "the run has ended");
        }
        Ok(())
    }
}
