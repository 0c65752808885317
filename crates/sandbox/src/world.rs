//! Whether a file is a component of our world, found out before anything is compiled.
//!
//! wasmtime would find most of this too, but says "matching implementation was not found in the linker" for the first
//! import it stumbles over: the classic first failure of every plug-in author.

use std::path::Path;

use wasmparser::{Encoding, Parser, Payload};

use crate::error::LoadError;

/// The version of `gauntlet:scenario` that this build understands: all of 0.1.
pub(crate) const VERSION: &str = "0.1.0";
const COMPATIBLE: &str = "0.1.";
const PACKAGE: &str = "gauntlet:scenario/";
/// What the world gives to a guest. `types` has no functions, but shows up as an import.
const IMPORTS: [&str; 2] = ["host", "types"];
const EXPORT: &str = "generator";

/// Checks the imports and exports of a component.
pub(crate) fn check(path: &Path, wasm: &[u8]) -> Result<(), LoadError> {
    let not_a_component = |found: String, mend: &str| LoadError::NotAComponent {
        path: path.to_owned(),
        found,
        mend: mend.to_owned(),
    };
    if !wasm.starts_with(b"\0asm") {
        let found = if wasm.trim_ascii_start().starts_with(b"(") {
            "the text form of WebAssembly"
        } else if wasm.is_empty() {
            "empty"
        } else {
            "something else"
        };
        return Err(not_a_component(found.to_owned(), "a guest is a binary .wasm file"));
    }

    let mut names = Names::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(wasm) {
        let broken = |error| not_a_component(format!("broken ({error})"), "build it again");
        match payload.map_err(broken)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(not_a_component(
                    "a core module".to_owned(),
                    "make a component of it: `cargo xtask guests` does, or `wasm-tools component new`",
                ));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let mismatches = names.mismatches();
    if mismatches.is_empty() {
        Ok(())
    } else {
        Err(LoadError::World { path: path.to_owned(), version: VERSION, mismatches })
    }
}

/// Names are right, and yet a function has another type: only wasmtime sees that.
pub(crate) fn mistyped(path: &Path, what: &str) -> LoadError {
    let mend = "build it with the SDK of this gauntlet, or against its wit/scenario.wit";
    LoadError::World { path: path.to_owned(), version: VERSION, mismatches: vec![format!("{what}; {mend}")] }
}

#[derive(Debug, Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Names {
    fn mismatches(&self) -> Vec<String> {
        let imports = self.imports.iter().filter_map(|name| import_mismatch(name));
        imports.chain(self.export_mismatch()).collect()
    }

    fn export_mismatch(&self) -> Option<String> {
        let wanted = format!("{PACKAGE}{EXPORT}@");
        let found: Vec<_> = self.exports.iter().filter_map(|name| name.strip_prefix(&wanted)).collect();
        if found.iter().any(|version| version.starts_with(COMPATIBLE)) {
            return None;
        }
        Some(match found.first() {
            Some(version) => {
                format!(
                    "exports {wanted}{version}, but {COMPATIBLE}x is understood here; {}",
                    version_mend(version)
                )
            }
            None => format!(
                "does not export {wanted}{VERSION} (it exports {}); implement it, in Rust with gauntlet-sdk's `export!`",
                if self.exports.is_empty() { "nothing".to_owned() } else { self.exports.join(", ") }
            ),
        })
    }
}

/// What is wrong with an import, if anything is.
fn import_mismatch(name: &str) -> Option<String> {
    let ours = name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@'));
    Some(match ours {
        Some((interface, version)) if IMPORTS.contains(&interface) => {
            if version.starts_with(COMPATIBLE) {
                return None;
            }
            format!("imports {name}, but {COMPATIBLE}x is understood here; {}", version_mend(version))
        }
        Some(_) => {
            format!("imports {name}, which {VERSION} does not have; use a newer gauntlet or an older SDK")
        }
        None if name.starts_with("wasi:") => format!(
            "imports {name}, but a guest has no access to the system; build for wasm32-unknown-unknown instead of \
             wasm32-wasip1 or wasip2, componentize-py with --stub-wasi, componentize-js with disableFeatures for \
             stdio, random, clocks, http and fetch-event"
        ),
        None => format!("imports {name}, but a guest is given {PACKAGE}host alone; remove what needs it"),
    })
}

fn version_mend(found: &str) -> &'static str {
    let number = |version: &str| -> Option<(u64, u64)> {
        let mut parts = version.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    if number(found) > number(VERSION) {
        "use a newer gauntlet, or build the guest with an older SDK"
    } else {
        "build the guest again with the SDK of this gauntlet"
    }
}
