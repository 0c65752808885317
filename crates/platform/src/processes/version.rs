//! Which program a process runs.

use std::fs::{self, File};
use std::io::{self, Read as _};

use sha2::{Digest as _, Sha256};

use crate::identity::ProcessId;

/// `core-services sha256:…` of the file that the process executes, also when another has taken the file's place since.
/// For a script it is its interpreter's.
pub(super) fn of(process: &ProcessId) -> io::Result<String> {
    let link = format!("/proc/{}/exe", process.pid);
    let path = fs::read_link(&link)?;
    let mut file = File::open(&link)?;
    let mut digest = Sha256::new();
    let mut bytes = vec![0; 64 << 10];
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            read => digest.update(bytes.get(..read).unwrap_or_default()),
        }
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{name} sha256:{hex}"))
}
