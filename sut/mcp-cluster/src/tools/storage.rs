//! Objects that are stored in copies and given back.

use std::sync::Arc;

use rmcp::model::Tool;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Failure, plain, tool, within};
use crate::app::App;
use crate::records::{Record, checksum};
use crate::replicas::Refused;

/// Bytes of a key at most.
pub(crate) const MAX_KEY: usize = 256;
/// Bytes of an object at most.
const MAX_CONTENT: usize = 64 << 10;
/// Keys in one answer at most.
const MAX_KEYS: u32 = 1_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Put {
    /// Under which the object is found again; without control characters.
    #[schemars(length(min = 1, max = MAX_KEY))]
    key: String,
    /// The object, a text.
    #[schemars(length(max = MAX_CONTENT))]
    content: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    /// As it was written.
    #[schemars(length(min = 1, max = MAX_KEY))]
    key: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    /// How the keys begin; absent = all.
    #[serde(default)]
    #[schemars(length(max = MAX_KEY))]
    prefix: String,
    /// `next` of the page before; absent = from the beginning.
    #[serde(default)]
    #[schemars(length(max = MAX_KEY))]
    after: Option<String>,
    /// Keys in one answer at most.
    #[serde(default = "most_keys")]
    #[schemars(range(min = 1, max = MAX_KEYS))]
    limit: u32,
}

fn most_keys() -> u32 {
    100
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Stored {
    key: String,
    /// SHA-256 of the content, hexadecimal.
    checksum: String,
    /// Grows with each write of the key.
    version: u64,
    /// The servers that have it.
    holders: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Object {
    key: String,
    content: Arc<str>,
    /// SHA-256 of the content, hexadecimal.
    checksum: String,
    version: u64,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Deleted {
    key: String,
    version: u64,
    /// The servers that know.
    holders: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Keys {
    keys: Vec<String>,
    /// Where the next page begins; absent = there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(crate) fn tools() -> Vec<Tool> {
    vec![
        tool::<Put, Stored>("put", "Stores an object, in place of what its key had."),
        tool::<Key, Object>("get", "Gives back the object of a key."),
        tool::<Key, Deleted>("delete", "Deletes the object of a key, if there is one."),
        tool::<List, Keys>("list", "Lists the keys of the objects in order, page by page."),
    ]
}

fn refused(refused: &Refused) -> Failure {
    Failure::Tool(refused.to_string())
}

pub(crate) async fn put(app: &App, Put { key, content }: Put) -> Result<Stored, Failure> {
    plain("key", &key, MAX_KEY)?;
    within("content", content.len() as u64, 0, MAX_CONTENT as u64)?;
    let checksum = checksum(&content);
    let written = app.cluster.write(&key, Some(content.into())).await.map_err(|error| refused(&error))?;
    Ok(Stored { key, checksum, version: written.number, holders: written.holders })
}

pub(crate) async fn get(app: &App, Key { key }: Key) -> Result<Object, Failure> {
    plain("key", &key, MAX_KEY)?;
    match app.cluster.read(&key).await.map_err(|error| refused(&error))? {
        Some(Record { version, content: Some(content) }) => {
            Ok(Object { key, checksum: checksum(&content), content, version: version.number })
        }
        _ => Err(Failure::Tool(format!("there is no object {key:?}"))),
    }
}

pub(crate) async fn delete(app: &App, Key { key }: Key) -> Result<Deleted, Failure> {
    plain("key", &key, MAX_KEY)?;
    let written = app.cluster.write(&key, None).await.map_err(|error| refused(&error))?;
    Ok(Deleted { key, version: written.number, holders: written.holders })
}

pub(crate) async fn list(app: &App, List { prefix, after, limit }: List) -> Result<Keys, Failure> {
    within("limit", u64::from(limit), 1, u64::from(MAX_KEYS))?;
    within("prefix", prefix.len() as u64, 0, MAX_KEY as u64)?;
    within("after", after.as_ref().map_or(0, String::len) as u64, 0, MAX_KEY as u64)?;
    let listed = app.cluster.list(&prefix, after.as_deref(), limit as usize).await;
    let (keys, next) = listed.map_err(|error| refused(&error))?;
    Ok(Keys { keys, next })
}
