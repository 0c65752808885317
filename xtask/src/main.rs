//! Developer tasks: `cargo xtask <task>`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its terminal")]

mod bench;
mod compose_test;
mod demo;
mod fuzz;
mod guests;
mod paths;
mod proto;
mod test;
mod tools;
mod wasm_target;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <task>

  demo     set up what is needed and run the seven phases against the reference target
  test     set up what is needed and run all tests
  bench    measure and print; control-plane: what the services say over NATS, with 1 to 200 load-workers; [--release];
           samples: what the samples of 50 to 1000 load-workers cost the metrics service, which has one core; [--release];
           experts: times to first tokens and between them, beside a server's log and a raw client; nothing else may run;
           fault-proxy: what the proxy costs beside a direct connection, and how exact its times are;
           load: the load engine beside wrk, oha, hey, k6, h2load and a raw loop, in turns, on two cores;
           [--case closed|connections|json|tls|http2|paced|paced-hard|memory] [--target bare|nginx]
           [--connections N] [--seconds N] [--rounds N] [--only NAME,…];
           [--rate N]: requests a second where there is a schedule (paced, paced-hard);
           [--threads N]: of each client but the raw loop, which then share N cores with the server;
           hot-path: instructions, allocations and futex calls of a request against the committed budget;
           --bless writes the budget anew;
           guest: instructions and nanoseconds of the guests http, mcp and expert a request, by what they look at;
           [--release];
           threads: what two load threads do more than one where nothing else is part of it; [--release]
  compose-test
           start compose.yaml on a container engine of its own and have a plan run across the containers (root; apt)
  fuzz [SECONDS]
           build and run the fuzz targets of what reads a target's bytes, each for 60 s unless told otherwise
  guests   compile the guest modules to WebAssembly components (target/guests); NAME... builds only those
  proto    generate crates/protocol/src/generated from the .proto files; --check only compares";

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["demo"] => return demo::demo(),
        ["test"] => test::test()?,
        ["bench", "control-plane"] => bench::control_plane(false)?,
        ["bench", "control-plane", "--release"] => bench::control_plane(true)?,
        ["bench", "samples"] => bench::samples(false)?,
        ["bench", "samples", "--release"] => bench::samples(true)?,
        ["bench", "experts"] => bench::experts()?,
        ["fuzz"] => fuzz::fuzz(fuzz::SECONDS)?,
        ["fuzz", seconds] => match seconds.parse() {
            Ok(seconds) => fuzz::fuzz(seconds)?,
            Err(error) => anyhow::bail!("{seconds}: {error}: expected whole seconds, such as 3600"),
        },
        ["compose-test"] => compose_test::compose_test()?,
        ["bench", "fault-proxy"] => bench::fault_proxy()?,
        ["bench", "hot-path"] => bench::hot_path(false)?,
        ["bench", "hot-path", "--bless"] => bench::hot_path(true)?,
        ["bench", "guest"] => bench::guest(false)?,
        ["bench", "guest", "--release"] => bench::guest(true)?,
        ["bench", "threads"] => bench::threads(false)?,
        ["bench", "threads", "--release"] => bench::threads(true)?,
        ["bench", "load", options @ ..] => bench::load(&bench::LoadOptions::read(options)?)?,
        ["guests", names @ ..] => guests::build_named(names).map(|_| ())?,
        ["proto"] => proto::generate()?,
        ["proto", "--check"] => proto::check()?,
        _ => {
            eprintln!("{USAGE}");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}
