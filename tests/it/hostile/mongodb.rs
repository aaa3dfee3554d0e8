//! What is no MongoDB, though it begins like one.

mod answers;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bson::raw::RawDocument;
use bson::spec::BinarySubtype;
use bson::{Binary, Document, doc};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tributary::egress::Timeouts;
use tributary::report::StageKind;

use super::rogue::serve;
use super::service::Service;
use super::{MARKER, PASSWORD, refusal};

const LIMIT: Duration = Duration::from_secs(3);
const MESSAGE: u32 = 2013;

/// What it does to who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rogue {
    /// Accepts, and is silent.
    Silent,
    /// Sends its first answer byte by byte.
    Drip,
    /// Begins with a message of this length.
    Length(u32),
    /// Answers with a kind of message that nobody asked for.
    Kind(u32),
    /// Answers to something else.
    OtherAnswer,
    /// Says that more comes unasked.
    More,
    Http,
    Noise,
    /// Nests its first answer as deep as its length allows.
    Deep,
    /// Asks for so many rounds of hashing.
    Rounds(&'static str),
    /// Takes another nonce than ours.
    Nonce,
    /// Says that all is well, without knowing the password.
    Impostor,
    /// Says so for ever.
    GoesOn,
    /// Refuses with this number.
    Refuses(i32),
}

const TABLE: &[(Rogue, &str)] = &[
    (Rogue::Silent, "timed_out"),
    (Rogue::Drip, "timed_out"),
    (Rogue::Length(0), "unreachable"),
    (Rogue::Length(20), "unreachable"),
    (Rogue::Length(70_000), "unreachable"),
    (Rogue::Length(48_000_000), "unreachable"),
    (Rogue::Length(u32::MAX), "unreachable"),
    (Rogue::Kind(1), "unreachable"),
    (Rogue::Kind(2012), "unreachable"),
    (Rogue::OtherAnswer, "unreachable"),
    (Rogue::More, "unreachable"),
    (Rogue::Http, "unreachable"),
    (Rogue::Noise, "unreachable"),
    (Rogue::Deep, "unreachable"),
    (Rogue::Rounds("4000000000"), "login_refused"),
    (Rogue::Rounds("1"), "login_refused"),
    (Rogue::Nonce, "unreachable"),
    (Rogue::Impostor, "login_refused"),
    (Rogue::GoesOn, "login_refused"),
    (Rogue::Refuses(18), "login_refused"),
    (Rogue::Refuses(334), "login_refused"),
    (Rogue::Refuses(1), "unreachable"),
];

/// A message in answer to a request.
fn message(answers: u32, flags: u32, document: &[u8]) -> Vec<u8> {
    let length = u32::try_from(21 + document.len()).unwrap();
    let head = [length, 1, answers, MESSAGE, flags].map(u32::to_le_bytes).concat();
    [&head[..], &[0], document].concat()
}

fn written(answers: u32, document: &Document) -> Vec<u8> {
    message(answers, 0, &document.to_vec().unwrap())
}

/// One value inside another, so many times.
fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let whole = 5 + 8 * levels;
    for level in 0..levels {
        bytes.extend(u32::try_from(whole - 8 * level).unwrap().to_le_bytes());
        bytes.extend([3, b'a', 0]);
    }
    bytes.extend([5, 0, 0, 0, 0]);
    bytes.extend(std::iter::repeat_n(0, levels));
    bytes
}

/// An error with words that must not be seen.
fn error(code: i32) -> Document {
    let text = format!("\x1b]0;{MARKER}\x07\x1b[2J{MARKER} password=hunter2\r\n\u{202e}");
    doc! {"ok": 0.0, "code": code, "errmsg": text, "codeName": MARKER}
}

fn payload(text: &str) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: text.as_bytes().to_vec() }
}

/// A request: its number and its document.
async fn heard(stream: &mut TcpStream, ears: &Mutex<Vec<u8>>) -> std::io::Result<(u32, Vec<u8>)> {
    let mut head = [0; 21];
    stream.read_exact(&mut head).await?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
    let mut body = vec![0; (number(0) as usize).saturating_sub(21).min(1 << 20)];
    stream.read_exact(&mut body).await?;
    ears.lock().unwrap().extend_from_slice(&body);
    Ok((number(4), body))
}

