//! Who is in the cluster, and which servers a key is at home on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Kind {
    /// Orders and carries out roll-outs.
    InfrastructureCommander,
    /// Finds what should not be in source text.
    SecurityScanner,
    /// Answers queries over series of figures.
    MonitoringPrometheus,
    /// Carries messages in order.
    CommunicationHub,
    /// Stores objects in copies on several servers.
    StorageController,
}

impl Kind {
    /// All, in the order in which a region gets its servers.
    pub const ALL: [Self; 5] = [
        Self::StorageController,
        Self::SecurityScanner,
        Self::MonitoringPrometheus,
        Self::CommunicationHub,
        Self::InfrastructureCommander,
    ];

    /// As it is written everywhere.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InfrastructureCommander => "infrastructure_commander",
            Self::SecurityScanner => "security_scanner",
            Self::MonitoringPrometheus => "monitoring_prometheus",
            Self::CommunicationHub => "communication_hub",
            Self::StorageController => "storage_controller",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A server of the cluster. Its name is what keys are placed by: one that takes another's place takes its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Unlike any other's.
    pub name: String,
    /// What it offers.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Where it stands; copies are spread over regions.
    pub region: String,
    /// Where clients reach it.
    pub url: String,
    /// Where other servers reach it: `ADDRESS:PORT`, plain HTTP.
    pub peer: String,
}

/// All servers, and in how many copies each object is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// Copies of each object, each on a server of its own.
    pub replication: usize,
    /// The servers, in any order.
    pub servers: Vec<Member>,
}

/// Servers of a cluster at most: each asks all others.
const MAX_SERVERS: usize = 100;

impl Members {
    /// What is wrong with them; empty = nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let count = self.servers.len();
        if !(1..=MAX_SERVERS).contains(&count) {
            problems.push(format!("servers: there are {count}, expected 1 to {MAX_SERVERS}"));
        }
        if !(1..=count.max(1)).contains(&self.replication) {
            let found = self.replication;
            problems.push(format!("replication: {found} is not between 1 and the {count} servers there are"));
        }
        let mut names: Vec<&str> = self.servers.iter().map(|member| member.name.as_str()).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            if pair[0] == pair[1] {
                problems.push(format!("servers: two are called {:?}; each needs a name of its own", pair[0]));
            }
        }
        problems
    }

    /// What is wrong with them for the server with this name, which has to be one of them; empty = nothing.
    #[must_use]
    pub fn problems_for(&self, name: &str) -> Vec<String> {
        let mut problems = self.problems();
        if !self.servers.iter().any(|member| member.name == name) {
            problems.push(format!("servers: this one, {name:?}, is not among them"));
        }
        problems
    }

    /// A number that differs when names, regions or the number of copies do: servers with different ones place keys
    /// differently and must not count on each other.
    #[must_use]
    pub fn placement(&self) -> u64 {
        let mut parts: Vec<u64> = self.servers.iter().map(Self::identity).collect();
        parts.sort_unstable();
        parts.iter().fold(draws::at(self.replication as u64, 0), |key, part| draws::at(key ^ part, 1))
    }

    /// The servers that a key is at home on: of all, by the highest draw of key and server (rendezvous hashing), one of each
    /// region first.
    #[must_use]
    pub fn homes(&self, key: &str) -> Vec<&Member> {
        let mut order = self.order(key);
        order.truncate(self.replication);
        order
    }

    /// All servers in the order in which they take a copy of a key, its homes first.
    #[must_use]
    pub fn order(&self, key: &str) -> Vec<&Member> {
        let hash = draws::text(key);
        let mut drawn: Vec<(u64, &Member)> =
            self.servers.iter().map(|member| (draws::at(hash ^ Self::identity(member), 0), member)).collect();
        // Names are unlike, so the order is whole also if two draws are the same.
        drawn.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.name.cmp(&other.name)));
        let mut order: Vec<&Member> = Vec::with_capacity(drawn.len());
        let mut rest = drawn;
        while !rest.is_empty() {
            // One of each region that is left, in each round.
            let mut regions: Vec<&str> = Vec::new();
            rest.retain(|(_, member)| {
                let first = !regions.contains(&member.region.as_str());
                if first {
                    regions.push(&member.region);
                    order.push(member);
                }
                !first
            });
        }
        order
    }

    fn identity(member: &Member) -> u64 {
        draws::at(draws::text(&member.name), draws::text(&member.region))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(regions: usize, of_each: usize) -> Members {
        let server = |region: usize, n: usize| Member {
            name: format!("r{region}-s{n}"),
            kind: Kind::ALL[n % Kind::ALL.len()],
            region: format!("r{region}"),
            url: String::new(),
            peer: String::new(),
        };
        let servers = (0..regions).flat_map(|region| (0..of_each).map(move |n| server(region, n))).collect();
        Members { replication: 3, servers }
    }

    #[test]
    fn homes_are_one_in_each_region_and_evenly_spread() {
        let members = cluster(3, 5);
        let mut counts = std::collections::BTreeMap::new();
        for n in 0..3_000 {
            let key = format!("key-{n}");
            let homes = members.homes(&key);
            let mut regions: Vec<&str> = homes.iter().map(|home| home.region.as_str()).collect();
            regions.sort_unstable();
            assert_eq!(regions, ["r0", "r1", "r2"]);
            for home in homes {
                *counts.entry(home.name.clone()).or_insert(0) += 1;
            }
        }
        assert_eq!(counts.len(), 15);
        assert!(counts.values().all(|count| (480..720).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_order_has_everyone_once() {
        let members = cluster(2, 4);
        let mut names: Vec<&str> = members.order("x").iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names[..3], members.homes("x").iter().map(|home| home.name.as_str()).collect::<Vec<_>>());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 8);
    }

    #[test]
    fn a_server_that_goes_moves_only_its_own_keys() {
        let all = cluster(3, 5);
        let mut fewer = all.clone();
        fewer.servers.retain(|member| member.name != "r1-s2");
        let names = |members: &Members, key: &str| -> Vec<String> {
            members.homes(key).iter().map(|home| home.name.clone()).collect()
        };
        for n in 0..1_000 {
            let key = format!("key-{n}");
            let before = names(&all, &key);
            if !before.contains(&"r1-s2".to_owned()) {
                assert_eq!(before, names(&fewer, &key));
            }
        }
        assert_ne!(all.placement(), fewer.placement());
    }

    #[test]
    fn addresses_and_the_order_of_servers_place_nothing() {
        let members = cluster(3, 5);
        let mut other = members.clone();
        other.servers.reverse();
        other.servers[3].peer = "127.0.0.1:9".to_owned();
        assert_eq!(members.placement(), other.placement());
    }

    #[test]
    fn what_is_wrong_is_all_named() {
        let mut members = cluster(1, 2);
        members.servers[1].name = "r0-s0".to_owned();
        let problems = members.problems().join("; ");
        assert!(problems.contains("replication: 3") && problems.contains("\"r0-s0\""), "{problems}");
        assert!(cluster(3, 5).problems().is_empty());
    }
}
