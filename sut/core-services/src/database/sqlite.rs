//! A SQLite file: one connection that writes, several that read, and its words.
//!
//! What is acknowledged is in the file, flushed: the log is written ahead (WAL) and each commit waits for the disk
//! (`synchronous = FULL`). Calls block, so they are made on threads that may; connections bound how many those are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::Status;
use deadpool::managed::{Manager, Metrics, Object, RecycleResult};
use rusqlite::{Connection, InterruptHandle, OpenFlags, Row, ToSql, TransactionBehavior};
use tokio::task::spawn_blocking;

use super::pool::{self, Pool, describe};
use super::query::{Answer, Query, signed, unsigned};
use crate::items::{Item, sample};

const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS items (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, price REAL NOT NULL);
CREATE TABLE IF NOT EXISTS items_origin (origin TEXT NOT NULL);
INSERT INTO items_origin SELECT lower(hex(randomblob(16))) WHERE NOT EXISTS (SELECT 1 FROM items_origin);";

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// The directory or the file belongs to somebody else.
    #[error("the file cannot be written; give the target the right to write it and its directory")]
    ReadOnly,
    /// Without it, readers and the writer would wait for each other.
    #[error("its journal mode is {0}, expected wal; the file has to be on a local disk")]
    NotWal(String),
    /// The target ends.
    #[error("the call was cut off")]
    Cut,
}

pub(super) struct Sqlite {
    writer: Pool<Opener>,
    readers: Pool<Opener>,
    /// Readers at most.
    most: usize,
    place: String,
    /// How long a call may take, once it has its connection.
    patience: Duration,
}

impl Sqlite {
    /// The limits are those of both kinds together; at least one of each is open.
    pub(super) fn new(path: &Path, settings: pool::Settings) -> Result<Self, String> {
        let opener = |writes| Opener { path: path.to_owned(), writes, patience: settings.timeout };
        let most = settings.max.saturating_sub(1).max(1);
        let one = pool::Settings { keep: 1, max: 1, ..settings };
        let rest = pool::Settings { keep: settings.keep.saturating_sub(1).max(1), max: most, ..settings };
        Ok(Self {
            writer: Pool::new(opener(true), one)?,
            readers: Pool::new(opener(false), rest)?,
            most,
            place: path.display().to_string(),
            patience: settings.timeout,
        })
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Of both kinds together.
    pub(super) fn status(&self) -> Status {
        let (writer, readers) = (self.writer.status(), self.readers.status());
        Status {
            max_size: writer.max_size + readers.max_size,
            size: writer.size + readers.size,
            available: writer.available + readers.available,
            waiting: writer.waiting + readers.waiting,
        }
    }

    pub(super) async fn maintain(&self) {
        self.writer.maintain(|_| true).await;
        self.readers.maintain(|_| true).await;
    }

    /// Takes a connection from everybody, until what this gives is dropped. `held` are held already: the readers go
    /// first, so that with all of them held nothing works any more.
    pub(super) async fn hold(&self, held: usize) -> Result<Object<Opener>, String> {
        if held < self.most { self.readers.get().await } else { self.writer.get().await }
    }

    /// The last connection to be closed folds the log into the file.
    pub(super) fn close(&self) {
        self.readers.close();
        self.writer.close();
    }

    /// Makes the table and its first items, if it is not there or empty. Gives its origin, which no other table has.
    pub(super) async fn prepare(&self, items: usize) -> Result<String, String> {
        // All in one transaction, which takes its time: nobody is served yet.
        let made = run(self.writer.get().await?, move |connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(TABLES)?;
            let origin = transaction.query_row("SELECT origin FROM items_origin", [], |row| row.get(0))?;
            // With its columns: the table of another program fails here, and not in the first request.
            let is_empty = !transaction.prepare("SELECT id, name, price FROM items LIMIT 1")?.exists([])?;
            if is_empty {
                let insert = "INSERT INTO items (id, name, price) VALUES (?1, ?2, ?3)";
                let mut insert = transaction.prepare(insert)?;
                for Item { id, name, price } in (1..=items as u64).map(sample) {
                    insert.execute((signed(id), name, price))?;
                }
            }
            transaction.commit()?;
            Ok(origin)
        });
        made.await.map_err(|fault| describe(&fault))
    }

    /// Asks, after `delay` with the connection in use.
    pub(super) async fn ask(&self, delay: Duration, query: Query) -> Result<Answer, String> {
        let pool = if matches!(query, Query::Add { .. }) { &self.writer } else { &self.readers };
        let connection = pool.get().await?;
        let answered = tokio::time::timeout(self.patience, async {
            if !delay.is_zero() {
                // SQLite has no sleep of its own; this one keeps no thread.
                tokio::time::sleep(delay).await;
            }
            run(connection, move |connection| answer(connection, query)).await
        });
        let answered = answered.await.map_err(|_| format!("no answer within {:?}", self.patience))?;
        answered.map_err(|fault| describe(&fault))
    }
}

