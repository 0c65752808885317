//! The command by which recovery has less load sent, and all of it again.

use std::sync::Arc;

use bus::{Address, BusError};
use protocol::id::RunId;
use protocol::v1;
use service::{OnError, Shutdown};

use crate::control::{Action, shed_by};
use crate::service_loop::{Service, next_until};

impl Service {
    /// Serves the command.
    ///
    /// # Errors
    /// When the bus refuses.
    pub(crate) async fn spawn_shedding(self: &Arc<Self>, until: &Shutdown) -> Result<(), BusError> {
        let mut requests = self.bus.serve::<v1::ShedLoad>(Address::Service).await?;
        let (service, end) = (Arc::clone(self), until.clone());
        self.tasks.spawn("shed-load commands", OnError::ShutDown, async move {
            while let Some(request) = next_until(&end, requests.next()).await {
                let refused = service.shed(&request.body).await.err().unwrap_or_default();
                request.reply(Ok(v1::ShedLoadReply { refused }));
            }
            Ok::<(), String>(())
        });
        Ok(())
    }

    async fn shed(&self, command: &v1::ShedLoad) -> Result<(), String> {
        let v1::ShedLoad { run, incident, keep } = command;
        if !(0.0..=1.0).contains(keep) {
            return Err(format!("keep {keep} is no share of the wanted rate: expected 0 to 1"));
        }
        let run = RunId::from_bytes(run)?;
        match self.control(run, Action::Shed(*keep), shed_by(incident)).await {
            Ok(()) => Ok(()),
            // A run that is over sends nothing: of that all is sent.
            Err(_) if *keep >= 1.0 => Ok(()),
            Err(refusal) => Err(refusal.text),
        }
    }
}
