//! Objects: in a bucket of JetStream under their digest; each process keeps local copies, which it verifies.

use std::error::Error as _;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind, ObjectStoreError};
use async_nats::jetstream::object_store::{Config, GetErrorKind, InfoErrorKind, ObjectStore};
use async_nats::jetstream::stream::StorageType;
use tokio::io::AsyncReadExt as _;

use super::Nats;
use super::connect::chain;
use crate::error::BusError;

/// The bucket's name.
const BUCKET: &str = protocol::access::BUCKET;

impl Nats {
    /// Puts bytes under a digest, unless they are there.
    pub(crate) async fn put_object(&self, digest: &str, bytes: &[u8]) -> Result<(), BusError> {
        let bucket = self.bucket().await?;
        match bucket.info(name(digest)).await {
            Ok(info) if !info.deleted => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == InfoErrorKind::NotFound => {}
            Err(error) => return Err(self.lost(digest, chain(&error))),
        }
        let mut reader = bytes;
        let put = bucket.put(name(digest), &mut reader).await;
        put.map(|_| ()).map_err(|error| self.lost(digest, chain(&error)))
    }

    /// The bytes of a digest; `None` when nobody has put them. The caller verifies them.
    pub(crate) async fn get_object(&self, digest: &str) -> Result<Option<Vec<u8>>, BusError> {
        let Some(bucket) = self.find_bucket().await? else { return Ok(None) };
        let mut object = match bucket.get(name(digest)).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.lost(digest, chain(&error))),
        };
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(READ, object.read_to_end(&mut bytes)).await;
        match read {
            Ok(Ok(_)) => Ok(Some(bytes)),
            Ok(Err(error)) => Err(self.lost(digest, error.to_string())),
            Err(_) => Err(self.lost(digest, format!("not read within {READ:?}"))),
        }
    }

    /// The bucket, which is made by whoever puts into it first.
    async fn bucket(&self) -> Result<ObjectStore, BusError> {
        if let Some(bucket) = self.find_bucket().await? {
            return Ok(bucket);
        }
        let config = Config { bucket: BUCKET.to_owned(), storage: StorageType::File, ..Config::default() };
        let made = self.jetstream.create_object_store(config).await;
        made.map_err(|error| self.lost("the object store", chain(&error)))
    }

    /// The bucket; `None` when nobody has put anything yet.
    async fn find_bucket(&self) -> Result<Option<ObjectStore>, BusError> {
        match self.jetstream.get_object_store(BUCKET).await {
            Ok(bucket) => Ok(Some(bucket)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.lost("the object store", chain(&error))),
        }
    }
}

/// Whether an error means that the bucket is not there, rather than that nothing is known of it.
fn is_missing(error: &ObjectStoreError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<GetStreamError>());
    match source.map(GetStreamError::kind) {
        Some(GetStreamErrorKind::JetStream(error)) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
        _ => false,
    }
}

/// How long reading one object may take: large feeders over a slow network.
const READ: std::time::Duration = std::time::Duration::from_secs(120);

/// An object's name: the digest without its prefix, for names have no colon.
fn name(digest: &str) -> &str {
    digest.rsplit(':').next().unwrap_or(digest)
}
