//! Sockets, TLS, HTTP/1.1, HTTP/2 and the memory-mapped spool: everything that touches the outside.
//!
//! * [`http1`] and [`chunked`]: the answer parser, fed with whatever a read gave, in bounded memory.
//! * [`coding`]: content codings, for who looks into a body.
//! * [`sse`]: server-sent events, read from a body as it comes.
//! * [`monotonic`]: the clock.
//! * [`tunnel`]: the way through an HTTP proxy.
//! * [`wire`]: the request as bytes.
//! * [`tls`]: rustls over a nonblocking socket.
//! * [`connection`]: one transport: connect, handshake, send, receive.
//! * [`http2`]: one transport that carries many requests, once it is connected.
//! * [`send_batch`]: writing to many sockets in one call to the system.
//! * [`pool`]: who may use which connection, per target.
//! * [`socket`]: TCP and Unix sockets.
//! * [`spool`]: the mapped file that counters and histograms live in.

pub mod chunked;
pub mod coding;
pub mod connection;
pub mod http1;
pub mod http2;
pub mod monotonic;
pub mod pool;
pub mod send_batch;
pub mod socket;
pub mod spool;
pub mod sse;
pub mod tls;
pub mod tunnel;
pub mod wire;
