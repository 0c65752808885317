//! Objects: in a bucket of JetStream under their digest; each process keeps local copies, which it verifies.

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
        let bucket = self.bucket().await?;
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

    async fn bucket(&self) -> Result<ObjectStore, BusError> {
        match self.jetstream.get_object_store(BUCKET).await {
            Ok(bucket) => Ok(bucket),
            Err(_) => {
                let config =
                    Config { bucket: BUCKET.to_owned(), storage: StorageType::File, ..Config::default() };
                let made = self.jetstream.create_object_store(config).await;
                made.map_err(|error| self.lost("the object store", chain(&error)))
            }
        }
    }
}

/// How long reading one object may take: large feeders over a slow network.
const READ: std::time::Duration = std::time::Duration::from_secs(120);

/// An object's name: the digest without its prefix, for names have no colon.
fn name(digest: &str) -> &str {
    digest.rsplit(':').next().unwrap_or(digest)
}
