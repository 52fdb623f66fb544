//! `deploy/pod/compose.yaml`: a proxy beside a Pod, whose vendor is elsewhere.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, ensure};
use e2e::stack::{client, folder, post};
use serde_json::Value;

use crate::docker::{POSTGRES, Project, docker, repository, until};
use crate::images::NGINX;
use crate::load::event;
use crate::vendor::{self, Vendor};
use crate::{block_on, images};

pub(crate) fn a_proxy_beside_a_pod_becomes_healthy_and_hands_on_what_its_file_allows() -> anyhow::Result<()> {
    vendor::with(|Vendor { project: of_vendor, .. }| {
        let (tag, folder) = (images::tag()?, folder()?);
        let file = "[server]\ndomain = 'pod.example'\n[vendor_analytics]\npreset = 'gdpr'\nusage.user_lang.enabled = false\n\
            [pod_proxy]\naccounts.fixed = 33\npod_version = '0.5.0'\nflush_interval = 'PT1S'\n\
            vendor_url = 'http://ingest-api:8280/_api/cloud'\n";
        fs::write(folder.path().join("prose.toml"), file)?;
        let mut project = Project::new("pod", "pod/compose.yaml", &tag);
        project.set("PROSE_DIRECTORY", &folder.path().display().to_string());
        // "As the file says."
        project.set("PROSE_VENDOR_ANALYTICS__ENABLED", "");
        project.up(&[])?;
        let log = project.log("pod-proxy")?;
        ensure!(log.contains("Shared with the vendor (preset `gdpr`)"), "{log}");

        // The vendor is elsewhere; what leads there on this machine is a network.
        let before = of_vendor.counted()?;
        let container = project.container("pod-proxy")?;
        docker(&["network", "connect", &of_vendor.full_name("reports"), &container])?;
        let mut event = event(900_000);
        event["origin"]["app"]["platform"] = "macos-aarch64".into();
        event["origin"]["app"]["user_preferred_locales"] = Value::from_iter(["de-CH"]);
        let url = project.event_url("pod-proxy")?;
        block_on(post(&client()?, &url, event.to_string()))?;
        until("the vendor counts it", || Ok((of_vendor.counted()? == before + 1).then_some(())))?;

        let sent = project.sent("pod-proxy")?;
        let sent = sent.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let of_app: Vec<_> = sent.iter().filter(|line| !line["event"]["origin"]["app"].is_null()).collect();
        ensure!(of_app.len() == 1 && sent.len() > 1, "an event and the Pod's own report: {sent:?}");
        let origin = &of_app[0]["event"]["origin"];
        ensure!(
            origin["app"]["platform"] == "macos-aarch64" && origin["pod"]["user_count_min"] == 20,
            "{origin}"
        );
        ensure!(origin["app"]["user_preferred_locales"].is_null(), "{origin}");
        ensure!(
            !of_app[0].to_string().contains(event["origin"]["pod"]["user_hash"].as_str().unwrap_or("none"))
        );
        Ok(())
    })
}

/// A proxy that asks a Pod Server at `accounts` how many accounts there are, as `settings` and other files have it; without an
/// answer, it would take no event.
fn proxy_that_asks(
    (name, compose): (&str, &str),
    accounts: &str,
    change: impl FnOnce(&mut Project),
) -> anyhow::Result<(Project, tempfile::TempDir)> {
    let folder = folder()?;
    let file = format!(
        "[vendor_analytics]\npreset = 'gdpr'\n[pod_proxy]\ndomain = 'pod.example'\nflush_interval = 'PT1S'\n\
         accounts.url = '{accounts}'\naccounts.lifetime = 'PT1S'\nvendor_url = 'http://127.0.0.1:9'\n"
    );
    fs::write(folder.path().join("prose.toml"), file)?;
    let mut project = Project::new(name, compose, &images::tag()?);
    project.set("PROSE_DIRECTORY", &folder.path().display().to_string());
    project.set("PROSE_VENDOR_ANALYTICS__ENABLED", "");
    change(&mut project);
    project.up(&[])?;
    Ok((project, folder))
}

/// How many events the proxy at `url` holds of one that an app hands it there.
fn held(project: &Project, url: &str) -> anyhow::Result<u64> {
    block_on(post(&client()?, url, event(900_010).to_string()))?;
    project.proxy_health("pod-proxy")?["spool"]["entries"].as_u64().context("entries")
}

