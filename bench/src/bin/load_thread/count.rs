//! A fixed number of requests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use load_worker::engine::{Generator, Source};
use load_worker::feeder::Feeder;
use load_worker::spec::{Endpoint, TlsSpec};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sandbox::{Fault, Guest, Host, HostConfig, Limits, abi};

use crate::Result;
use crate::get::gets;
use crate::rig::{Rig, Scenario, closed};

/// What the output of one call is made of, whether a native generator gives it away or a guest's is copied out of its memory:
/// arena, requests and finished users.
const ALLOCATIONS_A_CALL: u64 = 3;

/// Requests at a time on a connection of HTTP/2.
const STREAMS: u32 = 32;

/// What all turns may take; under valgrind each takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(600);

/// Two weighted steps, a row of the feeder for each arrival, a header by user, the status checked.
const CONFIG: &str = r#"{ "headers": { "x-user": "{user}" }, "steps": [
    { "name": "item", "weight": 3, "get": "/items/{id}", "feed": "items.csv", "feed-order": "random",
      "check": { "status": 200 } },
    { "name": "related", "weight": 1, "get": "/items/{id}/related", "feed": "items.csv", "feed-order": "random",
      "check": { "status": 200 } }] }"#;

/// How many rows the feeder has.
const ROWS: u32 = 10_000;

/// Makes a source's generators, and tells when so many turns have begun.
struct Counted {
    source: Arc<dyn Source>,
    turns: u64,
    reached: Sender<()>,
    calls: Arc<AtomicU64>,
}

impl Source for Counted {
    fn instantiate(
        &self,
        config: &str,
        seed: u64,
        users: u32,
    ) -> std::result::Result<Box<dyn Generator>, String> {
        Ok(Box::new(Counting {
            generator: self.source.instantiate(config, seed, users)?,
            turns: self.turns,
            begun: 0,
            reached: Some(self.reached.clone()),
            calls: Arc::clone(&self.calls),
        }))
    }
}

struct Counting {
    generator: Box<dyn Generator>,
    turns: u64,
    begun: u64,
    reached: Option<Sender<()>>,
    calls: Arc<AtomicU64>,
}

impl Generator for Counting {
    fn setup(&self) -> &abi::Setup {
        self.generator.setup()
    }

    fn step(
        &mut self,
        now_us: u64,
        starts: &[abi::Start],
        done: &[abi::Completion],
        arena: &[u8],
    ) -> std::result::Result<abi::Output, Fault> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.begun += starts.len() as u64;
        if self.begun >= self.turns
            && let Some(reached) = self.reached.take()
        {
            // Whoever does not listen needs to hear nothing.
            let _ = reached.send(());
        }
        self.generator.step(now_us, starts, done, arena)
    }
}

pub(crate) fn run(addr: SocketAddr, turns: u64, connections: u32, way: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (endpoint, http2, scenario) = match way {
        [] => (Endpoint::plain(addr), None, gets().into()),
        ["guest", guest, cache] => (Endpoint::plain(addr), None, guest_scenario(guest, cache, dir.path())?),
        ["tls", ca] => (over_tls(addr, ca, b"http/1.1")?, None, gets().into()),
        ["http2", ca] => (over_tls(addr, ca, b"h2")?, Some(STREAMS), gets().into()),
        _ => return Err("count wants nothing more, or guest GUEST.wasm CACHE, tls CA, http2 CA".into()),
    };
    let (reached, limit) = channel();
    let calls = Arc::<AtomicU64>::default();
    let guest = Arc::new(Counted { source: scenario.guest, turns, reached, calls: Arc::clone(&calls) });
    let rig = Rig::start(endpoint, http2, Scenario { guest, ..scenario })?;
    let users = connections * http2.unwrap_or(1);
    rig.begin(rig.phase(1, closed(users), Duration::from_secs(3_600), connections, users))?;
    limit.recv_timeout(PATIENCE).map_err(|_| "not so many turns within ten minutes")?;
    rig.tell_end(1);
    let (arrivals, _) = rig.ended()?;
    let calls = calls.load(Ordering::Relaxed);
    println!(
        "{}",
        serde_json::json!({
            "requests": arrivals.answered,
            "failed": arrivals.failed + arrivals.dropped,
            "allocations_of_outputs": calls * ALLOCATIONS_A_CALL,
        })
    );
    rig.join();
    Ok(())
}

/// The http guest, with a feeder.
fn guest_scenario(guest: &str, cache: &str, dir: &Path) -> Result<Scenario> {
    // Under callgrind a call takes fifty times as long.
    let patience = Duration::from_secs(60);
    let limits = Limits {
        call_deadline: patience,
        describe_deadline: patience,
        configure_deadline: patience,
        ..Limits::default()
    };
    let host = Host::new(HostConfig { cache_dir: Some(cache.into()), limits, ..HostConfig::default() })?;
    let guest: Guest = host.load(Path::new(guest))?;
    let rows = dir.join("items.csv");
    let ids: String = (0..ROWS).map(|row| format!("{}\n", row * 7 + 1)).collect();
    std::fs::write(&rows, format!("id\n{ids}"))?;
    let feeder = Feeder::open("items.csv", &rows)?;
    let feeds = BTreeMap::from([("items.csv".to_owned(), Arc::new(feeder))]);
    Ok(Scenario { guest: Arc::new(guest), config: CONFIG.to_owned(), feeds })
}

/// The endpoint over TLS that this authority vouches for.
fn over_tls(addr: SocketAddr, ca: &str, protocol: &[u8]) -> Result<Endpoint> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let tls = TlsSpec { config: Arc::new(config), resumption: false, server_name: addr.ip().into() };
    Ok(Endpoint { url: format!("https://{addr}"), tls: Some(tls), ..Endpoint::plain(addr) })
}
