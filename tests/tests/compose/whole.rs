//! `deploy/compose.yaml`: all of it, up once for the tests here, which go through it in this order.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use e2e::fleet::{Fleet, FleetSize};
use e2e::lanes::spread;
use e2e::needles::Needles;
use e2e::served::Reader;
use e2e::stack::{client, folder, post};
use e2e::truth::{Truth, differences};
use ingest_api::release::Threshold;
use ingest_api::window::WindowKind;
use serde_json::{Value, json};
use shared::event::Observed;

use crate::docker::{Project, docker, repository, until};
use crate::guide::Block;
use crate::load::{Load, event};
use crate::{block_on, images, today};

/// The system, and what its proxies were told that must be in no log.
pub(crate) struct Whole {
    project: Project,
    folder: tempfile::TempDir,
    canaries: BTreeSet<String>,
    /// The services that a test has added.
    fleet: Vec<String>,
}

static WHOLE: Mutex<Option<Result<Whole, String>>> = Mutex::new(None);

/// Does something with the system, which is started if it was not.
fn with<T>(test: impl FnOnce(&mut Whole) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut whole = WHOLE.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = whole.get_or_insert_with(|| Whole::start().map_err(|error| format!("{error:#}")));
    test(whole.as_mut().map_err(|error| anyhow::anyhow!("the system did not start: {error}"))?)
}

/// Removes the system, if it was started; what its services needed is returned, the service and its MiB.
pub(crate) fn remove() -> Vec<(String, f64)> {
    let whole = WHOLE.lock().unwrap_or_else(PoisonError::into_inner).take();
    whole.and_then(Result::ok).and_then(|whole| whole.project.resident_memory().ok()).unwrap_or_default()
}

impl Whole {
    fn start() -> anyhow::Result<Self> {
        let folder = folder()?;
        let mut project = Project::new("whole", "compose.yaml", &images::tag()?);
        // The rules and targets of the file, with less patience.
        let prometheus = folder.path().join("prometheus");
        fs::create_dir(&prometheus)?;
        for name in ["prometheus.yml", "alerts.yml"] {
            let text = fs::read_to_string(repository().join("deploy/prometheus").join(name))?;
            let hasty = |line: &str| match line.split_once("for: ") {
                Some((before, _)) if before.trim().is_empty() => format!("{before}for: 2s"),
                _ => line.replace("_interval: 15s", "_interval: 1s"),
            };
            fs::write(prometheus.join(name), text.lines().map(hasty).collect::<Vec<_>>().join("\n"))?;
        }
        project.set("PROMETHEUS_DIRECTORY", &prometheus.display().to_string());
        project.up(&[])?;
        Ok(Self { project, folder, canaries: BTreeSet::new(), fleet: Vec::new() })
    }

    /// Answers for the operator, as in `.env`, and puts that in force.
    fn answer(&mut self) -> anyhow::Result<()> {
        self.project.set("PROSE_VENDOR_ANALYTICS__ENABLED", "true");
        self.project.set("PROSE_VENDOR_ANALYTICS__PRESET", "gdpr");
        self.project.up(&["pod-proxy"])
    }

    fn ingest_api(&self) -> anyhow::Result<String> {
        self.project.url("ingest-api", 8280)
    }

    fn event_url(&self, proxy: &str) -> anyhow::Result<String> {
        Ok(format!("{}/cloud-api-proxy/v1/analytics/event", self.project.url(proxy, 8290)?))
    }

    fn proxy_health(&self, proxy: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.project.exec(proxy, &["pod-proxy", "health"])?)?)
    }

    /// Waits until the vendor has everything that a proxy holds.
    fn wait_until_sent(&self, proxy: &str) -> anyhow::Result<()> {
        until(&format!("{proxy} has sent everything"), || {
            let health = self.proxy_health(proxy)?;
            Ok((health["spool"]["entries"] == 0 && health["vendor"] != "away").then_some(()))
        })
    }

    /// What leaves a proxy, as its operator is shown it.
    fn sent(&self, proxy: &str) -> anyhow::Result<String> {
        self.project.exec(proxy, &["pod-proxy", "sent", "--format", "json"])
    }
}

/// An event of an app of the Pod in the file.
fn app_event(number: usize) -> Value {
    let mut event = event(number);
    event["origin"]["app"]["platform"] = json!("macos-aarch64");
    event
}

fn user_hash(event: &Value) -> String {
    event["origin"]["pod"]["user_hash"].as_str().unwrap_or_default().to_owned()
}

