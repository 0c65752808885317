//! The wasmtime engine as we set it, and the thread that makes time pass for guests.

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::HostError;

/// An engine for compiling only: it keeps no room for instances.
pub(crate) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// An engine with room for `instances` guests; whether that room is kept in a pool, or taken as needed because the
/// address space for a pool is not to be had.
pub(crate) fn for_running(instances: u32) -> Result<(Engine, bool), HostError> {
    let mut pooled = config();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(instances)));
    match Engine::new(&pooled) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::info!(%error, "no address space for a pool of guests: each takes its own");
            let engine = Engine::new(&config()).map_err(|error| HostError::Engine(format!("{error:#}")))?;
            Ok((engine, false))
        }
    }
}

/// What determines the compiled code. Both engines have it in common, or one's output would not load in the other.
fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        // What runs must depend on the guest and the seed alone.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    config
}

/// Interpreters come as several core instances; our own guests need one or two.
const CORE_INSTANCES: u32 = 8;

fn pool(instances: u32) -> PoolingAllocationConfig {
    let instances = instances.max(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_memories(instances)
        .max_memories_per_component(1)
        .total_tables(instances.saturating_mul(4))
        .max_tables_per_component(4)
        .table_elements(64 << 10)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20);
    pool
}

/// Advances the engine's epoch. A thread of its own: on a busy asynchronous runtime a task would starve, and with it
/// the watchdog. It ends when the last host, guest and instance that it serves is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    interval: Duration,
    /// Dropping it ends the thread.
    _stop: SyncSender<()>,
}

impl Ticker {
    pub(crate) fn start(engine: Engine, interval: Duration) -> Result<Self, HostError> {
        let (stop, stopped) = sync_channel(0);
        thread::Builder::new()
            .name("guest-epochs".into())
            .spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    engine.increment_epoch();
                }
            })
            .map_err(HostError::Ticker)?;
        Ok(Self { interval, _stop: stop })
    }

    /// Ticks after which at least `time` has passed.
    pub(crate) fn ticks(&self, time: Duration) -> u64 {
        let ticks = time.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        // The tick under way when a call begins may be nearly over.
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
    }
}
