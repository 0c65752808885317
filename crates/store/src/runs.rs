//! Runs, and what a service wants to keep of each.

use protocol::id::RunId;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::error::Fault;
use crate::{RunRow, RunState, Store, StoreError};

const COLUMNS: &str = "id, name, created_unix_ns, plan_digest, base_dir, state, exit_code";

impl Store {
    /// Stores a new run.
    ///
    /// # Errors
    /// [`StoreError::RunExists`] when its id is taken.
    pub async fn create_run(&self, run: RunRow) -> Result<(), StoreError> {
        self.sqlite.write(move |connection| insert(connection, &run)).await
    }

    /// Changes how far a run is.
    ///
    /// # Errors
    /// [`StoreError::NoSuchRun`] when there is none with this id.
    pub async fn set_run_state(&self, run: RunId, state: RunState) -> Result<(), StoreError> {
        self.sqlite.write(move |connection| update(connection, run, state)).await
    }

    /// The run with this id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM runs WHERE id = $1");
        let work = move |connection: &Connection| {
            Ok(connection.prepare_cached(&query)?.query_row([run.to_bytes()], read).optional()?)
        };
        self.sqlite.read(work).await
    }

    /// All runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(&self) -> Result<Vec<RunRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM runs ORDER BY created_unix_ns DESC, id DESC");
        let work = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(&query)?;
            let rows = statement.query_map([], read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        self.sqlite.read(work).await
    }

    /// Keeps bytes for a run under a name, in place of those that were there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn put_result(&self, run: RunId, name: &str, payload: Vec<u8>) -> Result<(), StoreError> {
        let name = name.to_owned();
        let work = move |connection: &Connection| {
            let text = "INSERT INTO results (run, name, payload) VALUES ($1, $2, $3) \
                        ON CONFLICT (run, name) DO UPDATE SET payload = excluded.payload";
            connection.prepare_cached(text)?.execute((run.to_bytes(), name, payload))?;
            Ok(())
        };
        self.sqlite.write(work).await
    }

    /// The bytes kept for a run under a name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn result(&self, run: RunId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        let work = move |connection: &Connection| {
            let mut statement =
                connection.prepare_cached("SELECT payload FROM results WHERE run = $1 AND name = $2")?;
            Ok(statement.query_row((run.to_bytes(), name), |row| row.get(0)).optional()?)
        };
        self.sqlite.read(work).await
    }
}

fn insert(connection: &Connection, run: &RunRow) -> Result<(), Fault> {
    let text = format!(
        "INSERT INTO runs ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING"
    );
    let (state, exit_code) = words(run.state);
    let id = run.id.to_bytes();
    let values = (id, &run.name, run.created_unix_ns, &run.plan_digest, &run.base_dir, state, exit_code);
    match connection.prepare_cached(&text)?.execute(values)? {
        0 => Err(StoreError::RunExists(run.id).into()),
        _ => Ok(()),
    }
}

fn update(connection: &Connection, run: RunId, state: RunState) -> Result<(), Fault> {
    let (state, exit_code) = words(state);
    let mut statement =
        connection.prepare_cached("UPDATE runs SET state = $1, exit_code = $2 WHERE id = $3")?;
    match statement.execute((state, exit_code, run.to_bytes()))? {
        0 => Err(StoreError::NoSuchRun(run).into()),
        _ => Ok(()),
    }
}

fn words(state: RunState) -> (&'static str, Option<u8>) {
    match state {
        RunState::Created => ("created", None),
        RunState::Running => ("running", None),
        RunState::Ended { exit_code } => ("ended", Some(exit_code)),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let unreadable = |column, found: String| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, found.into())
    };
    let id: Vec<u8> = row.get(0)?;
    let state: String = row.get(5)?;
    let exit_code: Option<u8> = row.get(6)?;
    Ok(RunRow {
        id: RunId::from_bytes(&id).map_err(|error| unreadable(0, error.to_string()))?,
        name: row.get(1)?,
        created_unix_ns: row.get(2)?,
        plan_digest: row.get(3)?,
        base_dir: row.get(4)?,
        state: match (state.as_str(), exit_code) {
            ("created", None) => RunState::Created,
            ("running", None) => RunState::Running,
            ("ended", Some(exit_code)) => RunState::Ended { exit_code },
            _ => return Err(unreadable(5, format!("run state {state:?} with exit code {exit_code:?}"))),
        },
    })
}
