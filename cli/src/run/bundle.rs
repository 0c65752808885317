//! The immutable bundle of a run: plan, guests, feeders and certificates, each by its digest.

use std::path::Path;

use bus::Bus;
use plan::Plan;
use protocol::v1;

use crate::failure::Failure;
use crate::guests::GuestFile;

/// The files of a run, read.
pub(crate) struct Bundle {
    files: Vec<(String, Vec<u8>)>,
}

impl Bundle {
    /// Reads what the plan names.
    ///
    /// # Errors
    /// All files that cannot be read, at once.
    pub(crate) fn collect(plan: &Plan, base_dir: &Path, guests: Vec<GuestFile>) -> Result<Self, Failure> {
        let guests =
            guests.into_iter().enumerate().map(|(index, guest)| (format!("guest:{index}"), guest.bytes));
        let mut files: Vec<(String, Vec<u8>)> = guests.collect();
        let mut problems = Vec::new();
        for file in plan.bundle_files() {
            let path = base_dir.join(&file.path);
            match std::fs::read(&path) {
                Ok(bytes) => files.push((file.name, bytes)),
                Err(error) => problems.push(format!(
                    "{}: cannot read {}: {error}; relative paths begin at the plan's directory",
                    file.key,
                    path.display()
                )),
            }
        }
        if problems.is_empty() { Ok(Self { files }) } else { Err(Failure::input(problems.join("\n"))) }
    }

    /// Puts everything into the object store: the plan's digest, and the files with theirs.
    ///
    /// # Errors
    /// When the disk is full or cannot be written.
    pub(crate) async fn put(&self, plan: &Plan, bus: &Bus) -> Result<(String, Vec<v1::BundleFile>), Failure> {
        let plan_digest = bus.put_object(plan.to_toml().as_bytes()).await?;
        let mut files = Vec::with_capacity(self.files.len());
        for (name, bytes) in &self.files {
            files.push(v1::BundleFile { name: name.clone(), digest: bus.put_object(bytes).await? });
        }
        Ok((plan_digest, files))
    }
}
