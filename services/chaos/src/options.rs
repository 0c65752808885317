//! What can be chosen about the service.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use bus::SchedulerClock;
use tokio::sync::oneshot;

/// How long tasks may take to end once all faults have.
pub(crate) const FINISH: Duration = Duration::from_secs(2);

/// How the service is set up.
#[derive(Debug)]
pub struct Options {
    /// Where the fault agent's journal and the proxy's files are, across restarts. One service at a time uses it.
    pub state_dir: PathBuf,
    /// The fault agent's program, and arguments before its own: `[gauntlet, fault-agent]`.
    pub agent: Vec<OsString>,
    /// The fault proxy's, likewise.
    pub proxy: Vec<OsString>,
    /// Where the proxy listens, for load and for its API. Default loopback. Load has no token: whoever reaches another
    /// address reaches the targets through it.
    pub proxy_address: IpAddr,
    /// By which name workers and recovery reach the proxy; `None` = by its address.
    pub proxy_host: Option<String>,
    /// How long a fault outlives this service when it dies. Default 5 s.
    pub lease: Duration,
    /// How long the proxy outlives this service when it dies, so that load has a way meanwhile. Default 30 s.
    pub proxy_lease: Duration,
    /// How the scheduler's clock is known here.
    pub clock: SchedulerClock,
    /// Is told when commands are served.
    pub ready: Option<oneshot::Sender<()>>,
}

impl Options {
    /// The defaults, with the programs that carry faults out.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        agent: impl IntoIterator<Item = impl Into<OsString>>,
        proxy: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            state_dir: state_dir.into(),
            agent: agent.into_iter().map(Into::into).collect(),
            proxy: proxy.into_iter().map(Into::into).collect(),
            proxy_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            proxy_host: None,
            lease: Duration::from_secs(5),
            proxy_lease: Duration::from_secs(30),
            clock: SchedulerClock::default(),
            ready: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let options = Options::new("state", ["agent"], ["proxy"]);
        assert!(options.proxy_address.is_loopback() && options.proxy_host.is_none());
        assert_eq!((options.lease, options.proxy_lease), (Duration::from_secs(5), Duration::from_secs(30)));
        assert_eq!(options.clock.offset(), None);
    }
}
