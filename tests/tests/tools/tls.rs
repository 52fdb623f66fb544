//! The reference configuration for nginx with TLS, in front of both services: requests pass, and no log names
//! their senders.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::trial::{has, trial};
use anyhow::{Context, ensure};
use e2e::process::{Process, ProxyProcess, VendorProcess};
use e2e::stack::folder;
use libtest_mimic::Trial;
use reqwest::{Certificate, Client, Response, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const VENDOR: &str = "analytics.example.org";
const POD: &str = "prose.example.net";
const REPORTS: &str = "/_api/cloud/v1/analytics/event";
const EVENTS: &str = "/cloud-api-proxy/v1/analytics/event";

/// The sender of the requests, whose address must not be found afterwards. All of 127.0.0.0/8 is this
/// machine.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 66, 7, 9);
const AGENT: &str = "canary-agent";
const QUERY: &str = "canary-query";
const FORWARDED: &str = "203.0.113.77";
const USER_HASH: &str = "c0ffee00c0ffee00";

pub(crate) fn trials() -> Vec<Trial> {
    let missing = (!has("nginx")).then_some("nginx is not installed");
    vec![trial("nginx_with_tls_passes_requests_on_and_writes_nothing_about_who_made_them", missing, tls)]
}

fn tls() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(both_services())
}

/// An address of this machine on which nobody listens at the moment.
fn free() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn reference(path: &str) -> anyhow::Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// `text` with these replacements. Each replaced text must occur.
fn replaced(mut text: String, replacements: &[(&str, String)]) -> anyhow::Result<String> {
    for (old, new) in replacements {
        ensure!(text.contains(old), "the reference does not have {old:?}");
        text = text.replace(old, new);
    }
    Ok(text)
}

/// The files of nginx: the references, with only addresses and paths changed.
struct Nginx {
    folder: PathBuf,
    vendor: SocketAddr,
    plain: SocketAddr,
    pod: SocketAddr,
    authority: Certificate,
}

impl Nginx {
    fn configure(folder: &Path, ingest_api: SocketAddr, pod_proxy: SocketAddr) -> anyhow::Result<Self> {
        let signed = rcgen::generate_simple_self_signed([VENDOR.to_owned(), POD.to_owned()])?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        fs::write(&certificate, signed.cert.pem())?;
        fs::write(&key, signed.signing_key.serialize_pem())?;
        let authority = Certificate::from_pem(signed.cert.pem().as_bytes())?;
        let (vendor, plain, pod) = (free()?, free()?, free()?);
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        let reference_of_vendor = replaced(
            reference("tls/ingest-api.conf")?,
            &[
                ("listen 443 ssl", format!("listen {vendor} ssl")),
                ("    listen [::]:443 ssl default_server;\n", String::new()),
                ("listen 80 ", format!("listen {plain} ")),
                ("    listen [::]:80 default_server;\n", String::new()),
                ("server 127.0.0.1:8280;", format!("server {ingest_api};")),
                ("/etc/ssl/analytics.example.org/fullchain.pem", certificate.clone()),
                ("/etc/ssl/analytics.example.org/privkey.pem", key.clone()),
            ],
        )?;
        let reference_of_pod = replaced(
            reference("pod/nginx.conf")?,
            &[("http://127.0.0.1:8290", format!("http://{pod_proxy}"))],
        )?;
        fs::write(folder.join("vendor.conf"), reference_of_vendor)?;
        fs::write(folder.join("pod.conf"), reference_of_pod)?;
        // As on Debian: logs everything by default. The rest of the Pod's web server is out of scope.
        let here = folder.display();
        let main = format!(
            "daemon off;\npid {here}/nginx.pid;\nerror_log {here}/logs/error.log info;\nevents {{}}\nhttp {{\n\
             access_log {here}/logs/access.log combined;\nclient_body_temp_path {here}/logs/body;\n\
             proxy_temp_path {here}/logs/proxy;\nfastcgi_temp_path {here}/fastcgi;\nuwsgi_temp_path {here}/uwsgi;\n\
             scgi_temp_path {here}/scgi;\ninclude {here}/vendor.conf;\nserver {{\nlisten {pod} ssl;\nerror_log {here}/logs/pod-error.log;\nserver_name {POD};\n\
             ssl_certificate {certificate};\nssl_certificate_key {key};\ninclude {here}/pod.conf;\n\
             location = /elsewhere {{ return 204; }}\n}}\n}}\n"
        );
        fs::write(folder.join("nginx.conf"), main)?;
        fs::create_dir(folder.join("logs"))?;
        Ok(Self { folder: folder.to_owned(), vendor, plain, pod, authority })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nginx");
        // Its output before it has read its configuration.
        command.arg("-e").arg(self.folder.join("start.log")).arg("-c").arg(self.folder.join("nginx.conf"));
        command
    }

