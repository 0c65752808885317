//! Header fields that a plan adds to requests.

use std::collections::BTreeMap;

use crate::keys::{Keys, Problems, join};
use crate::values::{is_token, scalar};

/// Headers that frame a message: the worker alone knows them.
const FRAMING: [&str; 4] = ["connection", "content-length", "transfer-encoding", "upgrade"];

/// The headers under the key `headers`, by name in lower case.
pub fn headers(keys: &mut Keys<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let at = keys.at("headers");
    let mut headers = BTreeMap::new();
    for (name, value) in scalars(keys, "headers", problems) {
        let path = join(&at, &name);
        let lower = name.to_ascii_lowercase();
        if !is_token(&name) || name.len() > 256 {
            problems.add(&path, format!("\"{name}\" is no header name"), "use letters, digits and hyphens");
        } else if FRAMING.contains(&lower.as_str()) {
            problems.add(
                &path,
                "this header frames the message and is the load worker's",
                "remove it; connection = \"fresh\" in the step closes connections",
            );
        } else if headers.insert(lower, value).is_some() {
            problems.add(&path, "the header is given twice, its name in different cases", "remove one");
        }
    }
    headers
}

/// A table of single values.
pub fn scalars(keys: &mut Keys<'_>, key: &'static str, problems: &mut Problems) -> BTreeMap<String, String> {
    let at = keys.at(key);
    let mut all = BTreeMap::new();
    for (name, value) in keys.table(key, problems).into_iter().flatten() {
        if let Some(value) = scalar(&join(&at, name), value, problems) {
            all.insert(name.clone(), value);
        }
    }
    all
}
