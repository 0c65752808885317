//! The WebAssembly host: the only crate that knows wasmtime.
