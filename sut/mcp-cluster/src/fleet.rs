//! A whole cluster in one process: a server of each type in each region, each on ports of its own.

use std::time::Duration;

use futures::future::try_join_all;
use serving::process::Grace;
use serving::traces::Traces;
use tokio_util::sync::CancellationToken;

use crate::members::{Kind, Members};
use crate::server::{Options, Server, ServerError};

/// The regions that a cluster begins with; the third is the standby.
const REGIONS: [&str; 3] = ["us-east-1", "eu-west-1", "ap-southeast-1"];

/// How a cluster is set up.
#[derive(Clone, Debug)]
pub struct Shape {
    /// How many regions.
    pub regions: usize,
    /// Servers in each; the types go round.
    pub servers_per_region: usize,
    /// Copies of each object.
    pub replication: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { regions: REGIONS.len(), servers_per_region: Kind::ALL.len(), replication: 3 }
    }
}

/// Bound servers that know each other.
pub struct Fleet {
    servers: Vec<Server>,
    grace: Duration,
    traces: Traces,
    members: Members,
}

impl Fleet {
    /// Binds all servers. What they have in common is in `options`: with a port, they take as many ports from there on as there
    /// are servers, for clients, and as many again, for each other.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(shape: &Shape, options: Options) -> Result<Self, ServerError> {
        let count = shape.regions * shape.servers_per_region;
        let mut servers = Vec::with_capacity(count);
        let port = |first: u16, n: usize| -> Result<u16, ServerError> {
            if first == 0 {
                return Ok(0);
            }
            let last = usize::from(first) + n;
            u16::try_from(last).map_err(|_| ServerError::Options(format!("port: {last} is above 65535")))
        };
        // One token for all, drawn here if none was given.
        let peer_token = match options.peer_token.clone() {
            Some(token) => token,
            None => crate::server::token()?,
        };
        for n in 0..count {
            let (region, of_region) = (n / shape.servers_per_region, n % shape.servers_per_region);
            let region =
                REGIONS.get(region).map_or_else(|| format!("region-{}", region + 1), ToString::to_string);
            let kind = Kind::ALL[of_region % Kind::ALL.len()];
            let round = of_region / Kind::ALL.len();
            let name = match round {
                0 => format!("{region}-{kind}"),
                round => format!("{region}-{kind}-{}", round + 1),
            };
            let options = Options {
                name: Some(name),
                kind,
                region,
                port: port(options.port, n)?,
                peer_port: port(options.port, count + n)?,
                peer_token: Some(peer_token.clone()),
                members: None,
                ..options.clone()
            };
            servers.push(Server::bind(options).await?);
        }
        let all = servers.iter().map(|server| server.member().clone()).collect();
        let members = Members { replication: shape.replication, servers: all };
        for server in &servers {
            server.set_members(members.clone())?;
        }
        Ok(Self { servers, members, grace: options.grace, traces: options.traces })
    }

    /// The servers, with their addresses.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Serves until `stop` ends, and sends what spans there are; see [`Server::run`].
    ///
    /// # Errors
    /// The first of any server, which ends all.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let (stopped, grace) = (CancellationToken::new(), Grace::new(self.grace));
        let all = try_join_all(
            self.servers.into_iter().map(|server| server.serve(stopped.clone().cancelled_owned())),
        );
        let wait = async {
            grace.begins_with(stop).await;
            stopped.cancel();
            // The servers' own end is what is waited for.
            std::future::pending::<()>().await;
        };
        let served = tokio::select! {
            ended = all => ended.map(drop),
            () = wait => Ok(()),
        };
        self.traces.end(grace.left());
        served
    }
}
