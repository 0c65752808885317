//! One message of each type, as version 1 encodes it, in `tests/golden/v1/*.hex`.
//!
//! These bytes are what an older service sends and what lies in logs: a change of the `.proto` files that does not read
//! them as before, or does not write them as before, breaks the protocol. The files are never changed. After fields or
//! messages were added, add instances that have them to [`instances`] under a new name (`Series.2`) and run
//! `GAUNTLET_BLESS=1 cargo test -p protocol`, which writes the files that are missing and no others.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use prost::Message;

mod faults;
mod instances;

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Lines of 32 bytes, so that a difference is seen where it is.
    digits.chunks(32).map(|line| line.concat() + "\n").collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Collects what is wrong, so that one run shows all of it.
#[derive(Default)]
struct Checked {
    names: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Checked {
    fn check<M: Message + Default + PartialEq + Debug>(&mut self, name: &str, instance: &M) {
        assert!(self.names.insert(name.to_owned()), "{name} stands twice");
        let path = dir().join(format!("{name}.hex"));
        if !path.exists() && std::env::var_os("GAUNTLET_BLESS").is_some() {
            std::fs::write(&path, hex(&instance.encode_to_vec())).unwrap();
        }
        let Ok(golden) = std::fs::read_to_string(&path) else {
            self.wrong.push(format!("{name}: no file {}", path.display()));
            return;
        };
        match M::decode(bytes(&golden).as_slice()) {
            Ok(decoded) if decoded == *instance => {}
            Ok(decoded) => self.wrong.push(format!("{name}: is now read as {decoded:?}")),
            Err(error) => self.wrong.push(format!("{name}: cannot be read any more: {error}")),
        }
        if hex(&instance.encode_to_vec()) != golden {
            self.wrong.push(format!("{name}: is now written as\n{}", hex(&instance.encode_to_vec())));
        }
    }
}

#[test]
fn version_1_is_read_and_written_as_ever() {
    let mut checked = Checked::default();
    instances::all(&mut checked);
    assert!(checked.wrong.is_empty(), "{}", checked.wrong.join("\n"));
}

#[test]
fn every_message_has_a_golden_file_and_every_file_a_message() {
    let generated = include_str!("../../src/generated/gauntlet.v1.rs");
    let messages = generated.lines().filter_map(|line| line.strip_prefix("pub struct "));
    let messages: BTreeSet<&str> =
        messages.filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next()).collect();
    assert!(messages.contains("SampleBatch"), "the generated code looks different: {messages:?}");
    let mut checked = Checked::default();
    instances::all(&mut checked);
    let covered: BTreeSet<&str> = checked.names.iter().filter_map(|name| name.split('.').next()).collect();
    assert_eq!(messages, covered);
    let files: BTreeSet<String> = std::fs::read_dir(dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().trim_end_matches(".hex").to_owned())
        .collect();
    assert_eq!(files, checked.names);
}

#[test]
fn unknown_fields_of_a_newer_version_are_skipped() {
    let ack = protocol::v1::EndRun { run: vec![1; 16] };
    let mut bytes = ack.encode_to_vec();
    // Field 1000, a varint.
    bytes.extend([0xc0, 0x3e, 0x2a]);
    assert_eq!(protocol::v1::EndRun::decode(bytes.as_slice()).unwrap(), ack);
}
