//! The PostgreSQL database: a pool of connections, and when to try again.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Client, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
    Timeouts,
};
use tokio::time::{Instant, sleep};
use tokio_postgres::config::SslMode;

use self::error::Trouble;
use self::session::{Attempt, Session, Work};
use crate::error::Fault;
use crate::schema::{STEPS, Schema};
use crate::sql::Sql;
use crate::{Place, StoreError};

mod error;
mod options;
mod session;
mod tls;

pub(crate) use error::{describe, store_error};
pub use options::PostgresOptions;

const SCHEMA: Schema<'_> = Schema {
    steps: STEPS,
    tables: "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = current_schema() ORDER BY 1",
};
/// What those lock who make tables: any number, as long as it is the same for all.
const SCHEMA_LOCK: i64 = 0x6761_756e_746c_6574;
/// The first and the longest pause before another attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(500));

#[derive(Debug)]
pub(crate) struct Postgres {
    place: Place,
    pool: Pool,
    connect_timeout: Duration,
    patience: Duration,
}

impl Postgres {
    pub(crate) async fn connect(options: PostgresOptions) -> Result<Self, StoreError> {
        let (config, place) = options.configuration()?;
        let tls = tls::connector(options.ca.as_deref(), config.get_ssl_mode() != SslMode::Disable)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, tls, recycling))
            .max_size(options.pool.max(1))
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    // What was said to be stored must be; a server that waits for standbys, too, goes on doing so.
                    let text = "SELECT set_config('synchronous_commit', 'on', false) \
                                WHERE current_setting('synchronous_commit') = 'off'";
                    client.simple_query(text).await.map(|_| ()).map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| StoreError::Backend { place: place.clone(), detail: error.to_string() })?;
        let patience = options.patience.min(options::LONGEST);
        let postgres = Self { place, pool, connect_timeout: options.connect_timeout, patience };
        postgres.prepare().await?;
        Ok(postgres)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Runs `work` in a transaction of its own, as often as it takes. Where an attempt may have been committed although its
    /// answer was lost, `combine` makes one answer of that one and of a later one.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Sql) -> Result<T, Fault> + Send + Sync + 'static,
        combine: fn(T, T) -> T,
    ) -> Result<T, StoreError> {
        self.attempts(work, Session::write, combine).await
    }

    /// Runs a query on what is committed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&mut dyn Sql) -> Result<T, Fault> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        self.attempts(work, Session::read, |_, later| later).await
    }

    /// Closes the connections, each when the operation that has it is done.
    pub(crate) async fn close(&self) {
        self.pool.close();
        // Whoever has a connection gives it back when done or at the end of its patience.
        let deadline = Instant::now() + self.patience;
        while self.pool.status().size > 0 && Instant::now() < deadline {
            sleep(PAUSES.0).await;
        }
    }

    /// Makes the tables in an empty database, and brings those of an older version up to date.
    async fn prepare(&self) -> Result<(), StoreError> {
        let place = self.place.clone();
        let found = self.read(move |sql| SCHEMA.found(sql, &place)).await?;
        if !SCHEMA.is_newest(found) {
            let place = self.place.clone();
            // Another process may have done it while we waited for the lock.
            let advance = move |sql: &mut dyn Sql| {
                let behind = SCHEMA.found(sql, &place)?;
                SCHEMA.advance(sql, behind)
            };
            self.attempts(advance, |session, work| session.alone(SCHEMA_LOCK, work), |_, later| later)
                .await?;
        }
        let fsync = self.read(|sql| match sql.first("SELECT current_setting('fsync')", &[])? {
            Some(mut row) => row.take::<String>(0),
            None => Ok(String::new()),
        });
        if fsync.await? == "off" {
            let place = &self.place;
            tracing::warn!(%place, "the server runs with fsync off: a crash of its machine loses what was stored");
        }
        Ok(())
    }

    /// Attempts until one is done, fails of something lasting, or patience is at its end.
    async fn attempts<T, W>(
        &self,
        work: W,
        attempt: fn(Session, &Work<T>) -> Attempt<T>,
        combine: fn(T, T) -> T,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Fn(&mut dyn Sql) -> Result<T, Fault> + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        let deadline = Instant::now() + self.patience;
        let mut lost = None;
        let also = |lost: Option<T>, value: T| match lost {
            Some(lost) => combine(lost, value),
            None => value,
        };
        let mut pause = PAUSES.0;
        loop {
            let trouble = match self.client(deadline).await? {
                Err(trouble) => trouble,
                Ok(client) => {
                    let (work, session) = (Arc::clone(&work), Session::new(client, deadline));
                    let attempt = move || attempt(session, &*work);
                    match tokio::task::spawn_blocking(attempt).await {
                        Ok(Attempt::Done(value)) => return Ok(also(lost.take(), value)),
                        Ok(Attempt::Failed(trouble)) => trouble,
                        Ok(Attempt::Unknown(value, trouble)) => {
                            lost = Some(also(lost.take(), value));
                            trouble
                        }
                        Err(error) if error.is_cancelled() => return Err(StoreError::Closed),
                        Err(error) => {
                            let detail = error.to_string();
                            return Err(StoreError::Backend { place: self.place.clone(), detail });
                        }
                    }
                }
            };
            let wait = spread(pause);
            match trouble {
                Trouble::Lasting(fault) => return Err(fault.at(&self.place)),
                trouble if Instant::now() + wait >= deadline => return Err(self.given_up(trouble)),
                _ => sleep(wait).await,
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// A connection that is not in use, or a new one.
    async fn client(&self, deadline: Instant) -> Result<Result<Client, Trouble>, StoreError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let connecting = self.connect_timeout.min(left);
        let timeouts = Timeouts { wait: Some(left), create: Some(connecting), recycle: Some(connecting) };
        let error = match self.pool.timeout_get(&timeouts).await {
            Ok(client) => return Ok(Ok(client)),
            Err(error) => error,
        };
        match error {
            PoolError::Closed => Err(StoreError::Closed),
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                if error::is_away(&error) {
                    return Ok(Err(Trouble::Away(describe(&error))));
                }
                Err(StoreError::Denied { place: self.place.clone(), detail: describe(&error) })
            }
            PoolError::Timeout(TimeoutType::Wait) => {
                let detail =
                    format!("all {} connections of the pool are in use", self.pool.status().max_size);
                Ok(Err(Trouble::Away(detail)))
            }
            PoolError::Timeout(_) => {
                Ok(Err(Trouble::Away(format!("no connection within {:?}", self.connect_timeout))))
            }
            other => Err(StoreError::Backend { place: self.place.clone(), detail: other.to_string() }),
        }
    }

    fn given_up(&self, trouble: Trouble) -> StoreError {
        let place = self.place.clone();
        match trouble {
            Trouble::Lasting(fault) => fault.at(&place),
            Trouble::Conflict => StoreError::Locked { place },
            Trouble::Away(detail) => {
                StoreError::Unreachable { place, detail: format!("{detail}; tried for {:?}", self.patience) }
            }
        }
    }
}

/// Between a half and the whole of a pause, so that those who were in each other's way are not so again.
fn spread(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(()) % 512;
    pause / 2 + pause * u32::try_from(share).unwrap_or(0) / 1024
}
