//! The ways that load takes to targets: through the fault proxy in some phases, else directly.

use std::collections::BTreeMap;

use fault_proxy::client::{Client, ClientError};
use protocol::v1;

/// Detours and the proxy that makes them, as chaos answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    proxy: Option<Client>,
    detours: BTreeMap<(String, usize), Detour>,
}

#[derive(Clone, Debug)]
struct Detour {
    address: String,
    phases: Vec<u32>,
}

impl Route {
    /// What a command says.
    ///
    /// # Errors
    /// When the URL of the proxy's API is none.
    pub(crate) fn new(open: &v1::OpenRecovery) -> Result<Self, ClientError> {
        let token = Some(open.proxy_token.as_str()).filter(|token| !token.is_empty());
        let proxy = match open.proxy_url.as_str() {
            "" => None,
            url => Some(Client::new(url, token)?),
        };
        let detours = open.detours.iter().map(|detour| {
            let v1::Detour { target, endpoint, address, phases } = detour.clone();
            ((target, endpoint as usize), Detour { address, phases })
        });
        Ok(Self { proxy, detours: detours.collect() })
    }

    /// The address by which load reaches an instance in a phase; `None` = its own.
    pub(crate) fn by(&self, target: &str, instance: usize, phase: Option<u32>) -> Option<String> {
        let detour = self.detours.get(&(target.to_owned(), instance))?;
        phase.filter(|phase| detour.phases.contains(phase)).map(|_| detour.address.clone())
    }

    /// Whether load can be led elsewhere in any phase.
    pub(crate) fn leads(&self, target: &str, instance: usize) -> bool {
        self.proxy.is_some() && self.detours.contains_key(&(target.to_owned(), instance))
    }

    /// What changes the way of an instance's load: the proxy's API, and the proxy's name there.
    pub(crate) fn proxy(&self, target: &str, instance: usize) -> Option<(Client, String)> {
        Some((self.proxy.clone()?, format!("{target}-{instance}")))
    }
}
