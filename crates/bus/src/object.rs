//! Objects: files that are named by the digest of their bytes.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::BusError;

const PREFIX: &str = "sha256:";

#[derive(Clone, Debug)]
pub(crate) struct Objects {
    dir: PathBuf,
}

impl Objects {
    pub(crate) fn open(dir: &Path) -> Result<Self, BusError> {
        let objects = Self { dir: dir.to_owned() };
        fs::create_dir_all(dir).map_err(|error| objects.failed(dir, error))?;
        Ok(objects)
    }

    pub(crate) async fn put(&self, bytes: &[u8]) -> Result<String, BusError> {
        let (this, bytes) = (self.clone(), bytes.to_vec());
        blocking(&self.dir, move || this.put_now(&bytes)).await
    }

    pub(crate) async fn fetch(&self, digest: &str) -> Result<PathBuf, BusError> {
        let (this, digest) = (self.clone(), digest.to_owned());
        blocking(&self.dir, move || this.fetch_now(&digest)).await
    }

    fn put_now(&self, bytes: &[u8]) -> Result<String, BusError> {
        let digest = hex(&Sha256::digest(bytes));
        let path = self.dir.join(&digest);
        // An object of this name that a power cut tore is not it: it is written anew. That, and the check in `fetch`, is
        // why objects need no flush.
        if digest_of(&path).is_ok_and(|found| found == digest) {
            return Ok(format!("{PREFIX}{digest}"));
        }
        let failed = |error| self.failed(&path, error);
        let mut file = tempfile::Builder::new().prefix(".put-").tempfile_in(&self.dir).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.flush()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(format!("{PREFIX}{digest}"))
    }

    fn fetch_now(&self, digest: &str) -> Result<PathBuf, BusError> {
        let lower_hex =
            |text: &&str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let Some(wanted) = digest.strip_prefix(PREFIX).filter(lower_hex) else {
            return Err(BusError::NotADigest { found: digest.to_owned() });
        };
        let path = self.dir.join(wanted);
        match digest_of(&path) {
            Ok(found) if found == wanted => Ok(path),
            Ok(found) => {
                Err(BusError::Damaged { digest: digest.to_owned(), path, found: format!("{PREFIX}{found}") })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(BusError::NoObject { digest: digest.to_owned(), dir: self.dir.clone() })
            }
            Err(error) => Err(self.failed(&path, error)),
        }
    }

    fn failed(&self, path: &Path, source: io::Error) -> BusError {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return BusError::DiskFull { path: self.dir.clone() };
        }
        BusError::Objects { path: path.to_owned(), source }
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    dir: &Path,
    work: impl FnOnce() -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(BusError::Objects { path: dir.to_owned(), source: io::Error::other(error) })
    })
}

fn digest_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_other_failures() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::open(dir.path()).unwrap();
        let failed = |kind: io::ErrorKind| objects.failed(&dir.path().join("object"), kind.into());
        assert!(
            matches!(failed(io::ErrorKind::StorageFull), BusError::DiskFull { path } if path == dir.path())
        );
        assert!(matches!(failed(io::ErrorKind::QuotaExceeded), BusError::DiskFull { .. }));
        assert!(matches!(failed(io::ErrorKind::PermissionDenied), BusError::Objects { .. }));
    }
}