/// How many distinct installations have been counted in the week that is open.
pub(crate) fn counted(project: &Project) -> anyhow::Result<usize> {
    let tables = "SELECT string_agg(format('SELECT subject FROM intake.%I', c.relname), ' UNION ALL ')
        FROM intake.open_window w JOIN pg_class c ON c.relnamespace = 'intake'::regnamespace
        AND c.relname IN (format('w%s_installation', w.id), format('merging%s_installation', w.id))
        WHERE w.kind = 'week' AND w.state = 'open'";
    let rows = project.sql(tables)?;
    ensure!(!rows.is_empty(), "no week is open");
    Ok(project.sql(&format!("SELECT count(DISTINCT subject) FROM ({rows}) r"))?.parse()?)
}

pub(crate) fn the_file_alone_brings_up_every_service_healthy() -> anyhow::Result<()> {
    with(|whole| {
        let running: BTreeSet<String> =
            whole.project.containers()?.into_iter().map(|(service, _)| service).collect();
        let expected = ["ingest-api", "migrate", "pod-proxy", "postgres", "prometheus", "secrets"];
        ensure!(running == expected.map(str::to_owned).into(), "{running:?}");
        for service in ["ingest-api", "pod-proxy", "postgres", "prometheus"] {
            let inspected = whole.project.inspect(service)?;
            ensure!(inspected["State"]["Health"]["Status"] == "healthy", "{service}");
            let host = &inspected["HostConfig"];
            ensure!(host["ReadonlyRootfs"] == true && host["Privileged"] == false, "{service}: {host}");
            ensure!(host["CapDrop"] == json!(["ALL"]) && host["CapAdd"].is_null(), "{service}: {host}");
            ensure!(host["SecurityOpt"].to_string().contains("no-new-privileges"), "{service}: {host}");
            let user = inspected["Config"]["User"].as_str().unwrap_or_default();
            ensure!(
                user.split(':').next().is_some_and(|id| id.parse::<u32>().is_ok_and(|id| id > 0)),
                "{service}: {user}"
            );
        }
        for service in ["secrets", "migrate"] {
            ensure!(whole.project.inspect(service)?["State"]["ExitCode"] == 0, "{service}");
        }
        Ok(())
    })
}

pub(crate) fn nothing_is_shared_until_the_operator_has_answered() -> anyhow::Result<()> {
    with(|whole| {
        let event = app_event(900_001);
        whole.canaries.insert(user_hash(&event));
        let url = whole.event_url("pod-proxy")?;
        block_on(post(&client()?, &url, event.to_string()))?;
        let health = whole.proxy_health("pod-proxy")?;
        ensure!(health["analytics"] == "off" && health["spool"]["entries"] == 0, "{health}");
        ensure!(whole.sent("pod-proxy")?.is_empty());
        ensure!(counted(&whole.project)? == 0);
        ensure!(whole.project.sql("SELECT count(*) FROM optin.domain")? == "0");
        let log = whole.project.log("pod-proxy")?;
        ensure!(log.contains("Analytics are off: nothing is kept, and nothing is sent."), "{log}");

        Ok(())
    })
}

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
                "networks": ["reports", "pod-front"], "ports": ["127.0.0.1:0:8290"],
            });
            services.insert(name.clone(), service);
            whole.fleet.push(name);
        }
        let file = whole.folder.path().join("fleet.yaml");
        fs::write(&file, json!({ "services": services }).to_string())?;
        whole.project.add_file(&file);
        let names: Vec<_> = whole.fleet.iter().map(String::as_str).collect();
        whole.project.up(&names)?;

        let mut posts = Vec::new();
        for (number, today) in day.pods.iter().enumerate() {
            let url = whole.event_url(&format!("pod-{number}"))?;
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
        for name in &whole.fleet {
            whole.wait_until_sent(name)?;
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
        whole.project.compose(&[&["stop"], &names[..]].concat())?;
        Ok(())
    })
}

pub(crate) fn what_the_operator_answered_is_in_force_and_the_log_says_so() -> anyhow::Result<()> {
    with(|whole| {
        let before = counted(&whole.project)?;
        let event = app_event(900_002);
        whole.canaries.insert(user_hash(&event));
        whole.answer()?;
        let log = whole.project.log("pod-proxy")?;
        ensure!(
            log.contains("Shared with the vendor (preset `gdpr`)") && log.contains("`enabled = false`"),
            "{log}"
        );
        let url = whole.event_url("pod-proxy")?;
        block_on(post(&client()?, &url, event.to_string()))?;
        whole.wait_until_sent("pod-proxy")?;
        let sent = whole.sent("pod-proxy")?;
        ensure!(sent.contains("macos-aarch64") && !sent.contains(&user_hash(&event)), "{sent}");
        ensure!(counted(&whole.project)? == before + 1);
        Ok(())
    })
}

