//! What connections need of this host, one each: open files, and local ports.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Why the limit could not be raised.
#[derive(Debug, thiserror::Error)]
#[error(
    "open files: {wanted} are needed, {hard} is the hard limit: use at most {hard} connections, or raise the limit \
     (`ulimit -Hn`, LimitNOFILE, --ulimit nofile)"
)]
pub struct TooFewFiles {
    /// How many were asked for.
    pub wanted: u64,
    /// The most that this process may have.
    pub hard: u64,
}

/// The soft and the hard limit of this process; `u64::MAX` = none.
#[must_use]
pub fn open_files() -> (u64, u64) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
}

/// Raises the soft limit to at least `want`, and, where privileged, the hard limit with it. A limit that is high enough
/// stays. Returns the soft limit as it is then.
///
/// # Errors
/// When the hard limit is lower and may not be raised.
pub fn raise_open_files(want: u64) -> Result<u64, TooFewFiles> {
    let (soft, hard) = open_files();
    if soft >= want {
        return Ok(soft);
    }
    let maximum = if hard == u64::MAX { None } else { Some(hard.max(want)) };
    setrlimit(Resource::Nofile, Rlimit { current: Some(want), maximum })
        .map(|()| want)
        .map_err(|_| TooFewFiles { wanted: want, hard })
}

/// How many local ports connections to one address can have; `None` = the system does not say.
#[must_use]
pub fn local_ports() -> Option<u64> {
    // Documented in the kernel's ip-sysctl: both ends are used. It rules IPv6, too.
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some((last + 1).saturating_sub(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_suffices_stays_and_one_beyond_reach_is_refused_with_the_sum() {
        let (soft, hard) = open_files();
        assert!(soft <= hard);
        assert_eq!(raise_open_files(1).unwrap(), soft);
        // No kernel lets a process have this many.
        let error = raise_open_files(u64::MAX - 1).unwrap_err();
        assert_eq!((error.wanted, error.hard), (u64::MAX - 1, hard));
        assert_eq!(open_files(), (soft, hard));
    }

    #[test]
    fn there_are_local_ports() {
        let ports = local_ports().unwrap();
        assert!((1..65_536).contains(&ports), "{ports}");
    }

    #[test]
    fn the_soft_limit_rises_to_the_hard_one() {
        let (_, hard) = open_files();
        assert_eq!(raise_open_files(hard).unwrap(), hard);
        assert_eq!(open_files().0, hard);
    }
}
