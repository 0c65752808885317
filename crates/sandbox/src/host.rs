//! Loading guests.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::abi::{self, bindings};
use crate::cache::{self, Cache};
use crate::config::{HostConfig, Limits};
use crate::engine::{self, Ticker};
use crate::error::{ConfigureError, Fault, FaultKind, HostError, LoadError};
use crate::instance::{Instance, Machine, State};
use crate::{compile, world};

/// Loads guests. Cheap to clone; the thread that times guests ends with the last clone, guest and instance.
#[derive(Clone)]
pub struct Host {
    shared: Arc<Shared>,
}

/// What a host, its guests and their instances have in common.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) ticker: Ticker,
    pub(crate) limits: Limits,
    linker: Linker<State>,
    cache: Option<Cache>,
    config: HostConfig,
    pooled: bool,
}

impl Host {
    /// Makes a host.
    ///
    /// # Errors
    /// When the engine or its ticker does not start, or the cache's folder cannot be made, is not ours, or is open to
    /// others.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let (engine, pooled) = engine::for_running(config.instances)?;
        let limits = config.limits.clone();
        let shortest = limits.call_deadline.min(limits.describe_deadline).min(limits.configure_deadline);
        // Each tick takes 40 µs of a core, mostly from a load thread: no more of them than the deadlines need.
        let interval = (shortest / 4).clamp(Duration::from_millis(1), Duration::from_millis(50));
        let ticker = Ticker::start(engine.clone(), interval)?;
        let mut linker = Linker::new(&engine);
        bindings::Scenario::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)
            .map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let cache = config.cache_dir.as_deref().map(|dir| Cache::open(dir, &engine)).transpose()?;
        Ok(Self { shared: Arc::new(Shared { engine, ticker, limits, linker, cache, config, pooled }) })
    }

    /// Whether room for instances is kept in a pool; without enough address space each instance maps its own.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.shared.pooled
    }

    /// Loads a guest: checks that it fits the world, takes its compiled form from the cache or compiles it, and asks
    /// what it is. Blocks; seconds when a large guest must be compiled, milliseconds when it is cached.
    ///
    /// # Errors
    /// See [`LoadError`]: the file is no guest, does not compile, or fails when it describes itself.
    pub fn load(&self, path: &Path) -> Result<Guest, LoadError> {
        let wasm = self.read(path)?;
        world::check(path, &wasm)?;
        let digest = hex(&Sha256::digest(&wasm));
        let component = self.component(path, &wasm, &digest)?;
        // Here a function shows that the world does not have, or one of another type.
        let mistyped = |error: wasmtime::Error| world::mistyped(path, &format!("{error:#}"));
        let pre = self.shared.linker.instantiate_pre(&component).map_err(mistyped)?;
        let pre = bindings::ScenarioPre::new(pre).map_err(mistyped)?;
        let probe = |fault| LoadError::Probe { path: path.to_owned(), fault };
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let mut machine = Machine::new(&self.shared, &pre, &format!("guest {file}").into(), 0).map_err(
            |fault| match fault.kind {
                // Nothing was read out of the guest as yet: it is the exports' types that do not match.
                FaultKind::BadOutput => world::mistyped(path, &fault.message),
                _ => probe(fault),
            },
        )?;
        let descriptor = machine.describe().map_err(probe)?;
        // The room of the probe is free again before the first instance needs it.
        drop(machine);
        let who: Arc<str> = format!("guest {}@{}", descriptor.name, descriptor.version).into();
        if let Some(message) = unfit(&descriptor) {
            return Err(probe(Fault {
                kind: FaultKind::BadOutput,
                message: format!("guest {file}: {message}"),
            }));
        }
        let digest = format!("sha256:{digest}");
        Ok(Guest {
            inner: Arc::new(Inner { shared: Arc::clone(&self.shared), pre, descriptor, digest, who }),
        })
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let failed = |source| LoadError::Read { path: path.to_owned(), source };
        let limit = self.shared.config.wasm_bytes;
        let mut wasm = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(limit.saturating_add(1)).read_to_end(&mut wasm).map_err(failed)?;
        if u64::try_from(wasm.len()).is_ok_and(|length| length > limit) {
            return Err(LoadError::TooLarge { path: path.to_owned(), limit });
        }
        Ok(wasm)
    }

    fn component(&self, path: &Path, wasm: &[u8], digest: &str) -> Result<Component, LoadError> {
        let Shared { engine, cache, config, .. } = &*self.shared;
        if let Some(compiled) = cache.as_ref().and_then(|cache| cache.get(digest)) {
            match cache::deserialize(engine, &compiled) {
                Ok(component) => return Ok(component),
                Err(error) => tracing::warn!(%error, "a compiled guest does not load and is made again"),
            }
        }
        let compiled = compile::compile(config, path, wasm)?;
        if let Some(cache) = cache
            && let Err(error) = cache.put(digest, &compiled)
        {
            tracing::warn!(%error, "a compiled guest cannot be kept; the next run compiles it again");
        }
        cache::deserialize(engine, &compiled)
            .map_err(|error| LoadError::Compile { path: path.to_owned(), message: format!("{error:#}") })
    }
}

/// A loaded guest. Cheap to clone.
#[derive(Clone)]
pub struct Guest {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    pre: bindings::ScenarioPre<State>,
    descriptor: abi::Descriptor,
    digest: String,
    who: Arc<str>,
}

impl Guest {
    /// What it says it is.
    #[must_use]
    pub fn descriptor(&self) -> &abi::Descriptor {
        &self.inner.descriptor
    }

    /// The digest of its file, `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// Makes an instance for one thread, configured for `users` virtual users numbered from 0.
    ///
    /// # Errors
    /// The problems that the guest finds in its configuration, or what it did instead.
    pub fn instantiate(&self, config_json: &str, seed: u64, users: u32) -> Result<Instance, ConfigureError> {
        let Inner { shared, pre, who, .. } = &*self.inner;
        let mut machine = Machine::new(shared, pre, who, users)?;
        let setup = machine.configure(config_json, seed, users)?.map_err(ConfigureError::Problems)?;
        Ok(Instance::new(machine, setup, users)?)
    }
}

/// What is wrong with a descriptor: its words go into logs, reports and metric labels.
fn unfit(descriptor: &abi::Descriptor) -> Option<String> {
    const LENGTH: usize = 100;
    let words =
        [("name", &descriptor.name), ("version", &descriptor.version), ("protocol", &descriptor.protocol)];
    words.iter().find_map(|(what, word)| {
        let fit = !word.is_empty() && word.len() <= LENGTH && !word.chars().any(char::is_control);
        (!fit).then(|| format!("its {what} is empty, over {LENGTH} bytes or has control characters"))
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("who", &self.inner.who).field("digest", &self.inner.digest).finish()
    }
}
