//! A whole circle in one process: the experts, and the orchestrators that ask them, each on a port of its own.

use futures::FutureExt as _;
use futures::future::try_join_all;
use serving::Target as _;
use tokio::sync::oneshot;

use crate::orchestrator::{self, Orchestrator};
use crate::server::{self, Server, ServerError};

/// How a circle is set up.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Replicas of the orchestrator, 1 at least.
    pub orchestrators: u16,
    /// The experts. With a port, the orchestrators take those that follow it.
    pub experts: server::Options,
    /// What the orchestrators have in common. Whom they ask is filled in, and so are their ports.
    pub orchestrator: orchestrator::Options,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            orchestrators: 3,
            experts: server::Options::default(),
            orchestrator: orchestrator::Options::default(),
        }
    }
}

/// Why a circle could not be started or went down.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The experts.
    #[error(transparent)]
    Experts(#[from] ServerError),
    /// One of the orchestrators.
    #[error(transparent)]
    Orchestrator(#[from] orchestrator::Error),
    /// There are fewer ports behind the first one than orchestrators.
    #[error(
        "port {first}: the orchestrators take the {orchestrators} ports behind it, and 65535 is the last one there is"
    )]
    Ports {
        /// Of the experts.
        first: u16,
        /// How many ports follow it.
        orchestrators: u16,
    },
}

/// Bound, and not yet serving.
pub struct Fleet {
    experts: Server,
    orchestrators: Vec<Orchestrator>,
}

impl Fleet {
    /// Binds all ports.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn bind(shape: Shape) -> Result<Self, Error> {
        let Shape { orchestrators: count, experts, orchestrator } = shape;
        let first = experts.port;
        if first.checked_add(count).is_none() {
            return Err(Error::Ports { first, orchestrators: count });
        }
        let experts = Server::bind(experts).await?;
        let lists = vec![format!("http://{}", experts.address())];
        let mut orchestrators = Vec::with_capacity(count.into());
        for n in 1..=count {
            let port = if first == 0 { 0 } else { first + n };
            let options = orchestrator::Options { port, lists: lists.clone(), ..orchestrator.clone() };
            orchestrators.push(Orchestrator::bind(options).await?);
        }
        Ok(Self { experts, orchestrators })
    }

    /// The experts.
    #[must_use]
    pub fn experts(&self) -> &Server {
        &self.experts
    }

    /// The orchestrators.
    #[must_use]
    pub fn orchestrators(&self) -> &[Orchestrator] {
        &self.orchestrators
    }

    /// Serves until `stop` ends, and lets questions in progress finish: the experts go on until no orchestrator is left.
    ///
    /// # Errors
    /// The first of any, which ends all.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let stop = stop.shared();
        let (left, none_left) = oneshot::channel::<()>();
        let asking = async {
            try_join_all(self.orchestrators.into_iter().map(|one| one.run(stop.clone()))).await?;
            drop(left);
            Ok(())
        };
        let answering = async {
            let all_gone = async {
                let _ = none_left.await;
            };
            self.experts.run(all_gone).await.map_err(Error::from)
        };
        tokio::try_join!(asking, answering).map(drop)
    }
}
