//! Runs, and what a service wants to keep of each.

use protocol::id::RunId;

use crate::error::Fault;
use crate::sql::{Row, Sql};
use crate::{RunRow, RunState, Store, StoreError};

const COLUMNS: &str = "id, name, created_unix_ns, plan_digest, base_dir, state, exit_code";

impl Store {
    /// Stores a new run. Does nothing when this very run is there, so that it may be repeated when its outcome is unknown.
    ///
    /// # Errors
    /// [`StoreError::RunExists`] when its id is taken by another, or by itself in a later state.
    pub async fn create_run(&self, run: RunRow) -> Result<(), StoreError> {
        self.write(move |sql| insert(sql, &run)).await
    }

    /// Changes how far a run is.
    ///
    /// # Errors
    /// [`StoreError::NoSuchRun`] when there is none with this id.
    pub async fn set_run_state(&self, run: RunId, state: RunState) -> Result<(), StoreError> {
        self.write(move |sql| update(sql, run, state)).await
    }

    /// The run with this id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRow>, StoreError> {
        self.read(move |sql| find(sql, run)).await
    }

    /// All runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(&self) -> Result<Vec<RunRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM runs ORDER BY created_unix_ns DESC, id DESC");
        let work = move |sql: &mut dyn Sql| sql.query(&query, &[])?.into_iter().map(read).collect();
        self.read(work).await
    }

    /// Keeps bytes for a run under a name, in place of those that were there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn put_result(&self, run: RunId, name: &str, payload: Vec<u8>) -> Result<(), StoreError> {
        let name = name.to_owned();
        let work = move |sql: &mut dyn Sql| {
            let text = "INSERT INTO results (run, name, payload) VALUES ($1, $2, $3) \
                        ON CONFLICT (run, name) DO UPDATE SET payload = excluded.payload";
            sql.execute(text, &[(&run.to_bytes()).into(), (&name).into(), (&payload).into()])?;
            Ok(())
        };
        self.write(work).await
    }

    /// The bytes kept for a run under a name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn result(&self, run: RunId, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let name = name.to_owned();
        let work = move |sql: &mut dyn Sql| {
            let text = "SELECT payload FROM results WHERE run = $1 AND name = $2";
            let row = sql.first(text, &[(&run.to_bytes()).into(), (&name).into()])?;
            row.map(|mut row| row.take(0)).transpose()
        };
        self.read(work).await
    }
}

fn insert(sql: &mut dyn Sql, run: &RunRow) -> Result<(), Fault> {
    let text = format!(
        "INSERT INTO runs ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING"
    );
    let (state, exit_code) = words(run.state);
    let id = run.id.to_bytes();
    let values = [
        (&id).into(),
        (&run.name).into(),
        run.created_unix_ns.into(),
        (&run.plan_digest).into(),
        (&run.base_dir).into(),
        state.into(),
        exit_code.into(),
    ];
    if sql.execute(&text, &values)? == 1 || find(sql, run.id)?.as_ref() == Some(run) {
        return Ok(());
    }
    Err(StoreError::RunExists(run.id).into())
}

fn update(sql: &mut dyn Sql, run: RunId, state: RunState) -> Result<(), Fault> {
    let (state, exit_code) = words(state);
    let text = "UPDATE runs SET state = $1, exit_code = $2 WHERE id = $3";
    match sql.execute(text, &[state.into(), exit_code.into(), (&run.to_bytes()).into()])? {
        0 => Err(StoreError::NoSuchRun(run).into()),
        _ => Ok(()),
    }
}

fn find(sql: &mut dyn Sql, run: RunId) -> Result<Option<RunRow>, Fault> {
    let query = format!("SELECT {COLUMNS} FROM runs WHERE id = $1");
    sql.first(&query, &[(&run.to_bytes()).into()])?.map(read).transpose()
}

fn words(state: RunState) -> (&'static str, Option<u8>) {
    match state {
        RunState::Created => ("created", None),
        RunState::Running => ("running", None),
        RunState::Ended { exit_code } => ("ended", Some(exit_code)),
    }
}

fn read(mut row: Row) -> Result<RunRow, Fault> {
    let id: [u8; 16] = row.take(0)?;
    let state: String = row.take(5)?;
    let exit_code: Option<u8> = row.take(6)?;
    Ok(RunRow {
        id: RunId::from_bytes(&id).map_err(|error| Fault::Unreadable(format!("a run's id: {error}")))?,
        name: row.take(1)?,
        created_unix_ns: row.take(2)?,
        plan_digest: row.take(3)?,
        base_dir: row.take(4)?,
        state: match (state.as_str(), exit_code) {
            ("created", None) => RunState::Created,
            ("running", None) => RunState::Running,
            ("ended", Some(exit_code)) => RunState::Ended { exit_code },
            _ => {
                let detail = format!("run state {state:?} with exit code {exit_code:?}");
                return Err(Fault::Unreadable(detail));
            }
        },
    })
}
