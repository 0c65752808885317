//! The flags about a database.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use core_services::database::{DistributedSettings, PoolSettings, Primary, ReusedSettings, Settings};
use core_services::resilience::bulkhead;

/// Where items are kept; without --primary and --sqlite, in memory, and the other flags mean nothing.
#[derive(Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct Database {
    /// PostgreSQL that takes writes: postgres://user:password@host:port/database.
    #[arg(
        long,
        env = "CORE_SERVICES_PRIMARY",
        hide_env_values = true,
        value_name = "URL",
        group = "database"
    )]
    primary: Option<String>,
    /// File of SQLite, when there is no PostgreSQL; made if it is not there.
    #[arg(long, value_name = "PATH", group = "database")]
    sqlite: Option<PathBuf>,
    /// Replica of it that serves reads; may be given again. Without one, the primary serves them.
    #[arg(
        long,
        env = "CORE_SERVICES_REPLICAS",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        requires = "primary",
        conflicts_with = "sqlite"
    )]
    replica: Vec<String>,
    /// Connections to each server that stay open.
    #[arg(long, value_name = "COUNT", default_value_t = PoolSettings::default().keep)]
    pool_keep: usize,
    /// Connections to each server at most.
    #[arg(long, value_name = "COUNT", default_value_t = PoolSettings::default().max, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pool_max: usize,
    /// Milliseconds that a call waits for its turn and for a connection, a new connection takes, and a query takes, each.
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pool_timeout_ms: u64,
    /// Milliseconds without use after which connections above --pool-keep are closed.
    #[arg(long, value_name = "MS", default_value_t = 300_000)]
    pool_idle_ms: u64,
    /// Calls in progress at most, to all servers together.
    #[arg(long, value_name = "COUNT", default_value_t = bulkhead::Settings::default().concurrent, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    bulkhead_concurrent: usize,
    /// Calls that wait for a place at most; more are refused with 503.
    #[arg(long, value_name = "COUNT", default_value_t = bulkhead::Settings::default().waiting)]
    bulkhead_waiting: usize,
    /// Buffers that items are written into as JSON.
    #[arg(long, value_name = "COUNT", default_value_t = ReusedSettings::default().buffers, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    buffers: usize,
    /// Digests that checksums of new items are taken with.
    #[arg(long, value_name = "COUNT", default_value_t = ReusedSettings::default().digests, value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    digests: usize,
    /// Bytes in the first level of the cache.
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    l1_bytes: u64,
    /// Bytes in its second level.
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 30)]
    l2_bytes: u64,
    /// NATS with JetStream for a third level, which several processes share: nats://user:password@host:port. Without one,
    /// there is none.
    #[arg(
        long,
        env = "CORE_SERVICES_CACHE_NATS",
        hide_env_values = true,
        value_name = "URL",
        requires = "database"
    )]
    cache_nats: Option<String>,
    /// The third level's bucket there; made if it is not there.
    #[arg(long, value_name = "NAME", default_value_t = l3().bucket)]
    cache_bucket: String,
    /// Bytes in the third level, for all that share it; the last one that connected rules.
    #[arg(long, value_name = "BYTES", default_value_t = l3().bytes, value_parser = clap::value_parser!(u64).range(1..))]
    l3_bytes: u64,
    /// Seconds that an item stays in the third level; 0 = as long as there is room.
    #[arg(long, value_name = "SECONDS", default_value_t = l3().ttl.as_secs())]
    l3_ttl: u64,
    /// Milliseconds that a call to the third level may take; then the request goes on without it.
    #[arg(long, value_name = "MS", default_value_t = l3().timeout.as_millis() as u64, value_parser = clap::value_parser!(u64).range(1..))]
    l3_timeout_ms: u64,
}

/// The third level's defaults.
fn l3() -> DistributedSettings {
    DistributedSettings::new("")
}

impl Database {
    /// What they say; nothing = items are in memory. The breaker is that of the simulated backend.
    pub(crate) fn settings(self, breaker: core_services::breaker::Settings) -> Option<Settings> {
        let primary = self.primary.map(Primary::Postgres).or_else(|| self.sqlite.map(Primary::Sqlite))?;
        Some(Settings {
            primary,
            replicas: self.replica,
            pool: PoolSettings {
                keep: self.pool_keep,
                max: self.pool_max,
                timeout: Duration::from_millis(self.pool_timeout_ms),
                idle: Duration::from_millis(self.pool_idle_ms),
            },
            breaker,
            bulkhead: bulkhead::Settings {
                concurrent: self.bulkhead_concurrent,
                waiting: self.bulkhead_waiting,
            },
            reused: ReusedSettings { buffers: self.buffers, digests: self.digests },
            l1_bytes: self.l1_bytes,
            l2_bytes: self.l2_bytes,
            distributed: self.cache_nats.map(|url| DistributedSettings {
                url,
                bucket: self.cache_bucket,
                bytes: self.l3_bytes,
                ttl: Duration::from_secs(self.l3_ttl),
                timeout: Duration::from_millis(self.l3_timeout_ms),
            }),
        })
    }
}
