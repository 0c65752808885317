//! Samples and guest faults: applied once, acknowledged after the commit.

use std::sync::Arc;

use bus::{Delivery, Records};
use prost::Message as _;
use protocol::id::RunId;
use protocol::message::Record;
use protocol::v1;
use service::{OnError, Tasks};

use crate::Error;
use crate::note;
use crate::service_state::Service;
use crate::state::Decoded;

/// Under this name the logs know how far we are.
const CONSUMER: &str = "metrics";

/// Begins to consume.
pub(crate) async fn start(service: &Arc<Service>, tasks: &Tasks) -> Result<(), Error> {
    let samples: Records<v1::SampleBatch> = service.bus.consume(CONSUMER).await?;
    let faults: Records<v1::GuestFault> = service.bus.consume(CONSUMER).await?;
    let of_samples = consume(Arc::clone(service), samples, Service::apply_batch);
    let of_faults = consume(Arc::clone(service), faults, Service::apply_fault);
    // Without samples nothing can be said of any run.
    tasks.spawn("samples", OnError::ShutDown, of_samples);
    tasks.spawn("guest faults", OnError::ShutDown, of_faults);
    Ok(())
}

async fn consume<R: Record>(
    service: Arc<Service>,
    mut records: Records<R>,
    apply: impl AsyncFn(&Service, RunId, &Delivery<R>) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let delivery = tokio::select! {
            biased;
            () = service.shutdown.triggered() => return Ok(()),
            delivery = records.next() => delivery,
        };
        let Some(delivery) = delivery else { return Ok(()) };
        match RunId::from_bytes(delivery.body.run()) {
            Ok(run) => apply(&service, run, &delivery).await?,
            Err(error) => tracing::error!(%error, key = ?delivery.key, "a record of no run is skipped"),
        }
        delivery.ack().await?;
    }
}

impl Service {
    async fn apply_batch(&self, run: RunId, delivery: &Delivery<v1::SampleBatch>) -> Result<(), Error> {
        let (key, batch) = (delivery.key, &delivery.body);
        let phase = batch.phase;
        // Read before the lock: it is most of the work.
        let decoded = Decoded::new(key, batch.clone());
        let in_step = self.in_step.lock().await;
        self.load(run).await?;
        if !self.store.apply_sample(run, phase, &key, batch.encode_to_vec()).await? {
            tracing::debug!(%run, phase, ?key, "a batch came again: it counts already");
            return Ok(());
        }
        if let Some(known) = self.runs().get_mut(run) {
            match &decoded {
                Ok(part) => known.add(part),
                Err(error) => {
                    tracing::error!(%run, phase, ?key, %error, "a batch cannot be read: it is listed as a gap");
                    known.add_damaged(phase, &key, error);
                }
            }
        }
        drop(in_step);
        self.fresh.notify_one();
        Ok(())
    }

    async fn apply_fault(&self, run: RunId, delivery: &Delivery<v1::GuestFault>) -> Result<(), Error> {
        let in_step = self.in_step.lock().await;
        self.load(run).await?;
        let new = note::keep_fault(&self.store, run, &delivery.key, &delivery.body).await?;
        if new && let Some(known) = self.runs().get_mut(run) {
            known.exposed.add_fault(&delivery.body);
        }
        drop(in_step);
        Ok(())
    }
}