pub(crate) fn a_postgres_that_is_stopped_and_started_under_load_loses_no_event() -> anyhow::Result<()> {
    with(|whole| {
        let before = counted(&whole.project)?;
        let base = whole.ingest_api()?;
        let sent = block_on(async {
            let load = Load::start(&base, 0)?;
            load.wait_for(300).await?;
            whole.project.compose(&["stop", "postgres"])?;
            load.wait_for_failure().await?;
            whole.project.compose(&["start", "postgres"])?;
            load.wait_for(300).await?;
            load.finish().await
        })?;
        whole.project.wait_until_healthy("ingest-api")?;
        whole.canaries.extend((0..sent.events).map(|number| user_hash(&event(number))));
        let counted = counted(&whole.project)? - before;
        ensure!(counted == sent.events, "{counted} of {} are counted", sent.events);
        Ok(())
    })
}

pub(crate) fn prometheus_sees_every_target_and_an_alert_fires_when_one_is_gone() -> anyhow::Result<()> {
    with(|whole| {
        let base = whole.project.url("prometheus", 9090)?;
        let ask = |path: &str| -> anyhow::Result<Value> {
            let url = format!("{base}/api/v1/{path}");
            block_on(async { Ok(client()?.get(url).send().await?.json().await?) })
        };
        let jobs_up = || -> anyhow::Result<BTreeSet<String>> {
            let answer = ask("targets")?;
            let targets = answer["data"]["activeTargets"].as_array().context("targets")?;
            let up = targets.iter().filter(|target| target["health"] == "up");
            Ok(up.filter_map(|target| target["labels"]["job"].as_str().map(str::to_owned)).collect())
        };
        let firing = || -> anyhow::Result<BTreeSet<(String, String)>> {
            let answer = ask("alerts")?;
            let alerts = answer["data"]["alerts"].as_array().context("alerts")?;
            let label =
                |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
            let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
            Ok(firing.map(|alert| (label(alert, "alertname"), label(alert, "job"))).collect())
        };
        let all: BTreeSet<String> = ["ingest-api", "pod-proxy", "prometheus"].map(str::to_owned).into();
        let down = ("TargetDown".to_owned(), "pod-proxy".to_owned());
        until("every target is up, and no alert fires for one", || {
            Ok((jobs_up()? == all && firing()?.iter().all(|(name, _)| name != "TargetDown")).then_some(()))
        })?;
        whole.project.compose(&["stop", "pod-proxy"])?;
        until("an alert fires", || Ok(firing()?.contains(&down).then_some(())))?;
        whole.project.compose(&["start", "pod-proxy"])?;
        until("the alert is over", || Ok((!firing()?.contains(&down)).then_some(())))?;
        whole.project.wait_until_healthy("pod-proxy")
    })
}

