//! Where processes listen, from `/proc`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::identity::ProcessId;

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// The TCP addresses at which any of these processes listens, in order.
pub(super) fn listening(processes: &[ProcessId]) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = BTreeSet::new();
    for process in processes {
        let own = inodes(process.pid);
        for family in ["tcp", "tcp6"] {
            // As its own network namespace has it; an absent family has no sockets.
            let table = fs::read_to_string(format!("/proc/{}/net/{family}", process.pid)).unwrap_or_default();
            let rows = table.lines().skip(1).filter_map(row);
            addresses.extend(rows.filter(|(_, inode)| own.contains(inode)).map(|(address, _)| address));
        }
    }
    Ok(addresses.into_iter().collect())
}

/// The sockets that a process has open; none when we may not look.
fn inodes(pid: u32) -> BTreeSet<u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let inode = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    links.filter_map(inode).collect()
}

/// Address and inode of a socket that listens.
fn row(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTENS {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(address(ip)?, port), fields.get(9)?.parse().ok()?))
}

/// The kernel prints words of memory: each four bytes are in the machine's order.
fn address(text: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for word in text.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn our_own_listeners_are_found_with_their_addresses() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(TcpListener::bind);
        let us = [ProcessId::current().unwrap()];
        let found = listening(&us).unwrap();
        // A machine may be without IPv6.
        for listener in listeners.iter().flatten() {
            let address = listener.local_addr().unwrap();
            assert!(found.contains(&address), "{address} in {found:?}");
        }
        assert!(listeners[0].is_ok());
    }

    #[test]
    fn what_does_not_listen_or_is_no_row_is_passed_over() {
        let listens = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0";
        if cfg!(target_endian = "little") {
            assert_eq!(row(listens), Some((SocketAddr::from(([127, 0, 0, 1], 8080)), 4242)));
        }
        assert_eq!(row(&listens.replace(" 0A ", " 01 ")), None);
        assert_eq!(row("  sl  local_address rem_address"), None);
    }
}
