//! Addresses that proxies listen on.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::Error;

/// Connections that the system may hold for us before they are accepted.
const BACKLOG: u32 = 4_096;

/// The address of a host and port; none = any port on loopback, no host = all addresses of the machine, as Go reads it.
///
/// # Errors
/// When it is none.
pub(super) async fn resolve(address: &str) -> Result<SocketAddr, Error> {
    let whole = match address {
        "" => "127.0.0.1:0".to_owned(),
        port if port.starts_with(':') => format!("0.0.0.0{port}"),
        address => address.to_owned(),
    };
    let wrong = |source| Error::Listen { address: address.to_owned(), source };
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host(whole).await.map_err(wrong)?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| wrong(io::Error::other("the name has no address")))
}

/// Listens; the address that it got.
///
/// # Errors
/// When the address is none, is not loopback and has to be, or cannot be had.
pub(super) async fn listen(address: &str, any: bool) -> Result<(TcpListener, SocketAddr), Error> {
    let socket = resolve(address).await?;
    if !any && !socket.ip().is_loopback() {
        return Err(Error::NotLoopback(address.to_owned()));
    }
    let wrong = |source| Error::Listen { address: address.to_owned(), source };
    let listener = bind(socket).map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    Ok((listener, bound))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A proxy that is enabled again wants its port, though connections of before linger there.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