    fn test(&self) -> anyhow::Result<()> {
        let output = self.command().arg("-t").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && !said.contains("[warn]"), "nginx -t: {said}");
        Ok(())
    }

    /// A client at that address, which sends whatever a browser may.
    fn client(&self, from: Ipv4Addr, agent: &str) -> anyhow::Result<Client> {
        pod_proxy::app::install_crypto();
        let headers = [
            ("accept-language", agent),
            ("referer", agent),
            ("x-forwarded-for", FORWARDED),
            ("forwarded", FORWARDED),
            ("traceparent", agent),
        ];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Ok(Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([self.authority.clone()])
            .resolve(VENDOR, self.vendor)
            .resolve(POD, self.pod)
            .local_address(IpAddr::V4(from))
            .user_agent(agent.to_owned())
            .default_headers(headers.into_iter().collect())
            .timeout(Duration::from_secs(60))
            .build()?)
    }

    fn url(&self, name: &str, path: &str) -> String {
        let port = if name == VENDOR { self.vendor } else { self.pod }.port();
        format!("https://{name}:{port}{path}")
    }

    /// Everything that it has written, by file.
    fn written(&self) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut folders = vec![self.folder.join("logs")];
        let mut written = vec![(
            self.folder.join("start.log"),
            fs::read(self.folder.join("start.log")).unwrap_or_default(),
        )];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    written.push((path.clone(), fs::read(path)?));
                }
            }
        }
        Ok(written)
    }
}

fn event() -> String {
    json!({ "name": "app:daily", "origin": { "app": { "name": "prose-app-web", "version": "1.0.1" },
        "pod": { "domain_hash": "f4ce232118cee9d2", "user_hash": USER_HASH } } })
    .to_string()
}

async fn post(client: &Client, url: String, body: impl Into<reqwest::Body>) -> anyhow::Result<Response> {
    let request =
        client.post(url).header("content-type", "application/json").header("cookie", "canary=cookie");
    Ok(request.body(body).send().await?)
}

/// Waits until somebody listens there.
async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let end = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => ensure!(tokio::time::Instant::now() < end, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The head of the next request to `listener`, which gets a 204.
async fn head_of_next(listener: &tokio::net::TcpListener) -> anyhow::Result<String> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = Vec::new();
    // Its body is the same each time.
    while !request.ends_with(event().as_bytes()) {
        ensure!(stream.read_buf(&mut request).await? > 0, "it ended early");
    }
    stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await?;
    let request = String::from_utf8(request)?;
    Ok(request.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase())
}

/// The names of the headers in a head, sorted.
fn names(head: &str) -> Vec<String> {
    let name = |line: &str| Some(line.split_once(':')?.0.to_owned());
    let mut names: Vec<_> = head.lines().skip(1).filter_map(name).collect();
    names.sort();
    names
}

