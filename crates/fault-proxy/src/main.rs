//! `gauntlet-fault-proxy`: the fault proxy as a process of its own.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    fault_proxy::main(std::env::args_os())
}
