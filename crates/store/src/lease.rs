//! Leases: who may act, until when.

use crate::sql::Sql;
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
        let work = move |sql: &mut dyn Sql| {
            let text = "INSERT INTO leases (name, holder, until_unix_ns) VALUES ($1, $2, $3) \
                        ON CONFLICT (name) DO UPDATE \
                        SET holder = excluded.holder, until_unix_ns = excluded.until_unix_ns \
                        WHERE leases.holder = excluded.holder OR leases.until_unix_ns <= $4";
            let values = [(&name).into(), (&holder).into(), until.into(), now_ns.into()];
            Ok(sql.execute(text, &values)? == 1)
        };
        self.write(work).await
    }

    /// Gives a lease back; does nothing when somebody else holds it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let work = move |sql: &mut dyn Sql| {
            let text = "DELETE FROM leases WHERE name = $1 AND holder = $2";
            sql.execute(text, &[(&name).into(), (&holder).into()])?;
            Ok(())
        };
        self.write(work).await
    }
}
