//! Who can reach whom in `deploy/compose.yaml`, and from outside.

use std::collections::BTreeSet;
use std::net::TcpStream;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::docker::{Project, docker};
use crate::whole::with;

pub(crate) fn nothing_listens_beyond_what_the_file_publishes() -> anyhow::Result<()> {
    const LISTENS: [Listens; 4] = [
        ("postgres", &[5432], &[]),
        ("ingest-api", &[8280, 8281], &[8280]),
        ("pod-proxy", &[8290, 8291], &[8290]),
        ("prometheus", &[9090], &[9090]),
    ];
    with(|whole| {
        listen(&whole.project, &LISTENS)?;
        // From this machine, by another of its addresses: the one in the network of the proxy.
        let url = whole.project.url("pod-proxy", 8290)?;
        let port = url.rsplit(':').next().context("a port")?;
        let gateway = whole.project.inspect("pod-proxy")?["NetworkSettings"]["Networks"]
            [whole.project.full_name("pod-front")]["Gateway"]
            .clone();
        let gateway = gateway.as_str().context("a gateway")?;
        let reached = TcpStream::connect(format!("127.0.0.1:{port}"));
        ensure!(reached.is_ok(), "{reached:?}");
        let reached = TcpStream::connect(format!("{gateway}:{port}"));
        ensure!(reached.is_err(), "{gateway}:{port} answers");
        Ok(())
    })
}

/// A service, what it listens on in its own namespace, and what of it is published on this machine.
pub(crate) type Listens = (&'static str, &'static [u16], &'static [u16]);

/// Fails unless services listen and publish as it is said here.
pub(crate) fn listen(project: &Project, expected: &[Listens]) -> anyhow::Result<()> {
    for (service, inside, published) in expected {
        let script = "cat /proc/net/tcp /proc/net/tcp6; echo; cat /proc/net/udp /proc/net/udp6";
        let tables = project.in_network_of(service, script)?;
        let (tcp, udp) = tables.split_once("\n\n").context("two tables")?;
        let found: BTreeSet<u16> =
            sockets(tcp).filter(|(state, ..)| *state == "0A").map(|(.., port)| port).collect();
        ensure!(found == inside.iter().copied().collect(), "{service} listens on {found:?}");
        // A query of a name may be under way; one that waits for anybody has no peer.
        let datagrams: Vec<_> = sockets(udp).filter(|(state, ..)| *state == "07").collect();
        ensure!(datagrams.is_empty(), "{service} waits for datagrams: {datagrams:?}");

        let ports = project.inspect(service)?["NetworkSettings"]["Ports"].clone();
        let ports = ports.as_object().into_iter().flatten().filter(|(_, hosts)| !hosts.is_null());
        let mut found = BTreeSet::new();
        for (port, hosts) in ports {
            let hosts = hosts.as_array().context("hosts")?;
            ensure!(hosts.iter().all(|host| host["HostIp"] == "127.0.0.1"), "{service}: {hosts:?}");
            found.insert(port.trim_end_matches("/tcp").parse::<u16>()?);
        }
        ensure!(found == published.iter().copied().collect(), "{service} publishes {found:?}");
    }
    Ok(())
}

/// State, address and port of each socket in tables of the kernel, without those of Docker's own name server.
fn sockets(tables: &str) -> impl Iterator<Item = (&str, &str, u16)> {
    const DOCKER_DNS: &str = "0B00007F";
    tables.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (address, port) = words.nth(1)?.split_once(':')?;
        let state = words.nth(1)?;
        Some((state, address, u16::from_str_radix(port, 16).ok()?)).filter(|_| address != DOCKER_DNS)
    })
}

pub(crate) fn each_service_reaches_what_it_must_and_nothing_else() -> anyhow::Result<()> {
    const TARGETS: [(&str, u16); 4] =
        [("postgres", 5432), ("ingest-api", 8280), ("pod-proxy", 8290), ("prometheus", 9090)];
    const REACHES: [(&str, &[&str]); 4] = [
        ("postgres", &["ingest-api"]),
        ("ingest-api", &["postgres", "pod-proxy"]),
        ("pod-proxy", &["ingest-api"]),
        ("prometheus", &["ingest-api", "pod-proxy"]),
    ];
    with(|whole| {
        for (service, expected) in REACHES {
            let mut script = String::new();
            for (target, port) in TARGETS.into_iter().filter(|(target, _)| *target != service) {
                for (_, address) in whole.project.addresses(target)? {
                    // What is not to be reached does not answer at all.
                    let seconds = if expected.contains(&target) { 5 } else { 1 };
                    script += &format!(
                        "timeout {seconds} bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {target}\n"
                    );
                }
            }
            // No way out of this machine: none at all, or one whose answers do not come back.
            let out = whole.project.in_network_of(service, &format!("{script} true"))?;
            let reached: BTreeSet<&str> = out.lines().collect();
            ensure!(reached == expected.iter().copied().collect(), "{service} reaches {reached:?}");
        }
        for network in ["ingest-front", "pod-front", "prometheus-front", "database", "reports", "metrics"] {
            let inspected: Value =
                serde_json::from_str(&docker(&["network", "inspect", &whole.project.full_name(network)])?)?;
            let without_nat =
                inspected[0]["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false";
            ensure!(inspected[0]["Internal"] == true || without_nat, "{network} leads out");
        }
        Ok(())
    })
}
