//! A server that is no PostgreSQL, though it begins like one.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::MARKER;

/// What it does to who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rogue {
    /// Asks for the password in clear text.
    ClearText,
    /// Asks for an MD5 hash, then refuses.
    Md5,
    /// Asks for four thousand million rounds of SCRAM.
    Scram,
    /// Begins a message with this length.
    Length(u32),
    /// Accepts, and is silent.
    Silent,
    /// Sends a message of the login byte by byte, for ever.
    Drip,
    /// Reports settings for ever.
    Settings,
    /// Sends notices for ever.
    Notices,
    /// Refuses the login with words of its own.
    Refusal,
    /// Fails for another reason, with words of its own.
    Failure,
    /// Is a web server.
    Http,
    /// Sends noise.
    Noise,
    /// Lets anybody in, then sends noise.
    Open,
    /// Answers to the request for TLS with these bytes, and goes on as if nothing were.
    Tls(&'static [u8]),
}

/// A running one; gone when dropped.
pub struct Server {
    /// Where it listens.
    pub port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts one.
    pub async fn start(rogue: Rogue) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        let (port, tasks) = serve(move |stream| {
            let ears = ears.clone();
            async move {
                // It ends when the other end does.
                let _ = play(rogue, stream, &ears).await;
            }
        })
        .await;
        Self { port, heard, _tasks: tasks }
    }

    /// True if it was told this.
    pub fn heard(&self, text: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        heard.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Serves each connection by a task of its own.
pub async fn serve<F, T>(each: F) -> (u16, JoinSet<()>)
where
    F: Fn(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(each(stream));
        }
    });
    (port, tasks)
}

/// A message of the server.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag], &length[..], body].concat()
}

/// An error or a notice with words that must not be seen.
pub fn words(tag: u8, severity: &str, state: &str) -> Vec<u8> {
    let text = format!("\x1b]0;{MARKER}\x07\x1b[2J{MARKER} password=hunter2\r\n\u{202e}");
    let fields =
        [("S", severity), ("V", severity), ("C", state), ("M", &text), ("D", &text), ("H", &text), ("W", &text)];
    let body: Vec<u8> =
        fields.iter().flat_map(|(kind, text)| [kind.as_bytes(), text.as_bytes(), b"\0"].concat()).collect();
    message(tag, &[body, vec![0]].concat())
}

/// An authentication request.
fn authentication(kind: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes()[..], rest].concat())
}

async fn play(rogue: Rogue, mut stream: TcpStream, ears: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    if rogue == Rogue::Silent {
        return listen(&mut stream, ears).await;
    }
    let mut opening = packet(&mut stream).await?;
    if let Rogue::Tls(answer) = rogue {
        stream.write_all(answer).await?;
        stream.flush().await?;
        return listen(&mut stream, ears).await;
    }
    while opening.get(..4) == Some(&80_877_103u32.to_be_bytes()) {
        stream.write_all(b"N").await?;
        opening = packet(&mut stream).await?;
    }
    ears.lock().unwrap().extend_from_slice(&opening);
    match rogue {
        Rogue::ClearText => stream.write_all(&authentication(3, b"")).await?,
        Rogue::Md5 => {
            stream.write_all(&authentication(5, b"salt")).await?;
            hear(&mut stream, ears).await?;
            stream.write_all(&words(b'E', "FATAL", "28P01")).await?;
        }
        Rogue::Scram => {
            stream.write_all(&authentication(10, b"SCRAM-SHA-256\0\0")).await?;
            let first = hear(&mut stream, ears).await?;
            let text = String::from_utf8_lossy(&first).into_owned();
            let nonce = text.rsplit("r=").next().unwrap_or_default();
            let answer = format!("r={nonce}rogue,s=QSXCR+Q6sek8bf92,i=4000000000");
            stream.write_all(&authentication(11, answer.as_bytes())).await?;
        }
        Rogue::Length(length) => stream.write_all(&[&b"R"[..], &length.to_be_bytes(), b"more"].concat()).await?,
        Rogue::Drip => {
            for byte in authentication(5, b"salt").iter().chain(std::iter::repeat(&0)) {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Rogue::Settings => {
            stream.write_all(&authentication(0, b"")).await?;
            for number in 0u64.. {
                let body = format!("{MARKER}{number}\0{}\0", "x".repeat(1000));
                stream.write_all(&message(b'S', body.as_bytes())).await?;
            }
        }
        Rogue::Notices => {
            stream.write_all(&authentication(0, b"")).await?;
            loop {
                stream.write_all(&words(b'N', "WARNING", "01000")).await?;
            }
        }
        Rogue::Refusal => stream.write_all(&words(b'E', "FATAL", "28P01")).await?,
        Rogue::Failure => stream.write_all(&words(b'E', "FATAL", "XX000")).await?,
        Rogue::Http => {
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/{MARKER}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
        }
        Rogue::Noise => loop {
            stream.write_all(&[0x5a; 4096]).await?;
        },
        Rogue::Open => {
            let open = [authentication(0, b""), message(b'K', &[0; 8]), message(b'Z', b"I")].concat();
            stream.write_all(&open).await?;
            loop {
                stream.write_all(&words(b'N', "WARNING", "01000")).await?;
                stream.write_all(&[0; 4096]).await?;
            }
        }
        Rogue::Silent | Rogue::Tls(_) => unreachable!("handled above"),
    }
    listen(&mut stream, ears).await
}

/// A packet without a tag, as a session begins.
async fn packet(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let mut body = vec![0; (length as usize).saturating_sub(4).min(64 * 1024)];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn hear(stream: &mut TcpStream, ears: &Mutex<Vec<u8>>) -> std::io::Result<Vec<u8>> {
    let _tag = stream.read_u8().await?;
    let body = packet(stream).await?;
    ears.lock().unwrap().extend_from_slice(&body);
    Ok(body)
}

/// Whatever comes, up to the end.
async fn listen(stream: &mut TcpStream, ears: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        ears.lock().unwrap().extend_from_slice(&buffer[..count]);
    }
}
