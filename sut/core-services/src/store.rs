//! Where items are: in the memory of this process, or in a database.

use axum::body::Bytes;

use crate::app::{App, BackendError};
use crate::database::{Checksum, Database, Level};
use crate::items::{Item, Items, NewItem, Refusal, Source};

/// One of the two.
pub(crate) enum Store {
    Memory(Items),
    Database(Box<Database>),
}

/// What came of an item to add.
pub(crate) enum Added {
    /// It is in memory, under this id.
    Kept(u64),
    /// It is in the database, with this checksum.
    Written(u64, Checksum),
    /// It was not taken.
    Refused(Refusal),
}

impl App {
    /// The item as JSON, and what the header `x-cache` says of it.
    pub(crate) async fn item(&self, id: u64) -> Result<Option<(&'static str, Bytes)>, BackendError> {
        let found = match &self.store {
            Store::Memory(items) => items.get(id).map(|(source, body)| match source {
                Source::Cache => ("hit", body),
                Source::Store => ("miss", body),
            }),
            Store::Database(database) => {
                let found = database.get(id, self.query_delay()).await?;
                found.map(|(level, body)| match level {
                    Level::L1 => ("l1", body),
                    Level::L2 => ("l2", body),
                    Level::L3 => ("l3", body),
                    Level::Miss => ("miss", body),
                })
            }
        };
        if found.as_ref().is_some_and(|(cache, _)| *cache == "miss") {
            self.miss().await;
        }
        Ok(found)
    }

    /// Items from `offset` on, at most `limit`, and how many there are.
    pub(crate) async fn list(&self, offset: usize, limit: usize) -> Result<(usize, Vec<Item>), BackendError> {
        match &self.store {
            Store::Memory(items) => Ok(items.list(offset, limit)),
            Store::Database(database) => Ok(database.list(offset, limit, self.query_delay()).await?),
        }
    }

    /// The first items, at most `limit`, whose names contain the text.
    pub(crate) async fn search(&self, text: &str, limit: usize) -> Result<Vec<Item>, BackendError> {
        match &self.store {
            Store::Memory(items) => Ok(items.search(text, limit)),
            Store::Database(database) => Ok(database.search(text, limit, self.query_delay()).await?),
        }
    }

    /// Adds an item.
    pub(crate) async fn add(&self, new: NewItem) -> Result<Added, BackendError> {
        match &self.store {
            Store::Memory(items) => Ok(items.add(new).map_or_else(Added::Refused, Added::Kept)),
            Store::Database(database) => match new.check() {
                Ok(()) => {
                    let (id, checksum) = database.add(new, self.query_delay()).await?;
                    Ok(Added::Written(id, checksum))
                }
                Err(refusal) => Ok(Added::Refused(refusal)),
            },
        }
    }
}
