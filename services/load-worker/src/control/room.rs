//! Whether this host has room for a phase's connections: descriptors and local ports (requirement R12: refused with the sum).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use plan::model::Phase;
use protocol::v1;

use super::guests::Prepared;
use super::phases::Shape;
use super::prepare::{Kind, problem};
use crate::spec::{TargetSpec, target_weights};

/// Descriptors that are not connections: what is open already is counted, this is room for what is to come.
const OTHER_FILES: u64 = 128;

/// Makes room for the connections of the largest phase (requirement R12: refused with the sum).
pub(super) fn open_files(shape: &Shape<'_>, phases: &[Phase]) -> Result<(), v1::Problem> {
    let largest = phases.iter().map(|phase| (shape.connections(phase), phase)).max_by_key(|(own, _)| *own);
    let Some((connections, phase)) = largest else { return Ok(()) };
    let open = std::fs::read_dir("/proc/self/fd").map_or(OTHER_FILES, |fds| fds.count() as u64);
    let others = open + OTHER_FILES;
    let needed = connections + others;
    platform::limits::raise_open_files(needed).map(|_| ()).map_err(|e| {
        let whole = u64::from(phase.connections);
        let part = if connections < whole {
            format!("{connections} of its {whole} connections here")
        } else {
            format!("{connections} connections")
        };
        let message = format!(
            "too few open files: phase {} holds {part}, and {others} are kept for everything else: {needed} are \
             needed, the hard limit is {}",
            phase.name.name(),
            e.hard
        );
        let most = e.hard.saturating_sub(others);
        let mend = format!(
            "raise the hard limit (`ulimit -Hn`, LimitNOFILE, --ulimit nofile), add workers, or use at most {most} \
             connections a worker (`connections` of the phase, `load-scale`)"
        );
        problem(Kind::Environment, message, mend)
    })
}

/// Sees that there is a local port for each connection that a phase holds to one address: what tells connections to the
/// same address and port apart is their own port.
pub(super) fn local_ports(
    shape: &Shape<'_>,
    phases: &[Phase],
    scenarios: &[Prepared],
    targets: &[TargetSpec],
) -> Result<(), v1::Problem> {
    // Where the system does not say how many there are, it is found out by using them.
    let Some(ports) = platform::limits::local_ports() else { return Ok(()) };
    let weights =
        target_weights(targets.len(), scenarios.iter().map(|scenario| &scenario.spec), shape.weights);
    let largest = phases.iter().map(|phase| (shape.connections(phase), phase)).max_by_key(|(own, _)| *own);
    let Some((connections, phase)) = largest else { return Ok(()) };
    let held = held(connections, &weights, targets);
    let Some((address, most)) = held.into_iter().max_by_key(|(_, held)| *held) else { return Ok(()) };
    if most <= ports {
        return Ok(());
    }
    Err(problem(
        Kind::Environment,
        format!(
            "too few local ports: phase {} holds {most} connections to {address} here, and this host has {ports} ports \
             for them (net.ipv4.ip_local_port_range)",
            phase.name.name()
        ),
        "widen the range (`sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`), give the target more addresses (a \
         list as its `url`), add workers on other hosts, or use fewer connections (`connections` of the phase, \
         `load-scale`)",
    ))
}

/// How many of so many connections go to each address: targets by weight, their endpoints in turn.
fn held(connections: u64, weights: &[f64], targets: &[TargetSpec]) -> BTreeMap<SocketAddr, u64> {
    let all: f64 = weights.iter().sum();
    let mut held: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for (target, weight) in targets.iter().zip(weights) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and connections"
        )]
        let own = (connections as f64 * weight / all.max(f64::MIN_POSITIVE)).ceil() as u64;
        for endpoint in &target.endpoints {
            if let Some(address) = endpoint.addrs.first() {
                *held.entry(*address).or_default() += own.div_ceil(target.endpoints.len() as u64);
            }
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Endpoint;

    #[test]
    fn connections_are_counted_by_address() {
        let endpoint = |port: u16| Endpoint {
            url: String::new(),
            tls: None,
            addrs: vec![SocketAddr::from(([127, 0, 0, 1], port))],
            socket: None,
            tunnel: None,
            proxy_authorization: None,
            host_header: String::new(),
            base_path: String::new(),
            detour: None,
        };
        let target = |ports: &[u16]| TargetSpec {
            name: String::new(),
            balance: plan::model::Balance::default(),
            outlier_detection: None,
            http2: None,
            keep_alive: true,
            endpoints: ports.iter().map(|port| endpoint(*port)).collect(),
        };
        let targets = [target(&[1, 2, 3]), target(&[3]), target(&[4])];
        let held = held(100, &[2.0, 1.0, 0.0], &targets);
        let by_port: Vec<(u16, u64)> = held.iter().map(|(address, held)| (address.port(), *held)).collect();
        assert_eq!(by_port, [(1, 23), (2, 23), (3, 23 + 34), (4, 0)]);
    }
}
