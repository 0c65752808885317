//! Compiled guests on disk, addressed by what they were made from.
//!
//! A compiled guest is machine code that is run as it stands, so only what this user's gauntlet wrote is loaded: the
//! folder belongs to the user and nobody else may write to it. Each entry begins with the digest of the rest: one that
//! a crash or a disk has damaged is made again.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::error::HostError;

/// Opens every entry, before the digest.
const MAGIC: &[u8; 16] = b"gauntlet-cwasm-1";
const DIGEST: usize = 32;

/// A folder of compiled guests.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    /// What of the engine the compiled code depends on: version, settings, the processor's features.
    engine_key: String,
}

impl Cache {
    pub(crate) fn open(dir: &Path, engine: &Engine) -> Result<Self, HostError> {
        let refused = |message: String| HostError::Cache { path: dir.to_owned(), message };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| refused(format!("it cannot be made ({error})")))?;
        let found = fs::metadata(dir).map_err(|error| refused(error.to_string()))?;
        let user = rustix::process::geteuid().as_raw();
        if found.uid() != user {
            return Err(refused(format!(
                "it belongs to user {}, not to us ({user}); name another",
                found.uid()
            )));
        }
        if found.mode() & 0o022 != 0 {
            return Err(refused("others may write to it; chmod go-w".to_owned()));
        }
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), engine_key: format!("{:016x}", hasher.finish()) })
    }

    /// The compiled form of the guest of this digest. `None` when there is none, or none that is whole.
    pub(crate) fn get(&self, digest: &str) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let mut entry = fs::read(&path).ok()?;
        let body = MAGIC.len() + DIGEST;
        let whole = entry.len() >= body
            && entry.starts_with(MAGIC)
            && Sha256::digest(&entry[body..])[..] == entry[MAGIC.len()..body];
        if !whole {
            tracing::warn!(path = %path.display(), "a compiled guest is damaged and is made again");
            return None;
        }
        entry.drain(..body);
        Some(entry)
    }

    /// Keeps a compiled guest: all of it or nothing, whoever else writes at the same time.
    pub(crate) fn put(&self, digest: &str, compiled: &[u8]) -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(compiled))?;
        file.write_all(compiled)?;
        file.persist(self.path(digest)).map_err(|error| error.error)?;
        Ok(())
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{}.cwasm", self.engine_key))
    }
}

/// Makes compiled code runnable.
///
/// `compiled` is the output of our own compiler: from this process, from our child, or from the [`Cache`].
pub(crate) fn deserialize(engine: &Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    #[expect(
        unsafe_code,
        reason = "wasmtime cannot check machine code, so it asks for a promise about its origin"
    )]
    // SAFETY: the bytes come from `Engine::precompile_component` of the version linked here, called by this process or
    // by the child that it started, and were either handed over directly or kept in a folder that this user alone can
    // write to, under a digest that was checked. Third parties hand in `.wasm` only. The bytes are copied, so that no
    // later change to a file reaches the code.
    unsafe {
        Component::deserialize(engine, compiled)
    }
}
