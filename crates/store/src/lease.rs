//! Leases: who may act, until when.

use rusqlite::Connection;

use crate::{Store, StoreError};

impl Store {
    /// Takes a lease that is free or has run out, or prolongs one's own, until `now_ns + ttl_ns`. `false` = somebody else
    /// holds it. `now_ns` is Unix nanoseconds.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl_ns: u64,
        now_ns: i64,
    ) -> Result<bool, StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let until = now_ns.saturating_add_unsigned(ttl_ns);
        let work = move |connection: &Connection| {
            let text = "INSERT INTO leases (name, holder, until_unix_ns) VALUES ($1, $2, $3) \
                        ON CONFLICT (name) DO UPDATE \
                        SET holder = excluded.holder, until_unix_ns = excluded.until_unix_ns \
                        WHERE leases.holder = excluded.holder OR leases.until_unix_ns <= $4";
            Ok(connection.prepare_cached(text)?.execute((name, holder, until, now_ns))? == 1)
        };
        self.sqlite.write(work).await
    }

    /// Gives a lease back; does nothing when somebody else holds it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let work = move |connection: &Connection| {
            let mut statement =
                connection.prepare_cached("DELETE FROM leases WHERE name = $1 AND holder = $2")?;
            statement.execute((name, holder))?;
            Ok(())
        };
        self.sqlite.write(work).await
    }
}
