//! What SQLite's errors mean for whoever has to act.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use rusqlite::ffi;

use crate::{Place, StoreError};

pub(crate) fn store_error(error: &rusqlite::Error, place: &Place) -> StoreError {
    let place = place.clone();
    let detail = error.to_string();
    let rusqlite::Error::SqliteFailure(code, _) = error else {
        return match error {
            // Text that is not UTF-8: somebody else's table, or damage.
            rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::Utf8Error(..) => {
                StoreError::Corrupt { place, detail }
            }
            _ => StoreError::Backend { place, detail },
        };
    };
    match code.code {
        ffi::ErrorCode::DiskFull => StoreError::DiskFull { place },
        ffi::ErrorCode::ReadOnly | ffi::ErrorCode::PermissionDenied => StoreError::ReadOnly { place },
        ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked => StoreError::Locked { place },
        ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase => {
            StoreError::Corrupt { place, detail }
        }
        // SQLite does not say why: a full disk, too, shows as an I/O error where it extends its index of the log.
        ffi::ErrorCode::CannotOpen | ffi::ErrorCode::SystemIoFailure => match why_unwritable(&place) {
            Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => StoreError::DiskFull { place },
            Some(ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied) => {
                StoreError::ReadOnly { place }
            }
            _ if code.code == ffi::ErrorCode::CannotOpen => StoreError::CannotOpen { place, detail },
            _ => StoreError::Backend { place, detail },
        },
        _ => StoreError::Backend { place, detail },
    }
}

/// What keeps a file from being written beside the store, if anything does: found by writing one.
fn why_unwritable(place: &Place) -> Option<ErrorKind> {
    let Place::File(path) = place else { return None };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // As much as SQLite wants at once: 32 KiB for the index of its log, and a page of each of its files.
    let written = tempfile::tempfile_in(dir).and_then(|mut file| file.write_all(&[1; 64 << 10]));
    written.err().map(|error| error.kind())
}
