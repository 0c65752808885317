//! What chaos tells of faults: incidents are explained by it.

use std::sync::Arc;

use ::service::{OnError, Tasks};
use bus::Records;
use protocol::event::Event;
use protocol::id::RunId;
use protocol::v1;

use crate::Error;
use crate::service::Service;

/// Under this name the log knows how far we are.
const CONSUMER: &str = "recovery";

/// Begins to consume.
pub(crate) async fn start(service: &Arc<Service>, tasks: &Tasks) -> Result<(), Error> {
    let news: Records<v1::FaultNews> = service.bus.consume(CONSUMER).await?;
    // Without them every incident would be the target's own.
    tasks.spawn("fault news", OnError::ShutDown, consume(Arc::clone(service), news));
    Ok(())
}

async fn consume(service: Arc<Service>, mut news: Records<v1::FaultNews>) -> Result<(), Error> {
    loop {
        let delivery = tokio::select! {
            biased;
            () = service.shutdown.triggered() => return Ok(()),
            delivery = news.next() => delivery,
        };
        let Some(delivery) = delivery else { return Ok(()) };
        let v1::FaultNews { run, at_unix_ns, event_json, .. } = &delivery.body;
        // A repeat changes nothing: what is known of a fault is the same after it.
        match (RunId::from_bytes(run), serde_json::from_str::<Event>(event_json)) {
            (Ok(run), Ok(event)) => {
                if let Some(run) = service.find(run) {
                    run.fault_told(*at_unix_ns, &event);
                }
            }
            (run, event) => {
                let wrong =
                    run.err().map(|error| error.to_string()).or_else(|| Some(event.err()?.to_string()));
                tracing::error!(?wrong, key = ?delivery.key, "news of a fault cannot be read and are skipped");
            }
        }
        delivery.ack().await?;
    }
}