async fn both_services() -> anyhow::Result<()> {
    let folder = folder()?;
    let ingest_api = free()?;
    let public_url = format!("https://{VENDOR}");
    let settings = [
        ("INGEST_API__PUBLIC_URL", public_url.as_str()),
        ("INGEST_API__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
    ];
    let mut vendor = VendorProcess::start_with(&folder.path().join("vendor"), ingest_api, &settings)?;
    let token =
        vendor.process().wait_for(|line| Some(line.split_once("/login?token=")?.1.trim().to_owned()))?;
    let file = folder.path().join("prose.toml");
    let pod = folder.path().join("pod");
    fs::write(
        &file,
        format!(
            "[pod_proxy]\ndomain = '{POD}'\nlisten = '127.0.0.1:0'\nvendor_url = 'http://{ingest_api}/_api/cloud'\n\
             data_dir = '{}'\n",
            pod.display()
        ),
    )?;
    let mut proxy = ProxyProcess::start(&file)?;
    let pod_proxy = proxy.address();

    let here = folder.path().join("nginx");
    fs::create_dir(&here)?;
    let nginx = Nginx::configure(&here, ingest_api, pod_proxy)?;
    nginx.test()?;
    let mut process = Process::start(&mut nginx.command())?;
    connect(nginx.vendor).await?;

    // Reports pass, and insights for readers who are logged in.
    let client = nginx.client(ADDRESS, AGENT)?;
    for (name, path) in [(VENDOR, REPORTS), (POD, EVENTS)] {
        let answer = post(&client, nginx.url(name, &format!("{path}?q={QUERY}")), event()).await?;
        ensure!(answer.status() == StatusCode::NO_CONTENT, "{name}: {answer:?}");
    }
    let batch = format!("[{}]", vec![event(); 500].join(","));
    let answer = post(&client, nginx.url(VENDOR, &format!("{REPORTS}s")), batch).await?;
    ensure!(answer.status() == StatusCode::OK, "{answer:?}");
    let hsts = answer.headers().get("strict-transport-security");
    ensure!(hsts.is_some_and(|hsts| hsts == "max-age=31536000"), "{answer:?}");
    let policy = client.get(nginx.url(POD, "/cloud-api-proxy/v1/analytics/policy")).send().await?;
    ensure!(policy.status() == StatusCode::OK, "{policy:?}");
    let login = client.get(nginx.url(VENDOR, &format!("/login?token={token}"))).send().await?;
    let cookie = login.headers().get("set-cookie").context("no cookie")?.to_str()?.to_owned();
    ensure!(cookie.starts_with("__Host-") && cookie.contains("Secure"), "the cookie is for TLS only");
    let session = cookie.split(';').next().unwrap();
    let insights = nginx.url(VENDOR, "/v1/insights");
    let with_session = client.get(&insights).header("cookie", session).send().await?;
    ensure!(with_session.status() == StatusCode::OK, "{with_session:?}");
    // The browser's cached files are not sent again.
    let tag = with_session.headers().get("etag").context("no ETag")?.clone();
    let again = client.get(&insights).header("cookie", session).header("if-none-match", tag).send().await?;
    ensure!(again.status() == StatusCode::NOT_MODIFIED, "{again:?}");
    ensure!(client.get(&insights).bearer_auth(&token).send().await?.status() == StatusCode::OK);
    ensure!(client.get(&insights).send().await?.status() == StatusCode::UNAUTHORIZED);
    // Limits apply to the real network of a request, whatever it claims.
    let attempt = |n: usize| nginx.url(VENDOR, &format!("/login?token=canary-token-{n}"));
    let mut statuses = Vec::new();
    while statuses.len() < 40 && statuses.last() != Some(&StatusCode::TOO_MANY_REQUESTS) {
        statuses.push(client.get(attempt(statuses.len())).send().await?.status());
    }
    ensure!(statuses.last() == Some(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    let elsewhere = nginx.client(Ipv4Addr::new(127, 99, 1, 1), AGENT)?;
    ensure!(elsewhere.get(attempt(40)).send().await?.status() == StatusCode::UNAUTHORIZED);

    // Errors name nobody either: too large, no TLS, no HTTP, aborted in the middle, nobody listening.
    let plain = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .local_address(IpAddr::V4(ADDRESS));
    let answer =
        plain.build()?.get(format!("http://{}/login?token=canary-token", nginx.plain)).send().await?;
    ensure!(answer.status() == StatusCode::MOVED_PERMANENTLY, "{answer:?}");
    let answer = post(&client, nginx.url(VENDOR, REPORTS), vec![b'x'; 3 << 20]).await;
    // It may close while the body is still being written.
    ensure!(answer.map_or(true, |answer| answer.status() == StatusCode::PAYLOAD_TOO_LARGE));
    for garbage in
        ["GET /canary-query HTTP/1.1\r\n\r\n", "canary-query\r\n\r\n", "\u{16}\u{3}\u{1}canary-query"]
    {
        for address in [nginx.vendor, nginx.plain] {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind((ADDRESS, 0).into())?;
            let mut stream = socket.connect(address).await?;
            stream.write_all(garbage.as_bytes()).await?;
            stream.shutdown().await?;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
    vendor.process().stop()?;
    proxy.process().stop()?;
    for (name, path) in [(VENDOR, REPORTS), (VENDOR, "/v1/insights"), (POD, EVENTS)] {
        let answer = post(&client, nginx.url(name, &format!("{path}?q={QUERY}")), event()).await?;
        ensure!(answer.status() == StatusCode::BAD_GATEWAY, "{name}: {answer:?}");
    }

    // Only the headers that the services read are forwarded, and one address.
    let base = ["content-length", "content-type", "host", "x-forwarded-for"];
    let listener = tokio::net::TcpListener::bind(ingest_api).await?;
    for (path, more) in [(REPORTS, &[][..]), ("/v1/insights", &["accept", "cookie"])] {
        let url = nginx.url(VENDOR, &format!("{path}?q={QUERY}"));
        let (head, answer) = tokio::join!(head_of_next(&listener), post(&client, url, event()));
        ensure!(answer?.status() == StatusCode::NO_CONTENT);
        let head = head?;
        let mut expected: Vec<_> = base.iter().chain(more).map(|name| (*name).to_owned()).collect();
        expected.sort();
        ensure!(names(&head) == expected, "{head}");
        ensure!(head.lines().any(|line| line == format!("x-forwarded-for: {ADDRESS}")), "{head}");
    }
    let listener = tokio::net::TcpListener::bind(pod_proxy).await?;
    let (head, answer) =
        tokio::join!(head_of_next(&listener), post(&client, nginx.url(POD, EVENTS), event()));
    ensure!(answer?.status() == StatusCode::NO_CONTENT);
    let head = head?;
    ensure!(names(&head) == ["connection", "content-length", "content-type", "host"], "{head}");

    // A search must be able to find something: what is outside the references is logged.
    let control = nginx.client(Ipv4Addr::new(127, 99, 1, 2), "control-agent")?;
    control.get(nginx.url(POD, "/elsewhere?q=control-query")).send().await?;
    process.stop()?;
    let written = nginx.written()?;
    let found = |needle: &str| {
        let needle = needle.as_bytes();
        let has = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        written.iter().filter(|(_, bytes)| has(bytes)).map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    for control in ["127.99.1.2", "control-query", "control-agent"] {
        ensure!(!found(control).is_empty(), "{control:?} was not found");
    }
    let address = ADDRESS.to_string();
    let token = token.as_str();
    for canary in
        [&address, token, session, QUERY, "canary-token", FORWARDED, USER_HASH, AGENT, "canary=cookie"]
    {
        let files = found(canary);
        ensure!(files.is_empty(), "{canary:?} is in {files:?}");
    }
    Ok(())
}
