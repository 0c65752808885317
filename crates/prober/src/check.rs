//! Is a target healthy?

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::{Client, Connector, Failure, Kind};

/// Which answers are those of a healthy target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expects {
    /// 2xx and 3xx (redirects are not followed): of a URL that is there to tell of health.
    Success,
    /// All below 500: of a base URL, which need not be a resource. Whatever answers on it is alive unless it says that it is
    /// broken.
    Alive,
}

impl Expects {
    /// Whether an answer of this status is a healthy target's.
    #[must_use]
    pub const fn accepts(self, status: u16) -> bool {
        match self {
            Self::Success => status < 400,
            Self::Alive => status < 500,
        }
    }

    /// What to say of a status that is not.
    #[must_use]
    pub fn complaint(self, status: u16) -> String {
        let expected = match self {
            Self::Success => "2xx or 3xx",
            Self::Alive => "below 500",
        };
        format!("answered {status}, expected {expected}")
    }
}

/// How to look at a target. Each look makes a connection of its own: one that was made before tells little of whether a
/// target takes new ones.
#[derive(Clone, Debug)]
pub struct Check {
    /// `http://…` or `https://…`; `tcp://host:port` = it accepts a connection.
    pub url: String,
    /// Which answers are good.
    pub expects: Expects,
    /// For `https`.
    pub connector: Connector,
    /// Where to connect to ([`Client::by`]) instead of the URL's own host; everything else stays the URL's.
    pub by: Option<String>,
    /// How long a look may take, from connecting to the last byte.
    pub timeout: Duration,
}

/// What a look at a healthy target saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthy {
    /// The status; `None` for TCP.
    pub status: Option<u16>,
    /// From connecting to the last byte.
    pub took: Duration,
}

impl Check {
    /// Looks once.
    ///
    /// # Errors
    /// Why it is not healthy.
    pub async fn look(&self) -> Result<Healthy, Failure> {
        let begun = Instant::now();
        let status = tokio::time::timeout(self.timeout, self.ask()).await.unwrap_or_else(|_| {
            Err(Failure::new(Kind::Silent, format!("no answer within {:?}", self.timeout)))
        })?;
        Ok(Healthy { status, took: begun.elapsed() })
    }

    async fn ask(&self) -> Result<Option<u16>, Failure> {
        if let Some(address) = self.url.strip_prefix("tcp://") {
            let address = self.by.as_deref().unwrap_or(address);
            let connected = TcpStream::connect(address).await;
            return connected.map(|_| None).map_err(|error| Failure::connecting(address, &error));
        }
        let mut client = Client::new(&self.url, &self.connector);
        if let Some(by) = &self.by {
            client = client.by(by);
        }
        let status = client.get().await?.status;
        if self.expects.accepts(status) {
            Ok(Some(status))
        } else {
            Err(Failure::new(Kind::Unhealthy, self.expects.complaint(status)))
        }
    }
}