/// A Pod Server with 33 accounts, which listens on that address of this machine only. Ends with the test.
fn pod_server(address: IpAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            if lines.take_while(|line| !line.is_empty()).count() > 0 {
                let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
                    Content-Length: 12\r\n\r\n{\"count\":33}";
                // Who asked may be gone.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        }
    });
    Ok(address)
}

pub(crate) fn a_proxy_asks_a_pod_server_on_the_bridge_but_none_on_loopback() -> anyhow::Result<()> {
    images::make_stand_ins()?;
    // The address that a container gets with the name.
    let told = ["run", "--rm", "--add-host", "host.docker.internal:host-gateway", "--entrypoint", "getent"];
    let told = docker(&[&told[..], &[POSTGRES, "hosts", "host.docker.internal"]].concat())?;
    let bridge = told.split_whitespace().next().context("an address")?.parse()?;
    for (name, address, reached) in
        [("bridge", bridge, true), ("loopback", Ipv4Addr::LOCALHOST.into(), false)]
    {
        let port = pod_server(address)?.port();
        let url = format!("http://host.docker.internal:{port}/users-util/stats");
        let (project, _folder) = proxy_that_asks((name, "pod/compose.yaml"), &url, |_| {})?;
        let held = held(&project, &project.event_url("pod-proxy")?)?;
        ensure!((held > 0) == reached, "with the Pod Server on {name}, {held} are held");
    }
    Ok(())
}

pub(crate) fn a_proxy_asks_a_pod_server_in_a_network_that_it_shares() -> anyhow::Result<()> {
    images::make_stand_ins()?;
    let (server, network) = (folder()?, format!("prose-test-{}-of-a-pod", std::process::id()));
    let config = "pid /tmp/pid;\nevents {}\nhttp { access_log off; server { listen 8080;\n\
        location = /users-util/stats { default_type application/json; return 200 '{\"count\":33}'; } } }\n";
    fs::write(server.path().join("nginx.conf"), config)?;
    let volume = format!("{}:/etc/nginx/nginx.conf:ro", server.path().join("nginx.conf").display());
    let label = format!("com.docker.compose.project={network}");
    docker(&["network", "create", "--label", &label, &network])?;
    let run =
        ["run", "--detach", "--label", &label, "--network", &network, "--network-alias", "prose-pod-server"];
    let container = docker(&[&run[..], &["--volume", &volume, NGINX]].concat());
    let outcome = container.as_ref().map_err(|error| anyhow::anyhow!("{error:#}")).and_then(|_| {
        let url = "http://prose-pod-server:8080/users-util/stats";
        let (project, _folder) = proxy_that_asks(("network", "pod/compose.yaml"), url, |project| {
            project.add_file(&repository().join("deploy/pod/network.yaml"));
            project.set("POD_NETWORK", &network);
        })?;
        let held = held(&project, &project.event_url("pod-proxy")?)?;
        ensure!(held > 0, "it does not know how many accounts there are");
        project.confined()
    });
    if let Ok(container) = container {
        docker(&["rm", "--force", "--volumes", container.trim()])?;
    }
    docker(&["network", "rm", &network])?;
    outcome
}

pub(crate) fn a_proxy_in_the_network_of_the_machine_asks_a_pod_server_on_loopback() -> anyhow::Result<()> {
    let server = pod_server(Ipv4Addr::LOCALHOST.into())?;
    // Ports that are free, as it publishes none.
    let free = || anyhow::Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port());
    let (port, metrics) = (free()?, free()?);
    let (project, _folder) = proxy_that_asks(
        ("host", "pod/host.yaml"),
        &format!("http://{server}/users-util/stats"),
        |project| {
            project.set("POD_PROXY_PORT", &port.to_string());
            project.set("POD_PROXY_METRICS_PORT", &metrics.to_string());
        },
    )?;
    let held = held(&project, &format!("http://127.0.0.1:{port}/cloud-api-proxy/v1/analytics/event"))?;
    ensure!(held > 0, "it does not know how many accounts there are");
    // The image listens on all addresses, which here would be those of the machine.
    let listening = project.in_network_of("pod-proxy", "cat /proc/net/tcp /proc/net/tcp6")?;
    for port in [port, metrics] {
        let hex = format!(":{port:04X} ");
        let sockets: Vec<_> =
            listening.lines().filter(|line| line.contains(&hex) && line.contains(" 0A ")).collect();
        ensure!(sockets.len() == 1 && sockets[0].contains(&format!("0100007F{hex}")), "{sockets:?}");
    }
    project.confined()
}
