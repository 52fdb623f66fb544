//! A fleet of Pods with different policies, each with a proxy of its own, in front of the ingest-api of
//! `deploy/compose.yaml`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, ensure};
use e2e::fleet::{Fleet, FleetSize};
use e2e::lanes::spread;
use e2e::served::Reader;
use e2e::stack::{client, post};
use e2e::truth::{Truth, differences};
use ingest_api::release::Threshold;
use ingest_api::window::WindowKind;
use serde_json::json;
use shared::event::Observed;

use crate::docker::Project;
use crate::whole::{user_hash, with};
use crate::{block_on, images, today};

/// Where a proxy meets the vendor, and where its port is published.
const NETWORKS: [&str; 2] = ["reports", "pod-front"];

pub(crate) fn a_fleet_with_different_policies_gives_the_insights_that_it_must() -> anyhow::Result<()> {
    // The Pod of the file shares nothing yet, and is not in the numbers.
    with(|whole| {
        let size = FleetSize { pods: 15, real_pods: 15, largest_pod: 40, servers: 6, days: 1 };
        // One in which all Pods are up.
        let mut fleets = (1..).map(|seed| Fleet::new(seed, size, today()));
        let (fleet, day) = fleets
            .find_map(|fleet| {
                let day = fleet.day(0);
                (day.pods.len() == size.pods).then_some((fleet, day))
            })
            .context("a fleet")?;
        let mut services = serde_json::Map::new();
        let mut names = Vec::new();
        for (number, today) in day.pods.iter().enumerate() {
            let pod = &fleet.pods()[today.pod];
            let config = whole.folder.path().join(format!("pod-{number}"));
            fs::create_dir(&config)?;
            let mut text = format!(
                "{}\n[pod_proxy]\ndomain = '{}'\nvendor_url = 'http://ingest-api:8280/_api/cloud'\nflush_interval = 'PT1S'\n",
                pod.policy.toml,
                pod.domain().as_str(),
            );
            if let Some(accounts) = today.accounts {
                text += &format!("accounts.fixed = {accounts}\n");
            }
            if let Some(Observed::Recognised(version)) = today.version {
                text += &format!("pod_version = '{version}'\n");
            }
            fs::write(config.join("prose.toml"), text)?;
            whole.canaries.insert(pod.domain().as_str().to_owned());
            let name = format!("pod-{number}");
            let service = json!({
                "image": format!("prose-pod-proxy:{}", images::tag()?),
                "read_only": true, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"],
                "volumes": [format!("{}:/etc/prose:ro", config.display()), "/var/lib/prose-pod-proxy"],
                "networks": NETWORKS, "ports": ["127.0.0.1:0:8290"],
            });
            services.insert(name.clone(), service);
            names.push(name);
        }
        let file = whole.folder.path().join("fleet.yaml");
        let of_whole =
            |network| (network, json!({ "external": true, "name": whole.project.full_name(network) }));
        let networks = BTreeMap::from(NETWORKS.map(of_whole));
        fs::write(&file, json!({ "services": services, "networks": networks }).to_string())?;
        let proxies = Project::new("fleet", &file.display().to_string(), &images::tag()?);
        proxies.up(&[])?;

        let mut posts = Vec::new();
        for (number, today) in day.pods.iter().enumerate() {
            let url = proxies.event_url(&format!("pod-{number}"))?;
            posts.extend(today.events.iter().map(|sent| (url.clone(), sent.json.clone())));
        }
        let url = format!("{}/_api/cloud/v1/analytics/event", whole.ingest_api()?);
        posts.extend(day.direct.iter().map(|sent| (url.clone(), sent.json.clone())));
        for (_, json) in &posts {
            whole.canaries.insert(user_hash(&serde_json::from_str(json)?));
        }
        let http = client()?;
        block_on(spread(8, posts, move |(url, body)| {
            let http = http.clone();
            async move { post(&http, &url, body).await.map(drop) }
        }))?;
        for name in &names {
            proxies.wait_until_sent(name)?;
        }

        let mut truth = Truth::default();
        truth.observe(&fleet, &day);
        let kind = WindowKind::Month;
        let closed = whole
            .project
            .exec("ingest-api", &["ingest-api", "windows", "close", "month", &today().to_string()])?;
        ensure!(closed.starts_with("Released month "), "{closed}");
        let token =
            whole.project.exec("ingest-api", &["ingest-api", "token", "create", "checker", "--domains"])?;
        let reader = Reader::with_token(&whole.ingest_api()?, token.trim())?;
        let served = block_on(reader.everything(today().first_of_month(), today()))?;
        let expected = truth.releases(|window| (window.kind() == kind).then(Threshold::default));
        ensure!(!expected.is_empty(), "a fleet too small to publish anything about proves nothing");
        let differences = differences(&expected, &served.releases);
        ensure!(differences.is_empty(), "{}", differences.join("\n"));

        // A table, as the guide prints it.
        let table =
            whole.project.exec("ingest-api", &["ingest-api", "insight", "platforms", "--window", "month"])?;
        ensure!(table.contains("macos"), "{table}");
        // They are gone when the logs of the others are searched.
        whole.search_logs(&proxies)
    })
}
