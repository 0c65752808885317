//! The files that a run needs beside plan and guests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::model::Plan;

/// A file that goes into the run's bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleFile {
    /// Its name in the bundle: `feed:items.csv`, `ca:shop`, `cert:shop`, `key:shop`.
    pub name: String,
    /// As the plan writes it: relative to the plan's directory.
    pub path: PathBuf,
    /// The key that names it, for errors.
    pub key: String,
}

/// Whether the file of this name in a bundle is a certificate, or a key, for TLS towards a target.
#[must_use]
pub fn is_for_tls(name: &str) -> bool {
    ["ca:", "cert:", "key:"].iter().any(|kind| name.starts_with(kind))
}

impl Plan {
    /// The files that workers need beside plan and guests, each once: feeders (the value of any key `feed` in a
    /// scenario's configuration, or of `file` in a table `feed`) and certificates.
    #[must_use]
    pub fn bundle_files(&self) -> Vec<BundleFile> {
        let mut files = BTreeMap::new();
        for (index, scenario) in self.scenarios.iter().enumerate() {
            feeds(&scenario.config, &format!("scenarios[{index}].config"), &mut files);
        }
        for phase in &self.phases {
            for (scenario, config) in &phase.scenario_config {
                feeds(config, &format!("phases.{}.scenarios.{scenario}", phase.name.name()), &mut files);
            }
        }
        for target in &self.targets {
            let mut add = |kind: &str, path: &PathBuf, key: &str| {
                let key = format!("targets.{}.tls.{key}", target.name);
                files.insert(format!("{kind}:{}", target.name), (path.clone(), key));
            };
            if let Some(ca) = &target.tls.ca {
                add("ca", ca, "ca");
            }
            if let Some((certificate, key)) = &target.tls.client {
                add("cert", certificate, "client-cert");
                add("key", key, "client-key");
            }
        }
        files.into_iter().map(|(name, (path, key))| BundleFile { name, path, key }).collect()
    }
}

fn feeds(value: &Value, path: &str, files: &mut BTreeMap<String, (PathBuf, String)>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                feeds(item, &format!("{path}[{index}]"), files);
            }
        }
        Value::Object(entries) => {
            for (key, inner) in entries {
                let at = format!("{path}.{key}");
                let file =
                    if key == "feed" { inner.as_str().or_else(|| inner.get("file")?.as_str()) } else { None };
                match file {
                    Some(file) => {
                        files.entry(format!("feed:{file}")).or_insert_with(|| (PathBuf::from(file), at));
                    }
                    None => feeds(inner, &at, files),
                }
            }
        }
        _ => {}
    }
}
