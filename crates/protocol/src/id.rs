//! Ids, typed over UUID v7 so that one cannot be taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; ids made later sort after earlier ones.
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The 16 bytes that messages carry.
            #[must_use]
            pub fn to_bytes(self) -> Vec<u8> {
                self.0.as_bytes().to_vec()
            }

            /// The 16 bytes as keys of records have them.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads the bytes of a message.
            ///
            /// # Errors
            /// When there are not 16 of them.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| InvalidId {
                    kind: stringify!($name),
                    found: format!("{} bytes", bytes.len()),
                })
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::parse_str(text).map(Self).map_err(|_| InvalidId {
                    kind: stringify!($name),
                    found: format!("{text:?}"),
                })
            }
        }
    )+};
}

ids! {
    /// A run: one execution of one plan.
    RunId,
    /// A load-worker, for the life of its process or its state directory.
    WorkerId,
    /// One life of a producer of records: a restarted producer counts its sequence anew under a new one.
    IncarnationId,
}

/// Text or bytes that are not an id.
#[derive(Debug, thiserror::Error)]
#[error("{found} is not a {kind}: expected a UUID")]
pub struct InvalidId {
    kind: &'static str,
    found: String,
}

/// Commands are refused in words.
impl From<InvalidId> for String {
    fn from(error: InvalidId) -> Self {
        error.to_string()
    }
}
