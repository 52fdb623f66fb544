//! What the proxy costs: memory, size, processor time and delay, beside the same server without filter and spool.
//!
//! Both are processes of their own; the load comes from here, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for people; to fail is to tell"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUTE: &str = "/cloud-api-proxy/v1/analytics/event";
const CONNECTIONS: usize = 64;
const BURST_EACH: usize = 400;
const STEADY_CONNECTIONS: usize = 20;
const STEADY_EACH: usize = 50;
/// Twenty connections with ten requests a second each: 200 a second.
const STEADY_PAUSE: Duration = Duration::from_millis(100);

fn main() {
    if std::env::args().any(|argument| argument == "--bare") {
        return serve_bare();
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("prose.toml");
    let text = format!(
        "[pod_proxy]\ndomain = 'example.org'\nlisten = '127.0.0.1:0'\nvendor_url = 'https://127.0.0.1:1/x'\n\
         data_dir = '{}'\naccounts.fixed = 33\n",
        folder.path().display()
    );
    fs::write(&config, text).unwrap();
    let mut proxy = Command::new(env!("CARGO_BIN_EXE_pod-proxy"));
    proxy.args(["run", "--config"]).arg(&config);
    let mut bare = Command::new(std::env::current_exe().unwrap());
    bare.arg("--bare");

    let binary = fs::metadata(env!("CARGO_BIN_EXE_pod-proxy")).unwrap().len();
    println!("binary: {:.1} MB\n", binary as f64 / 1e6);
    println!("{:<44}{:>14}{:>14}", "", "pod-proxy", "bare server");
    let (proxy, bare) = (measure(proxy), measure(bare));
    for ((name, ours), (_, theirs)) in proxy.iter().zip(&bare) {
        println!("{name:<44}{ours:>14.1}{theirs:>14.1}");
    }
}

/// The same HTTP library with a route that reads the event and answers. Nothing is filtered or kept.
fn serve_bare() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let take = async |body: axum::body::Bytes| match shared::event::Event::from_json(&body) {
            Ok(_) => axum::http::StatusCode::NO_CONTENT,
            Err(_) => axum::http::StatusCode::UNPROCESSABLE_ENTITY,
        };
        let router = axum::Router::new().route(ROUTE, axum::routing::post(take));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        eprintln!("listening={address} ");
        axum::serve(listener, router).await.unwrap();
    });
}

struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            Some(line.split_once("listening=")?.1.split(' ').next()?.to_owned())
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.unwrap() }
    }

    /// Processor time so far, in seconds.
    fn processor(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // Fields 14 and 15 of proc(5), in ticks of 10 ms.
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// Resident memory, in MB.
    fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1_024.0 / 1e6
    }

    /// Sends events over so many connections, and returns how long each answer took, sorted.
    fn load(&self, connections: usize, each: usize, pause: Duration) -> Vec<Duration> {
        let threads: Vec<_> = (0..connections)
            .map(|connection| {
                let address = self.address.clone();
                std::thread::spawn(move || send(&address, connection * each, each, pause))
            })
            .collect();
        let mut delays: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        delays.sort_unstable();
        delays
    }
}

fn send(address: &str, first: usize, each: usize, pause: Duration) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let started = Instant::now();
    let mut delays = Vec::with_capacity(each);
    for n in 0..each {
        let due = pause * u32::try_from(n).unwrap();
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        let body = format!(
            r#"{{"name":"app:startup","origin":{{"app":{{"name":"prose-app-web","version":"1.0.1","platform":"macos-aarch64","user_preferred_locales":["de-CH","en"]}},"pod":{{"user_hash":"{:016x}"}}}}}}"#,
            first + n
        );
        let request = format!(
            "POST {ROUTE} HTTP/1.1\r\nhost: pod\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 1_024];
        let read = stream.read(&mut answer).unwrap();
        delays.push(sent.elapsed());
        assert!(answer[..read].starts_with(b"HTTP/1.1 204 "));
    }
    delays
}

fn measure(command: Command) -> Vec<(&'static str, f64)> {
    let server = Server::start(command);
    std::thread::sleep(Duration::from_secs(2));
    let memory_idle = server.memory();
    let processor = server.processor();
    std::thread::sleep(Duration::from_secs(3));
    let processor_idle = server.processor() - processor;

    let steady = server.load(STEADY_CONNECTIONS, STEADY_EACH, STEADY_PAUSE);
    let milliseconds = |delay: Duration| delay.as_secs_f64() * 1e3;

    let (processor, started) = (server.processor(), Instant::now());
    let burst = server.load(CONNECTIONS, BURST_EACH, Duration::ZERO);
    let (processor, wall) = (server.processor() - processor, started.elapsed());
    let events = burst.len() as f64;
    vec![
        ("resident memory when idle, MB", memory_idle),
        ("processor time in 3 idle seconds, ms", processor_idle * 1e3),
        ("200 a second: median answer, ms", milliseconds(steady[steady.len() / 2])),
        ("200 a second: 99 % answered within, ms", milliseconds(steady[steady.len() * 99 / 100])),
        ("64 connections: events a second", events / wall.as_secs_f64()),
        ("64 connections: events per processor second", events / processor),
        ("resident memory after that, MB", server.memory()),
    ]
}
