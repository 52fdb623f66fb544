//! One persistent connection for a sequence of requests.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers of the services are short; a longer one is an error.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that speaks a minimal HTTP/1.1, so that the load itself costs little.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    route: String,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// The answer of a server.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status, such as 204.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

impl Connection {
    /// Connects, for posts to that path of the server.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(address: SocketAddr, path: &str) -> anyhow::Result<Self> {
        let stream = connect(address).await?;
        let route = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: "
        );
        Ok(Self { address, stream, route, request: Vec::new(), answer: vec![0; MAX_ANSWER_BYTES] })
    }

    /// Reconnects: a server that rejects a request without reading it has closed the connection.
    ///
    /// # Errors
    /// If nobody listens any more.
    pub async fn reopen(&mut self) -> anyhow::Result<()> {
        self.stream = connect(self.address).await?;
        Ok(())
    }

    /// Posts a body, and waits for the answer.
    ///
    /// # Errors
    /// If no answer comes.
    pub async fn post(&mut self, body: &[u8]) -> anyhow::Result<Answer<'_>> {
        tokio::time::timeout(PATIENCE, self.exchange(body)).await.context("the server does not answer")?
    }

    async fn exchange(&mut self, body: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.request.clear();
        self.request.extend_from_slice(self.route.as_bytes());
        self.request.extend_from_slice(format!("{}\r\n\r\n", body.len()).as_bytes());
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).await?;
        let mut length = 0;
        let (status, head, whole) = loop {
            ensure!(length < self.answer.len(), "the server answers more than {MAX_ANSWER_BYTES} bytes");
            let read = self.stream.read(&mut self.answer[length..]).await?;
            ensure!(read > 0, "the server closed a connection");
            length += read;
            if let Some((status, head, body)) = parse_head(&self.answer[..length])? {
                break (status, head, head + body);
            }
        };
        ensure!(whole <= self.answer.len(), "the server answers more than {MAX_ANSWER_BYTES} bytes");
        if length < whole {
            self.stream.read_exact(&mut self.answer[length..whole]).await?;
        }
        Ok(Answer { status, body: &self.answer[head..whole] })
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("{address} takes no connection"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The status of an answer, and the lengths of its head and body in bytes; `None` while the head is
/// incomplete.
fn parse_head(answer: &[u8]) -> anyhow::Result<Option<(u16, usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(answer)? else { return Ok(None) };
    let status = response.code.context("a status")?;
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body = match length {
        Some(length) => std::str::from_utf8(length.value)?.parse()?,
        None if status == 204 => 0,
        None => bail!("the server answers {status} without the length of the body"),
    };
    Ok(Some((status, head, body)))
}
