//! A company network with a mandatory proxy that inspects TLS with its own certificate authority.

use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::stand_in::*;

/// Reads until the end of a head or of the stream.
async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// The heads that the network has seen: of requests to its proxy, and of requests inside TLS.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, head: String) {
        self.0.lock().unwrap().push(head);
    }

    fn heads(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Answers `CONNECT`, and plays the vendor behind it with a certificate of its own authority.
async fn tunnel(mut stream: TcpStream, tls: TlsAcceptor, seen: Seen, answered: mpsc::Sender<()>) {
    seen.add(read_head(&mut stream).await);
    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
    let Ok(mut stream) = tls.accept(stream).await else {
        seen.add("the certificate was refused".to_owned());
        answered.send(()).await.unwrap();
        return;
    };
    let head = read_head(&mut stream).await;
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    seen.add(head);
    seen.add(String::from_utf8(body).unwrap());
    stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    answered.send(()).await.unwrap();
}

/// Runs the binary in that network with one waiting event, until the network has answered once.
async fn run(trust_the_authority: bool) -> Vec<String> {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new([]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let issuer = rcgen::Issuer::from_params(&authority, &authority_key);
    let certificate =
        rcgen::CertificateParams::new(["vendor.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    pod_proxy::app::install_crypto();
    let mut tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(tls));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Seen::default();
    let (answered, mut answers) = mpsc::channel(100);
    let network = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, tls.clone(), network.clone(), answered.clone()));
        }
    });

    let folder = tempfile::tempdir().unwrap();
    let mut settings = "flush_interval = 'PT1S'".to_owned();
    if trust_the_authority {
        let path = folder.path().join("authority.pem");
        std::fs::write(&path, authority_certificate.pem()).unwrap();
        settings += &format!("\nca_file = '{}'", path.display());
    }
    let config = folder.path().join("prose.toml");
    std::fs::write(&config, toml("https://vendor.test/api", folder.path(), "", &settings)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pod-proxy"));
    command.args(["run", "--config"]).arg(&config).env("HTTPS_PROXY", &proxy_url).env_remove("NO_PROXY");
    let _process = Process::spawn(command);
    tokio::time::timeout(std::time::Duration::from_secs(20), answers.recv()).await.unwrap();
    seen.heads()
}

#[tokio::test]
async fn events_leave_through_https_proxy_and_trust_the_authority_of_ca_file() {
    let seen = run(true).await;
    assert!(seen[0].starts_with("CONNECT vendor.test:443 HTTP/1.1\r\n"), "{seen:?}");
    assert!(!seen[0].to_lowercase().contains("user-agent"), "{seen:?}");
    assert!(seen[1].starts_with("POST /api/v1/analytics/events HTTP/1.1\r\n"), "{seen:?}");
    assert!(seen[2].starts_with(r#"[{"name":"pod:startup""#), "{seen:?}");
}

#[tokio::test]
async fn an_authority_that_nobody_named_is_not_trusted() {
    assert_eq!(run(false).await[1], "the certificate was refused");
}