fn answer(connection: &mut Connection, query: Query) -> rusqlite::Result<Answer> {
    match query {
        Query::Item(id) => {
            items(connection, "SELECT id, name, price FROM items WHERE id = ?1", &[&signed(id)])
        }
        Query::Items(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| signed(*id).to_string()).collect();
            let list = format!("[{}]", ids.join(","));
            let statement = "SELECT id, name, price FROM items WHERE id IN (SELECT value FROM json_each(?1))";
            items(connection, statement, &[&list])
        }
        Query::Page { offset, limit } => {
            // Both see the same items.
            let transaction = connection.transaction()?;
            let total: i64 = transaction.query_row("SELECT count(*) FROM items", [], |row| row.get(0))?;
            let statement = "SELECT id, name, price FROM items ORDER BY id LIMIT ?1 OFFSET ?2";
            let page = items(&transaction, statement, &[&signed(limit as u64), &signed(offset as u64)])?;
            Ok(Answer { total: usize::try_from(total).unwrap_or(0), ..page })
        }
        Query::Search { text, limit } => {
            let statement =
                "SELECT id, name, price FROM items WHERE instr(name, ?1) > 0 ORDER BY id LIMIT ?2";
            items(connection, statement, &[&text, &signed(limit as u64)])
        }
        Query::Add { name, price } => {
            let statement = "INSERT INTO items (name, price) VALUES (?1, ?2)";
            // Not with RETURNING: whether the commit worked shows after the last row, when the statement ends.
            connection.prepare_cached(statement)?.execute((&name, price))?;
            let id = unsigned(connection.last_insert_rowid());
            Ok(Answer::of(vec![Item { id, name, price }]))
        }
    }
}

fn items(connection: &Connection, statement: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Answer> {
    let mut statement = connection.prepare_cached(statement)?;
    let found = statement.query_map(values, item)?;
    Ok(Answer::of(found.collect::<Result<_, _>>()?))
}

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    Ok(Item { id: unsigned(row.get("id")?), name: row.get("name")?, price: row.get("price")? })
}

/// Opens connections to one file.
pub(super) struct Opener {
    path: PathBuf,
    writes: bool,
    /// How long a call may take; it waits half of that for the lock of another process.
    patience: Duration,
}

impl Manager for Opener {
    type Type = Connection;
    type Error = Fault;

    async fn create(&self) -> Result<Connection, Fault> {
        let (path, writes, patience) = (self.path.clone(), self.writes, self.patience);
        spawn_blocking(move || open(&path, writes, patience)).await.map_err(|_| Fault::Cut)?
    }

    async fn recycle(&self, _: &mut Connection, _: &Metrics) -> RecycleResult<Fault> {
        Ok(())
    }
}

fn open(path: &Path, writes: bool, patience: Duration) -> Result<Connection, Fault> {
    // Who reads needs the right to write, too: readers of a log leave their marks in a file beside it.
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, writes);
    let connection = Connection::open_with_flags(path, flags)?;
    // SQLite opens a file that it may not write as read-only, and says so only at the first write.
    if connection.is_readonly("main")? {
        return Err(Fault::ReadOnly);
    }
    // Over before the call is: else nobody would hear that the file is locked.
    connection.busy_timeout(patience / 2)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::NotWal(mode));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "query_only", !writes)?;
    Ok(connection)
}

/// Does work with a connection, on a thread that may block, and gives the connection back. Dropped before, because the work
/// took too long or the client has gone, it stops the work: the next one would wait for the connection.
async fn run<T: Send + 'static>(
    mut connection: Object<Opener>,
    work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let stop = Stop(Arc::new(Mutex::new(Some(connection.get_interrupt_handle()))));
    let wanted = Arc::clone(&stop.0);
    let done = spawn_blocking(move || {
        let is_wanted = || wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if is_wanted().is_none() {
            // It waited for a thread longer than its caller did.
            return Err(Fault::Cut);
        }
        let answer = work(&mut connection);
        // From here on it may be another's, whose work is not to be stopped.
        *is_wanted() = None;
        Ok(answer?)
    });
    let answer = done.await;
    drop(stop);
    answer.map_err(|_| Fault::Cut)?
}

/// Stops work that nobody waits for.
struct Stop(Arc<Mutex<Option<InterruptHandle>>>);

impl Drop for Stop {
    fn drop(&mut self) {
        if let Some(handle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            handle.interrupt();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn file(max: usize) -> (Sqlite, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let settings = pool::Settings { max, ..pool::Settings::default() };
        (Sqlite::new(&directory.path().join("items.db"), settings).unwrap(), directory)
    }

    #[tokio::test]
    async fn every_commit_waits_for_the_disk_and_readers_write_nothing() {
        let (file, _directory) = file(2);
        let settings = |connection: &mut Connection| {
            let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((pragma("synchronous")?, pragma("query_only")?))
        };
        // 2 = FULL.
        assert_eq!(run(file.writer.get().await.unwrap(), settings).await.unwrap(), (2, 0));
        assert_eq!(run(file.readers.get().await.unwrap(), settings).await.unwrap(), (2, 1));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_stopped_and_its_connection_given_back() {
        let (file, _directory) = file(2);
        file.prepare(10).await.unwrap();
        let (begun, begins) = oneshot::channel();
        let endless = run(file.readers.get().await.unwrap(), |connection| {
            let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";
            let mut statement = connection.prepare(endless)?;
            let mut rows = statement.query([])?;
            rows.next()?;
            let _ = begun.send(());
            while rows.next()?.is_some() {}
            Ok(())
        });
        tokio::select! {
            ended = endless => panic!("it ended: {ended:?}"),
            _ = begins => {}
        }
        // The only one that reads.
        let answer = file.ask(Duration::ZERO, Query::Item(3)).await.unwrap();
        assert_eq!(answer.items, [sample(3)]);
        assert_eq!(file.status().available, 2);
    }
}
