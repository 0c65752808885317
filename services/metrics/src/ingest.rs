//! Samples and guest faults: applied once, acknowledged after the commit; those that wait together.

use std::collections::BTreeSet;
use std::sync::Arc;

use bus::{Delivery, Records};
use prost::Message as _;
use protocol::id::RunId;
use protocol::message::Record;
use protocol::v1;
use service::{OnError, Tasks};
use store::Sample;

use crate::Error;
use crate::note;
use crate::service_state::Service;
use crate::state::Decoded;

/// Under this name the logs know how far we are.
const CONSUMER: &str = "metrics";

/// Records applied in one transaction at most: much of its price is the same whatever is in it. Not more, for on a slow
/// database all of them have to be through within the store's patience.
const AT_ONCE: usize = 32;

/// Begins to consume.
pub(crate) async fn start(service: &Arc<Service>, tasks: &Tasks) -> Result<(), Error> {
    let samples: Records<v1::SampleBatch> = service.bus.consume(CONSUMER).await?;
    let faults: Records<v1::GuestFault> = service.bus.consume(CONSUMER).await?;
    let of_samples = consume(Arc::clone(service), samples, Service::apply_batches);
    let of_faults = consume(Arc::clone(service), faults, Service::apply_faults);
    // Without samples nothing can be said of any run.
    tasks.spawn("samples", OnError::ShutDown, of_samples);
    tasks.spawn("guest faults", OnError::ShutDown, of_faults);
    Ok(())
}

async fn consume<R: Record>(
    service: Arc<Service>,
    mut records: Records<R>,
    apply: impl AsyncFn(&Service, &mut [Delivery<R>]) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let batch = tokio::select! {
            biased;
            () = service.shutdown.triggered() => return Ok(()),
            batch = records.next_batch(AT_ONCE) => batch,
        };
        let Some(mut batch) = batch else { return Ok(()) };
        apply(&service, &mut batch).await?;
        Delivery::ack_all(batch).await?;
    }
}

/// The run that a record is of; one of none is told and skipped.
fn run_of<R: Record>(delivery: &Delivery<R>) -> Option<RunId> {
    RunId::from_bytes(delivery.body.run())
        .inspect_err(|error| tracing::error!(%error, key = ?delivery.key, "a record of no run is skipped"))
        .ok()
}

impl Service {
    async fn apply_batches(&self, batches: &mut [Delivery<v1::SampleBatch>]) -> Result<(), Error> {
        let mut samples = Vec::with_capacity(batches.len());
        let mut taken = Vec::with_capacity(batches.len());
        for delivery in batches {
            let Some(run) = run_of(delivery) else { continue };
            let (key, batch) = (delivery.key, std::mem::take(&mut delivery.body));
            samples.push(Sample { run, phase: batch.phase, key, blob: batch.encode_to_vec() });
            taken.push((run, key, batch));
        }
        let in_step = self.in_step.lock().await;
        for run in samples.iter().map(|sample| sample.run).collect::<BTreeSet<_>>() {
            self.load(run).await?;
        }
        // Whenever the store is waited for, the next one is read.
        let read = async {
            let mut read = Vec::with_capacity(taken.len());
            for (run, key, batch) in taken {
                read.push((run, key, batch.phase, Decoded::new(key, batch)));
                tokio::task::yield_now().await;
            }
            read
        };
        let (kept, read) = tokio::join!(biased; self.store.apply_samples(samples), read);
        for ((run, key, phase, decoded), new) in read.into_iter().zip(kept?) {
            if !new {
                tracing::debug!(%run, phase, ?key, "a batch came again: it counts already");
                continue;
            }
            let mut runs = self.runs();
            // One that made room for others since is read from the store when it is asked for.
            let Some(known) = runs.get_mut(run) else { continue };
            match decoded {
                Ok(part) => known.add(&part),
                Err(error) => {
                    tracing::error!(%run, phase, ?key, %error, "a batch cannot be read: it is listed as a gap");
                    known.add_damaged(phase, &key, &error);
                }
            }
        }
        drop(in_step);
        self.fresh.notify_one();
        Ok(())
    }

    async fn apply_faults(&self, faults: &mut [Delivery<v1::GuestFault>]) -> Result<(), Error> {
        let in_step = self.in_step.lock().await;
        for delivery in faults {
            let Some(run) = run_of(delivery) else { continue };
            self.load(run).await?;
            let new = note::keep_fault(&self.store, run, &delivery.key, &delivery.body).await?;
            if new && let Some(known) = self.runs().get_mut(run) {
                known.exposed.add_fault(&delivery.body);
            }
        }
        drop(in_step);
        Ok(())
    }
}
