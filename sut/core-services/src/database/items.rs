//! Reading and adding items, by the caches and the servers.

use std::time::Duration;

use axum::body::Bytes;

use super::ledger::Checksum;
use super::query::{Answer, Query};
use super::{Database, Error, Level};
use crate::items::{Item, NewItem};

impl Database {
    /// The item as JSON, and which cache had it; nothing = no server asked has it.
    pub(crate) async fn get(&self, id: u64, delay: Duration) -> Result<Option<(Level, Bytes)>, Error> {
        if let Some(found) = self.tiers.get(id) {
            return Ok(Some(found));
        }
        if let Some(distributed) = &self.distributed
            && let Some(body) = distributed.get(id).await
        {
            self.tiers.insert(id, &body);
            return Ok(Some((Level::L3, body)));
        }
        let mut buffer = self.buffers.take().await?;
        let answer = self.read(delay, Query::Item(id)).await?;
        let Some(item) = answer.items.first() else { return Ok(None) };
        let body = json(item, &mut buffer);
        drop(buffer);
        self.cache(id, &body).await;
        Ok(Some((Level::Miss, body)))
    }

    /// Items from `offset` on, at most `limit`, and how many there are.
    pub(crate) async fn list(
        &self,
        offset: usize,
        limit: usize,
        delay: Duration,
    ) -> Result<(usize, Vec<Item>), Error> {
        let Answer { total, items } = self.read(delay, Query::Page { offset, limit }).await?;
        Ok((total, items))
    }

    /// The first items, at most `limit`, whose names contain the text.
    pub(crate) async fn search(&self, text: &str, limit: usize, delay: Duration) -> Result<Vec<Item>, Error> {
        Ok(self.read(delay, Query::Search { text: text.to_owned(), limit }).await?.items)
    }

    /// Adds an item, which has been judged valid; its id and the checksum of what was written. Once this returns, the item
    /// is acknowledged and [`Database::integrity`] looks for it.
    pub(crate) async fn add(&self, new: NewItem, delay: Duration) -> Result<(u64, Checksum), Error> {
        // There is one zero: SQLite does not know the negative one, and would give back another item than was written.
        let price = new.price + 0.0;
        // Before it is written: what is written and then not acknowledged would be nobody's.
        let (mut buffer, mut digest) = (self.buffers.take().await?, self.digests.take().await?);
        let answer = {
            // Given back before the caches have their turn: what they take is not a server's time.
            let _place = self.enter().await?;
            let (node, call) = self.for_write()?;
            node.call(call, delay, Query::Add { name: new.name.clone(), price }).await?
        };
        let id = answer.items.first().map(|item| item.id).ok_or_else(|| Error::Failed {
            place: "primary".to_owned(),
            detail: "it took an item and gave it no id".to_owned(),
        })?;
        let written = Item { id, name: new.name, price };
        let checksum = Checksum::with(&mut digest, &written);
        let body = json(&written, &mut buffer);
        drop((buffer, digest));
        self.acknowledge(id, checksum);
        // Replicas have it a moment later; who reads it back at once finds it here.
        self.cache(id, &body).await;
        Ok((id, checksum))
    }

    /// Puts what a server has into all levels.
    async fn cache(&self, id: u64, body: &Bytes) {
        self.tiers.insert(id, body);
        if let Some(distributed) = &self.distributed {
            distributed.insert(id, body).await;
        }
    }

    async fn read(&self, delay: Duration, query: Query) -> Result<Answer, Error> {
        let _place = self.enter().await?;
        let (node, call) = self.for_read()?;
        node.call(call, delay, query).await
    }
}

/// The item as JSON, written in the buffer.
fn json(item: &Item, buffer: &mut Vec<u8>) -> Bytes {
    buffer.clear();
    // Nothing in an item can fail to be written.
    let _ = serde_json::to_writer(&mut *buffer, item);
    Bytes::copy_from_slice(buffer)
}
