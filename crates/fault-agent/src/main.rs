//! `gauntlet-fault-agent`: the fault agent as a program of its own.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let no_prefix: [std::ffi::OsString; 0] = [];
    fault_agent::main(no_prefix, std::env::args_os().skip(1))
}
