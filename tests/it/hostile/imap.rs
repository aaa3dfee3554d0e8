//! Mail servers that mean harm.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tributary::egress::Timeouts;
use tributary::report::StageKind;

use super::rogue::serve;
use super::service::Service;
use super::{MARKER, PASSWORD, refusal};

const LIMIT: Duration = Duration::from_secs(3);

/// What it does to who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rogue {
    /// Says nothing.
    Silent,
    /// Sends its greeting byte by byte, for ever.
    Drip,
    /// Is a web server.
    Http,
    /// Sends noise.
    Noise,
    /// Talks without end before it lets anybody in.
    Talk,
    /// Asks for more and more of the password.
    Challenge,
    /// Refuses the login with words of its own.
    Refusal,
    /// Says that nobody need log in.
    Preauth,
    /// Lets anybody in, and answers to everything with these bytes.
    Answer(&'static [u8]),
    /// Lets anybody in, and answers to the list with these bytes again and again.
    Again(&'static [u8]),
    /// Lets anybody in, then lets its bytes drip.
    DripLater,
}

async fn play(rogue: Rogue, stream: TcpStream) -> std::io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from).lines();
    match rogue {
        Rogue::Silent => {
            lines.next_line().await?;
            return Ok(());
        }
        Rogue::Drip => loop {
            to.write_all(b"*").await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        },
        Rogue::Http => to.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{MARKER}\r\n").as_bytes()).await?,
        Rogue::Noise => to.write_all(&[0xff, 0, 0x1b, b'\n', b'{', b'9'].repeat(2_000)).await?,
        Rogue::Preauth => to.write_all(format!("* PREAUTH {MARKER}\r\n").as_bytes()).await?,
        _ => to.write_all(b"* OK ready\r\n").await?,
    }
    while let Some(line) = lines.next_line().await? {
        let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match (command.split(' ').next().unwrap_or_default(), rogue) {
            ("CAPABILITY", Rogue::Talk) => loop {
                to.write_all(format!("* 1 {MARKER}\r\n").repeat(100).as_bytes()).await?;
            },
            ("CAPABILITY", _) => format!("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n{tag} OK\r\n"),
            ("AUTHENTICATE", Rogue::Challenge) | ("", Rogue::Challenge) => format!("+ {MARKER}\r\n"),
            ("AUTHENTICATE", Rogue::Refusal) => format!("{tag} NO \x1b[2J{MARKER} hunter2\r\n"),
            ("AUTHENTICATE", _) => format!("{tag} OK in\r\n"),
            (_, Rogue::Answer(bytes)) => {
                to.write_all(bytes).await?;
                format!("{tag} OK done\r\n")
            }
            (_, Rogue::Again(bytes)) => {
                let many = bytes.repeat(1 + 65_536 / bytes.len());
                loop {
                    to.write_all(&many).await?;
                }
            }
            (_, Rogue::DripLater) => loop {
                to.write_all(b"* 1 EXISTS\r\n").await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            },
            _ => format!("{tag} BAD\r\n"),
        };
        to.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

async fn start(rogue: Rogue) -> (u16, JoinSet<()>) {
    serve(move |stream| async move {
        // It ends when the other end does.
        let _ = play(rogue, stream).await;
    })
    .await
}

fn settings(port: u16) -> (Value, Value) {
    let credentials = json!({"host": "127.0.0.1", "port": port, "username": "reader", "password": PASSWORD});
    (credentials, json!({"security": "plain"}))
}

/// The failed stage, its code, and everything that is said of it.
async fn check(port: u16) -> (StageKind, &'static str, String) {
    let (credentials, config) = settings(port);
    let limits = Timeouts { login: LIMIT, handshake: LIMIT, first_byte: LIMIT, idle: LIMIT, ..Timeouts::default() };
    refusal::of("imap", credentials, config, limits).await
}

const TABLE: &[(Rogue, StageKind, &str)] = &[
    (Rogue::Silent, StageKind::Login, "timed_out"),
    (Rogue::Drip, StageKind::Login, "timed_out"),
    (Rogue::Http, StageKind::Login, "unreachable"),
    (Rogue::Noise, StageKind::Login, "unreachable"),
    (Rogue::Talk, StageKind::Login, "unreachable"),
    (Rogue::Challenge, StageKind::Login, "unreachable"),
    (Rogue::Refusal, StageKind::Login, "login_refused"),
    (Rogue::Preauth, StageKind::Login, "unreachable"),
    (Rogue::Answer(b"* LIST () \"/\" {4294967295}\r\n"), StageKind::Permission, "unreachable"),
    (Rogue::Answer(b"* LIST () \"/\" {99999999999999999999}\r\n"), StageKind::Permission, "unreachable"),
    (Rogue::Answer(b"* 1 FETCH (BODY[] {900000000}\r\n"), StageKind::Permission, "unreachable"),
    (Rogue::Answer(b"T9 OK MARKER-of-a-rogue\r\n"), StageKind::Permission, "unreachable"),
    (Rogue::Answer(b"* BYE MARKER-of-a-rogue\r\n"), StageKind::Permission, "unreachable"),
    (
        Rogue::Answer(b"* OK [ALERT]\xc3\xa9\xc3\xa9\r\n* nonsense MARKER-of-a-rogue\r\n"),
        StageKind::Permission,
        "unreachable",
    ),
    (Rogue::Again(b"("), StageKind::Permission, "unreachable"),
    (Rogue::Again(b"* 1 FETCH (BODYSTRUCTURE ((((((((((((((((((((((((\r\n"), StageKind::Permission, "unreachable"),
    (Rogue::Again(b"* LIST () \"/\" MARKER-of-a-rogue\r\n"), StageKind::Permission, "unreachable"),
    (Rogue::Again(b"* 4294967295 EXISTS\r\n"), StageKind::Permission, "unreachable"),
    (Rogue::DripLater, StageKind::Permission, "timed_out"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_rogue_has_its_code_within_the_deadline() {
    for (rogue, stage, expected) in TABLE {
        let (port, _tasks) = start(*rogue).await;
        let began = Instant::now();
        let (failed, code, said) = check(port).await;
        assert!(began.elapsed() < 6 * LIMIT, "{rogue:?} took {:?}", began.elapsed());
        assert_eq!((failed, code), (*stage, *expected), "{rogue:?}: {said}");
        assert!(!said.contains(MARKER) && !said.contains('\u{1b}') && !said.contains(PASSWORD), "{rogue:?}: {said}");
    }
}

/// Answers as a mailbox with one message after the other, each of as many bytes as may
/// be, none of which it has told before.
async fn flood(stream: TcpStream) -> std::io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from).lines();
    to.write_all(b"* OK ready\r\n").await?;
    let body = vec![b'x'; 10 << 20];
    while let Some(line) = lines.next_line().await? {
        let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
        if command.starts_with("UID FETCH") && command.contains("BODY.PEEK") {
            for uid in command.split(' ').nth(2).unwrap_or_default().split(',') {
                to.write_all(
                    format!("* {uid} FETCH (UID {uid} RFC822.SIZE 1 BODY[] {{{}}}\r\n", body.len()).as_bytes(),
                )
                .await?;
                to.write_all(&body).await?;
                to.write_all(b")\r\n").await?;
            }
        }
        let answer = match command.split(' ').next().unwrap_or_default() {
            "CAPABILITY" => "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\n".to_owned(),
            "LIST" => "* LIST () \"/\" INBOX\r\n".to_owned(),
            "EXAMINE" => "* 20 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n* OK [UIDNEXT 21]\r\n".to_owned(),
            "UID" if !command.contains("BODY.PEEK") => {
                (1..=20).map(|uid| format!("* {uid} FETCH (UID {uid} RFC822.SIZE 1)\r\n")).collect()
            }
            _ => String::new(),
        };
        to.write_all(format!("{answer}{tag} OK done\r\n").as_bytes()).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rogues_leave_no_word_and_take_no_memory() {
    let service = Service::start().await;
    let (port, _flood) = serve(|stream| async move {
        let _ = flood(stream).await;
    })
    .await;
    let mut tasks = Vec::new();
    let mut ports = vec![port];
    for (rogue, _, code) in TABLE {
        if *code == "unreachable" {
            let (port, task) = start(*rogue).await;
            ports.push(port);
            tasks.push(task);
        }
    }
    let before = service.measure();
    for port in ports {
        let (credentials, config) = settings(port);
        let connection = service.connect_source("imap", credentials, config).await;
        let answer =
            service.call("POST", &format!("/api/v1/source-connections/{connection}/test"), Some(json!({}))).await;
        assert!(!answer.text.contains(MARKER), "{}", answer.text);
        let sync = service.run(&connection).await;
        let ended = service.until(&sync, &["failed", "waiting", "succeeded"]).await;
        assert!(!ended.to_string().contains(MARKER), "{ended}");
        if ended["status"] == "waiting" {
            service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await.ok();
        }
    }
    service.assert_rise(before, "rogue mail servers");
    service.assert_silent();
}