async fn play(rogue: Rogue, mut stream: TcpStream, ears: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    let (hello, _) = heard(&mut stream, ears).await?;
    let greeting = doc! {"ok": 1.0, "hosts": ["169.254.169.254:27017"], "me": MARKER, "setName": MARKER};
    match rogue {
        Rogue::Silent => std::future::pending::<()>().await,
        Rogue::Drip => {
            for byte in written(hello, &greeting) {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Rogue::Length(length) => {
            let head = [length, 1, hello, MESSAGE].map(u32::to_le_bytes).concat();
            stream.write_all(&[&head[..], &[0; 4096]].concat()).await?;
        }
        Rogue::Kind(kind) => {
            let mut bytes = written(hello, &greeting);
            bytes[12..16].copy_from_slice(&kind.to_le_bytes());
            stream.write_all(&bytes).await?;
        }
        Rogue::OtherAnswer => stream.write_all(&written(hello + 7, &greeting)).await?,
        Rogue::More => stream.write_all(&message(hello, 2, &greeting.to_vec().unwrap())).await?,
        Rogue::Http => {
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/{MARKER}\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
        }
        Rogue::Noise => loop {
            stream.write_all(&[0x5a; 4096]).await?;
        },
        Rogue::Deep => stream.write_all(&message(hello, 0, &nested(8000))).await?,
        _ => stream.write_all(&written(hello, &greeting)).await?,
    }
    let (start, asked) = heard(&mut stream, ears).await?;
    let first = RawDocument::from_bytes(&asked).unwrap().get_binary("payload").unwrap().bytes.to_vec();
    let first = String::from_utf8(first).unwrap();
    let nonce = first.rsplit("r=").next().unwrap_or_default();
    let challenge = match rogue {
        Rogue::Rounds(rounds) => format!("r={nonce}rogue,s=QSXCR+Q6sek8bf92,i={rounds}"),
        Rogue::Nonce => "r=rogue,s=QSXCR+Q6sek8bf92,i=4096".to_owned(),
        _ => format!("r={nonce}rogue,s=QSXCR+Q6sek8bf92,i=4096"),
    };
    let answer = match rogue {
        Rogue::Refuses(code) => error(code),
        _ => doc! {"ok": 1.0, "conversationId": 1, "done": false, "payload": payload(&challenge)},
    };
    stream.write_all(&written(start, &answer)).await?;
    loop {
        let (go_on, _) = heard(&mut stream, ears).await?;
        let done = rogue != Rogue::GoesOn;
        let well = format!("v={}", STANDARD.encode([7; 32]));
        let answer = doc! {"ok": 1.0, "conversationId": 1, "done": done, "payload": payload(&well)};
        stream.write_all(&written(go_on, &answer)).await?;
    }
}

/// Where it listens, and what it heard; gone when dropped.
struct Server {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    async fn start(rogue: Rogue) -> Self {
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

    fn heard(&self, text: &str) -> bool {
        self.heard.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// What a connection test says: the failed stage and its code, and the whole report as
/// text, with the error's.
async fn check(port: u16) -> (StageKind, &'static str, String) {
    let credentials = json!({"host": "127.0.0.1", "port": port, "username": "reader", "password": PASSWORD});
    let limits = Timeouts { login: LIMIT, handshake: LIMIT, first_byte: LIMIT, ..Timeouts::default() };
    refusal::of("mongodb", credentials, json!({}), limits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rogue_has_its_code_within_the_deadline_and_learns_no_password() {
    let checks = TABLE.iter().map(|(rogue, code)| async move {
        let server = Server::start(*rogue).await;
        let began = Instant::now();
        let (failed, found, said) = check(server.port).await;
        assert!(began.elapsed() < 4 * LIMIT, "{rogue:?} took {:?}", began.elapsed());
        assert_eq!((failed, found), (StageKind::Login, *code), "{rogue:?}: {said}");
        assert!(!said.contains(MARKER) && !said.contains('\u{1b}'), "{rogue:?}: {said}");
        assert!(!server.heard(PASSWORD), "{rogue:?} was told the password");
    });
    futures::future::join_all(checks).await;
}

async fn connect(service: &Service, port: u16, login: (&str, &str), config: Value) -> String {
    let credentials = json!({"host": "127.0.0.1", "port": port, "username": login.0, "password": login.1});
    service.connect_source("mongodb", credentials, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rogues_leave_no_word_in_answers_and_logs_and_take_no_memory() {
    let service = Service::start().await;
    let (mut servers, mut connections) = (Vec::new(), Vec::new());
    // What is silent takes its time, and was tried above.
    for (rogue, ..) in TABLE.iter().filter(|(_, code)| *code != "timed_out") {
        let server = Server::start(*rogue).await;
        connections.push((rogue, connect(&service, server.port, ("reader", PASSWORD), json!({})).await));
        servers.push(server);
    }
    let before = service.measure();
    let tests = connections.iter().map(|(rogue, connection)| {
        let service = &service;
        async move {
            let path = format!("/api/v1/source-connections/{connection}/test");
            let answer = service.call("POST", &path, Some(json!({}))).await;
            assert!((400..600).contains(&answer.status), "{rogue:?}: {} {}", answer.status, answer.text);
            assert!(!answer.text.contains(MARKER) && !answer.text.contains("hunter2"), "{rogue:?}: {}", answer.text);
        }
    });
    futures::future::join_all(tests).await;
    service.assert_rise(before, "all rogues at once");
    service.assert_silent();
}
