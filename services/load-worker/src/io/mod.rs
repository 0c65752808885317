//! Sockets, TLS, HTTP/1.1, HTTP/2 and the memory-mapped spool: everything that touches the outside.
//!
//! * [`http1`] and [`chunked`]: the answer parser, fed with whatever a read gave, in bounded memory.
//! * [`wire`]: the request as bytes.
//! * [`tls`]: rustls over a nonblocking socket.
//! * [`connection`]: one transport: connect, handshake, send, receive.
//! * [`http2`]: one transport that carries many requests, once it is connected.
//! * [`pool`]: who may use which connection, per target.
//! * [`spool`]: the mapped file that counters and histograms live in.

pub mod chunked;
pub mod connection;
pub mod http1;
pub mod http2;
pub mod pool;
pub mod spool;
pub mod tls;
pub mod wire;
