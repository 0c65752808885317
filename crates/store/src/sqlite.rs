//! The SQLite file: one thread that writes, one that reads, and what opening checks.

use std::path::Path;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use tokio::sync::{mpsc, oneshot};

use self::statements::Statements;
use crate::error::Fault;
use crate::sql::Sql;
use crate::{Place, StoreError};

mod error;
mod file;
mod statements;

pub(crate) use error::store_error;

/// Jobs that one transaction commits at most: enough to share the cost of a flush, too few to keep anybody waiting.
const BATCH: usize = 64;
/// How long to wait for another process's lock.
const BUSY: Duration = Duration::from_secs(2);

/// Something to do with the connection, whose caller is told once the commit is through.
trait Job: Send {
    /// Does it; `Some` = its own changes must be undone.
    fn run(&mut self, connection: &Connection) -> Option<&Fault>;
    /// Tells the caller.
    fn tell(self: Box<Self>, committed: Result<(), Fault>);
}

struct Work<T, F> {
    work: Option<F>,
    result: Option<Result<T, Fault>>,
    answer: oneshot::Sender<Result<T, Fault>>,
}

impl<T: Send, F: FnOnce(&mut dyn Sql) -> Result<T, Fault> + Send> Job for Work<T, F> {
    fn run(&mut self, connection: &Connection) -> Option<&Fault> {
        self.result = self.work.take().map(|work| work(&mut Statements(connection)));
        self.result.as_ref().and_then(|result| result.as_ref().err())
    }

    fn tell(self: Box<Self>, committed: Result<(), Fault>) {
        let result = match self.result {
            Some(result) => result.and_then(|value| committed.map(|()| value)),
            None => Err(committed.err().unwrap_or(Fault::Refused(StoreError::Closed))),
        };
        // A caller that no longer waits does not change what is stored.
        let _ = self.answer.send(result);
    }
}

enum Command {
    Work(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(crate) struct Sqlite {
    place: Place,
    writer: mpsc::Sender<Command>,
    reader: mpsc::Sender<Command>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path, queue: usize) -> Result<Self, StoreError> {
        let place = Place::File(path.to_owned());
        let at = |fault: Fault| fault.at(&place);
        let writing = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        file::place_if_absent(path);
        let writer = connect(path, writing).map_err(at)?;
        // SQLite opens a file that it may not write as read-only, and says so only at the first write.
        if writer.is_readonly("main").map_err(|error| at(error.into()))? {
            return Err(StoreError::ReadOnly { place });
        }
        file::prepare(&writer, &place)?;
        let reader = connect(path, writing & !OpenFlags::SQLITE_OPEN_CREATE).map_err(at)?;
        reader.pragma_update(None, "query_only", true).map_err(|error| at(error.into()))?;
        Ok(Self {
            writer: start("store-writer", writer, queue, write_until_closed, &place)?,
            reader: start("store-reader", reader, queue, read_until_closed, &place)?,
            place,
        })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Runs `work` in a transaction; `Ok` means committed and on disk, `Err` means no trace of it is left.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Sql) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(&self.writer, work).await
    }

    /// Runs a query on what is committed.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Sql) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(&self.reader, work).await
    }

    async fn run<T: Send + 'static>(
        &self,
        thread: &mpsc::Sender<Command>,
        work: impl FnOnce(&mut dyn Sql) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Work { work: Some(work), result: None, answer });
        thread.send(Command::Work(job)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?.map_err(|fault| fault.at(&self.place))
    }

    /// Lets both threads finish what is queued, and waits until the file is closed.
    pub(crate) async fn close(&self) {
        // The reader first: the last connection to close folds the write-ahead log into the file.
        for thread in [&self.reader, &self.writer] {
            let (closed, until) = oneshot::channel();
            if thread.send(Command::Close(closed)).await.is_ok() {
                let _ = until.await;
            }
        }
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, Fault> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).optional()?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn start(
    name: &str,
    connection: Connection,
    queue: usize,
    body: fn(Connection, mpsc::Receiver<Command>),
    place: &Place,
) -> Result<mpsc::Sender<Command>, StoreError> {
    let (sender, receiver) = mpsc::channel(queue.max(1));
    thread::Builder::new().name(name.to_owned()).spawn(move || body(connection, receiver)).map_err(
        |error| StoreError::Backend { place: place.clone(), detail: format!("start thread {name}: {error}") },
    )?;
    Ok(sender)
}

fn read_until_closed(connection: Connection, mut commands: mpsc::Receiver<Command>) {
    while let Some(command) = commands.blocking_recv() {
        match command {
            Command::Work(mut job) => {
                job.run(&connection);
                job.tell(Ok(()));
            }
            Command::Close(closed) => {
                drop(connection);
                let _ = closed.send(());
                return;
            }
        }
    }
}

fn write_until_closed(connection: Connection, mut commands: mpsc::Receiver<Command>) {
    let mut jobs = Vec::with_capacity(BATCH);
    loop {
        let Some(first) = commands.blocking_recv() else { return };
        let mut next = Some(first);
        let mut closed = None;
        while let Some(command) = next.take() {
            match command {
                Command::Work(job) => jobs.push(job),
                Command::Close(sender) => closed = Some(sender),
            }
            if jobs.len() < BATCH && closed.is_none() {
                next = commands.try_recv().ok();
            }
        }
        if !jobs.is_empty() {
            commit(&connection, &mut jobs);
        }
        if let Some(closed) = closed {
            drop(connection);
            let _ = closed.send(());
            return;
        }
    }
}

/// Runs the jobs in one transaction, each in a savepoint of its own, and tells their callers after the commit: a job
/// that fails takes back its own changes only.
fn commit(connection: &Connection, jobs: &mut Vec<Box<dyn Job>>) {
    let mut transaction = connection.execute_batch("BEGIN IMMEDIATE");
    for job in jobs.iter_mut() {
        if transaction.is_ok() {
            transaction = run_in_savepoint(connection, &mut **job);
        }
    }
    if transaction.is_ok() {
        transaction = connection.execute_batch("COMMIT");
    }
    if transaction.is_err() && !connection.is_autocommit() {
        // Nothing more can be done about an error here; the next BEGIN will show it.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for job in jobs.drain(..) {
        job.tell(transaction.as_ref().copied().map_err(|error| Fault::Sqlite(copy(error))));
    }
}

fn run_in_savepoint(connection: &Connection, job: &mut dyn Job) -> rusqlite::Result<()> {
    connection.execute_batch("SAVEPOINT job")?;
    let Some(fault) = job.run(connection) else { return connection.execute_batch("RELEASE job") };
    // Some failures (disk full, I/O errors) make SQLite roll back the whole transaction, savepoints and all.
    if connection.is_autocommit() {
        return Err(match fault {
            Fault::Sqlite(error) => copy(error),
            other => failure(other.to_string()),
        });
    }
    connection.execute_batch("ROLLBACK TO job; RELEASE job")
}

/// A copy of what matters about an error: every caller of a failed transaction gets one.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, detail) => rusqlite::Error::SqliteFailure(*code, detail.clone()),
        other => failure(other.to_string()),
    }
}

fn failure(detail: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR), Some(detail))
}

#[cfg(test)]
mod tests;
