//! Making a store's file and bringing its tables up to date.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::statements::Statements;
use crate::error::Fault;
use crate::schema::{STEPS, Schema};
use crate::{Place, StoreError};

const SCHEMA: Schema<'_> =
    Schema { steps: STEPS, tables: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name" };

/// Makes the tables in an empty file, and brings those of an older version up to date.
pub(super) fn prepare(connection: &Connection, place: &Place) -> Result<(), StoreError> {
    advance(connection, SCHEMA, place).map_err(|fault| fault.at(place))
}

fn advance(connection: &Connection, schema: Schema<'_>, place: &Place) -> Result<(), Fault> {
    let sql = &mut Statements(connection);
    if schema.is_newest(schema.found(sql, place)?) {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    // Another process may have done it while we waited for the lock.
    let behind = schema.found(sql, place)?;
    schema.advance(sql, behind)?;
    Ok(connection.execute_batch("COMMIT")?)
}

/// Puts an empty store at `path` if nothing is there. In place, each step of making one waits for the disk, nine flushes in
/// all; beside it, and moved there when whole, one flush does. Where this does not work, [`prepare`] does all of it.
pub(super) fn place_if_absent(path: &Path) {
    if path.exists() {
        return;
    }
    if let Err(error) = put(path) {
        tracing::debug!(path = %path.display(), %error, "the store is made in place");
    }
}

fn put(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // What SQLite itself gives a new file, before the umask; tempfile's own is for secrets.
    let permissions = Permissions::from_mode(0o644);
    let file = tempfile::Builder::new().prefix(".store-").permissions(permissions).tempfile_in(dir)?;
    let connection = Connection::open(file.path())?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    prepare(&connection, &Place::File(file.path().to_owned()))?;
    // Folds the write-ahead log into the file and removes it.
    connection.close().map_err(|(_, error)| error)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Sql as _;

    const TABLES: &str = SCHEMA.tables;

    fn schema<'a>(steps: &'a [&'a str]) -> Schema<'a> {
        Schema { steps, tables: TABLES }
    }

    #[test]
    fn an_older_store_takes_the_steps_that_it_lacks_and_keeps_its_rows() {
        let place = Place::File("memory".into());
        let connection = Connection::open_in_memory().unwrap();
        let first = "CREATE TABLE schema_version (version BIGINT NOT NULL); CREATE TABLE a (x TEXT);";
        let steps = [first, "CREATE TABLE b (y TEXT);", "ALTER TABLE a ADD COLUMN z BIGINT;"];
        advance(&connection, schema(&steps[..1]), &place).unwrap();
        let sql = &mut Statements(&connection);
        sql.execute("INSERT INTO a (x) VALUES ($1)", &["kept".into()]).unwrap();
        for _ in 0..2 {
            advance(&connection, schema(&steps), &place).unwrap();
            let mut row = sql.first("SELECT x, z FROM a", &[]).unwrap().unwrap();
            assert_eq!(row.take::<String>(0).unwrap(), "kept");
            assert_eq!(row.take::<Option<i64>>(1).unwrap(), None);
        }
        assert!(sql.query("SELECT y FROM b", &[]).unwrap().is_empty());
        let refused = advance(&connection, schema(&steps[..2]), &place);
        assert!(
            matches!(refused, Err(Fault::Refused(StoreError::NewerSchema { found: 3, supported: 2, .. }))),
            "{refused:?}"
        );
    }
}