pub(crate) fn nothing_listens_beyond_what_the_file_publishes() -> anyhow::Result<()> {
    // What each service listens on in its own namespace, and what of it is published on this machine.
    const LISTENS: [(&str, &[u16], &[u16]); 4] = [
        ("postgres", &[5432], &[]),
        ("ingest-api", &[8280, 8281], &[8280]),
        ("pod-proxy", &[8290, 8291], &[8290]),
        ("prometheus", &[9090], &[9090]),
    ];
    with(|whole| {
        for (service, inside, published) in LISTENS {
            let tables = whole.project.in_network_of(
                service,
                "cat /proc/net/tcp /proc/net/tcp6; echo; cat /proc/net/udp /proc/net/udp6",
            )?;
            let (tcp, udp) = tables.split_once("\n\n").context("two tables")?;
            let found: BTreeSet<u16> =
                sockets(tcp).filter(|(state, ..)| *state == "0A").map(|(.., port)| port).collect();
            ensure!(found == inside.iter().copied().collect(), "{service} listens on {found:?}");
            // A query of a name may be under way; one that waits for anybody has no peer.
            let datagrams: Vec<_> = sockets(udp).filter(|(state, ..)| *state == "07").collect();
            ensure!(datagrams.is_empty(), "{service} waits for datagrams: {datagrams:?}");

            let ports = whole.project.inspect(service)?["NetworkSettings"]["Ports"].clone();
            let ports = ports.as_object().into_iter().flatten().filter(|(_, hosts)| !hosts.is_null());
            let mut found = BTreeSet::new();
            for (port, hosts) in ports {
                let hosts = hosts.as_array().context("hosts")?;
                ensure!(hosts.iter().all(|host| host["HostIp"] == "127.0.0.1"), "{service}: {hosts:?}");
                found.insert(port.trim_end_matches("/tcp").parse::<u16>()?);
            }
            ensure!(found == published.iter().copied().collect(), "{service} publishes {found:?}");
        }
        // From this machine, by another of its addresses: the one in the network of the proxy.
        let url = whole.project.url("pod-proxy", 8290)?;
        let port = url.rsplit(':').next().context("a port")?;
        let gateway = whole.project.inspect("pod-proxy")?["NetworkSettings"]["Networks"]
            [whole.project.full_name("pod-front")]["Gateway"]
            .clone();
        let gateway = gateway.as_str().context("a gateway")?;
        let reached = std::net::TcpStream::connect(format!("127.0.0.1:{port}"));
        ensure!(reached.is_ok(), "{reached:?}");
        let reached = std::net::TcpStream::connect(format!("{gateway}:{port}"));
        ensure!(reached.is_err(), "{gateway}:{port} answers");
        Ok(())
    })
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
                    script += &format!(
                        "timeout 1 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {target}\n"
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

pub(crate) fn the_commands_of_the_guide_give_an_insight() -> anyhow::Result<()> {
    with(|whole| {
        let said =
            Block::after("### See a number", "compose.yaml")?.run(&whole.project, whole.folder.path())?;
        ensure!(said.contains("Released day "), "{said}");
        // At least the thirty; what other tests have sent counts too.
        let number =
            |line: &str| line.split_whitespace().find_map(|word| word.replace(',', "").parse::<u64>().ok());
        let macos = said.lines().filter(|line| line.contains("macos")).find_map(number);
        ensure!(macos.is_some_and(|number| number >= 30), "{said}");
        Ok(())
    })
}

pub(crate) fn no_canary_is_in_the_log_of_any_container() -> anyhow::Result<()> {
    with(|whole| {
        let mut needles = Needles::default();
        for canary in &whole.canaries {
            needles.add(canary, canary.as_bytes());
        }
        let secrets = whole.project.full_name("database-secrets");
        let passwords = docker(&[
            "run",
            "--rm",
            "--user",
            "0:0",
            "--network",
            "none",
            "--volume",
            &format!("{secrets}:/s:ro"),
            "--entrypoint",
            "bash",
            crate::docker::POSTGRES,
            "-c",
            "cat /s/*",
        ])?;
        ensure!(passwords.lines().count() == 2, "two passwords");
        passwords.lines().for_each(|password| needles.add("a password", password.as_bytes()));
        ensure!(whole.canaries.len() > 300, "only {} canaries", whole.canaries.len());
        for (service, _) in whole.project.containers()? {
            let log = whole.project.log(&service)?;
            let found = needles.find(log.as_bytes());
            ensure!(found.is_empty(), "in the log of {service}: {found:?}");
            ensure!(
                service == "migrate" || !log.is_empty() || service == "prometheus",
                "{service} has no log"
            );
        }
        Ok(())
    })
}

pub(crate) fn each_service_is_gone_within_ten_seconds_and_what_it_acknowledged_is_kept() -> anyhow::Result<()>
{
    const FIRST: usize = 500_000;
    with(|whole| {
        let before = counted(&whole.project)?;
        let base = whole.ingest_api()?;
        let (acknowledged, begun) = block_on(async {
            let load = Load::start(&base, FIRST)?;
            load.wait_for(200).await?;
            stopped_in_time(&whole.project, "ingest-api")?;
            anyhow::Ok(load.give_up().await)
        })?;
        whole.canaries.extend((FIRST..FIRST + begun).map(|number| user_hash(&event(number))));
        let counted = counted(&whole.project)? - before;
        ensure!(
            (acknowledged..=begun).contains(&counted),
            "{counted} counted, {acknowledged} acknowledged, {begun} begun"
        );
        stopped_in_time(&whole.project, "pod-proxy")?;
        stopped_in_time(&whole.project, "prometheus")?;
        whole.project.up(&[])
    })
}

fn stopped_in_time(project: &Project, service: &str) -> anyhow::Result<()> {
    let start = std::time::Instant::now();
    docker(&["stop", "--time", "60", &project.container(service)?])?;
    let elapsed = start.elapsed();
    ensure!(elapsed < std::time::Duration::from_secs(10), "{service} took {elapsed:?} to stop");
    let state = project.inspect(service)?["State"].clone();
    ensure!(state["ExitCode"] == 0 && state["OOMKilled"] == false, "{service}: {state}");
    Ok(())
}
