//! Where a process listens, as the kernel tells it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The TCP addresses on which a process accepts connections.
///
/// # Panics
/// When `/proc` does not tell.
#[must_use]
pub fn of(pid: u32) -> Vec<SocketAddr> {
    let sockets = sockets(pid);
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{pid}/net/{table}"));
    let lines = tables.iter().flat_map(|table| {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    });
    lines.filter_map(|line| listening(&line, &sockets)).collect()
}

/// The inodes of a process's sockets.
#[expect(clippy::expect_used, reason = "a test may panic")]
fn sockets(pid: u32) -> BTreeSet<u64> {
    let files = std::fs::read_dir(PathBuf::from(format!("/proc/{pid}/fd"))).expect("the files of a process");
    let links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    links
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// The address of a line if it is of a listening socket among these.
fn listening(line: &str, sockets: &BTreeSet<u64>) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let ours = *state == LISTEN && sockets.contains(&inode.parse().ok()?);
    ours.then(|| address(local)).flatten()
}

/// `0100007F:1F90`: words as the machine stores them, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(host.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = if host.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let bytes: Vec<u8> = [0, 8, 16, 24].into_iter().filter_map(word).flatten().collect();
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_this_process_are_found() {
        let here: Vec<_> = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"]
            .iter()
            .filter_map(|address| std::net::TcpListener::bind(address).ok())
            .collect();
        let found = of(std::process::id());
        for listener in &here {
            let address = listener.local_addr().unwrap();
            assert!(found.contains(&address), "{address} is not in {found:?}");
        }
    }
}
