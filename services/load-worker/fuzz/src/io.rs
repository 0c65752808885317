//! As in the load-worker.

#[path = "../../src/io/chunked.rs"]
pub mod chunked;
#[path = "../../src/io/http1.rs"]
pub mod http1;
#[path = "../../src/io/sse.rs"]
pub mod sse;
