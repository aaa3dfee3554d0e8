//! What is no MySQL, though it begins like one.

mod log;
mod rows;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tributary::egress::Timeouts;
use tributary::report::StageKind;

use super::rogue::serve;
use super::service::Service;
use super::{MARKER, PASSWORD, refusal};

const LIMIT: Duration = Duration::from_secs(5);
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// What it does to who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rogue {
    /// Asks for the password in clear text.
    ClearText,
    /// Says that it does not know the hash, and asks for the password.
    FullLogin,
    /// Asks for another method.
    Method(&'static str),
    /// Asks for the oldest method.
    Oldest,
    /// Says for ever that the login goes well.
    GoesWell,
    /// Begins with a packet of this length.
    Length(u32),
    /// Accepts, and is silent.
    Silent,
    /// Sends its greeting byte by byte.
    Drip,
    /// Refuses with this number, at once or after the login.
    RefusesAtOnce(u16),
    Refuses(u16),
    Http,
    Noise,
    /// Has no TLS.
    Plain,
    /// Begins TLS with noise.
    NoiseForTls,
    /// Lets anybody in, and answers to all that is asked with these.
    File,
    ColumnCount,
    Columns,
    EndlessRows,
    LargeRows,
    Progress,
    MoreResults,
    Unasked,
}

const TABLE: &[(Rogue, StageKind, &str)] = &[
    (Rogue::ClearText, StageKind::Login, "login_refused"),
    (Rogue::FullLogin, StageKind::Login, "login_refused"),
    (Rogue::Method("dialog"), StageKind::Login, "login_refused"),
    (Rogue::Method("auth_gssapi_client"), StageKind::Login, "login_refused"),
    (Rogue::Method("parsec"), StageKind::Login, "login_refused"),
    (Rogue::Oldest, StageKind::Login, "login_refused"),
    (Rogue::GoesWell, StageKind::Login, "unreachable"),
    (Rogue::Length(0), StageKind::Login, "unreachable"),
    (Rogue::Length(0xff_ffff), StageKind::Login, "unreachable"),
    (Rogue::Silent, StageKind::Login, "timed_out"),
    (Rogue::Drip, StageKind::Login, "timed_out"),
    (Rogue::RefusesAtOnce(1130), StageKind::Login, "login_refused"),
    (Rogue::RefusesAtOnce(1040), StageKind::Login, "unreachable"),
    (Rogue::Refuses(1045), StageKind::Login, "login_refused"),
    (Rogue::Refuses(3159), StageKind::Login, "tls_failed"),
    (Rogue::Refuses(1105), StageKind::Login, "unreachable"),
    (Rogue::Http, StageKind::Login, "unreachable"),
    (Rogue::Noise, StageKind::Login, "unreachable"),
    (Rogue::File, StageKind::Login, "unreachable"),
    (Rogue::ColumnCount, StageKind::Login, "unreachable"),
    (Rogue::Columns, StageKind::Login, "unreachable"),
    (Rogue::EndlessRows, StageKind::Login, "unreachable"),
    (Rogue::LargeRows, StageKind::Login, "unreachable"),
    (Rogue::Progress, StageKind::Login, "unreachable"),
    (Rogue::MoreResults, StageKind::Login, "unreachable"),
    (Rogue::Unasked, StageKind::Login, "unreachable"),
];

fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&length[..3], &[number], body].concat()
}

fn greeting(capabilities: u32) -> Vec<u8> {
    let bits = capabilities.to_le_bytes();
    let head =
        [&b"\x0a8.0.36-"[..], MARKER.as_bytes(), b"\0\x07\0\0\x0012345678\0", &bits[..2], b"\x2d\x02\0", &bits[2..]];
    [&head.concat()[..], b"\x15", &[0; 10], b"abcdefghijkl\0caching_sha2_password\0"].concat()
}

/// An error with words that must not be seen.
fn error(code: u16) -> Vec<u8> {
    let text = format!("#28000\x1b]0;{MARKER}\x07\x1b[2J{MARKER} password=hunter2\r\n\u{202e}");
    [&[0xff][..], &code.to_le_bytes(), text.as_bytes()].concat()
}

fn definition(name: &str) -> Vec<u8> {
    let length = u16::try_from(name.len()).unwrap().to_le_bytes();
    [&b"\x03def\0\0\0\xfc"[..], &length, name.as_bytes(), b"\0\x0c", &[0; 12]].concat()
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
                let (mut from, to) = stream.into_split();
                // It ends when the other end does.
                let listening = async {
                    let mut buffer = [0; 4096];
                    while let Ok(count) = from.read(&mut buffer).await
                        && count > 0
                    {
                        ears.lock().unwrap().extend_from_slice(&buffer[..count]);
                    }
                };
                tokio::select! {
                    () = listening => {}
                    _ = play(rogue, to, &ears) => {}
                }
            }
        })
        .await;
        Self { port, heard, _tasks: tasks }
    }

    fn heard(&self, text: &str) -> bool {
        self.heard.lock().unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// Waits until more was heard than before.
async fn hear(ears: &Mutex<Vec<u8>>, before: &mut usize) {
    while ears.lock().unwrap().len() <= *before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    *before = ears.lock().unwrap().len();
}

async fn play(rogue: Rogue, mut to: impl AsyncWriteExt + Unpin, ears: &Mutex<Vec<u8>>) -> std::io::Result<()> {
    const TLS: u32 = 0x800;
    let mut heard = ears.lock().unwrap().len();
    let capabilities = if matches!(rogue, Rogue::Plain) { !TLS } else { u32::MAX };
    match rogue {
        Rogue::Silent => {}
        Rogue::Length(length) => {
            to.write_all(&[&length.to_le_bytes()[..3], &[0], &[10; 5000]].concat()).await?;
        }
        Rogue::Drip => {
            for byte in packet(0, &greeting(capabilities)) {
                to.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        Rogue::RefusesAtOnce(code) => to.write_all(&packet(0, &error(code))).await?,
        Rogue::Http => {
            to.write_all(format!("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/{MARKER}\r\n\r\n").as_bytes())
                .await?;
        }
        Rogue::Noise => loop {
            to.write_all(&[0x5a; 4096]).await?;
        },
        _ => to.write_all(&packet(0, &greeting(capabilities))).await?,
    }
    hear(ears, &mut heard).await;
    let switch = |method: &str| packet(2, &[&[0xfe][..], method.as_bytes(), &[0], &[b'x'; 20], &[0]].concat());
    match rogue {
        Rogue::ClearText => to.write_all(&packet(2, b"\xfemysql_clear_password\0")).await?,
        Rogue::FullLogin => to.write_all(&packet(2, &[1, 4])).await?,
        Rogue::Method(method) => to.write_all(&switch(method)).await?,
        Rogue::Oldest => to.write_all(&packet(2, &[0xfe])).await?,
        Rogue::GoesWell => {
            for number in (2u8..=255).cycle() {
                to.write_all(&packet(number, &[1, 3])).await?;
            }
        }
        Rogue::Refuses(code) => to.write_all(&packet(2, &error(code))).await?,
        Rogue::NoiseForTls => loop {
            to.write_all(&[0x5a; 4096]).await?;
        },
        Rogue::Unasked => {
            to.write_all(&packet(2, OK)).await?;
            loop {
                to.write_all(&packet(0, OK)).await?;
            }
        }
        _ => to.write_all(&packet(2, OK)).await?,
    }
    hear(ears, &mut heard).await;
    match rogue {
        Rogue::File => to.write_all(&packet(1, b"\xfb/etc/passwd")).await?,
        Rogue::ColumnCount => to.write_all(&packet(1, &[0xfe, 255, 255, 255, 255, 255, 255, 255, 0])).await?,
        Rogue::Columns => {
            to.write_all(&packet(1, &[0xfc, 0, 0x10])).await?;
            for number in (2u8..=255).cycle() {
                to.write_all(&packet(number, &definition(&MARKER.repeat(2000)))).await?;
            }
        }
        Rogue::EndlessRows | Rogue::LargeRows => {
            to.write_all(&[packet(1, &[1]), packet(2, &definition("n")), packet(3, &[0xfe, 0, 0, 2, 0])].concat())
                .await?;
            let length = if rogue == Rogue::LargeRows { 7 << 20 } else { 100 };
            let row = [&[0xfd][..], &(length as u32).to_le_bytes()[..3], &vec![b'x'; length]].concat();
            for number in (4u8..=255).chain(0..=3).cycle() {
                to.write_all(&packet(number, &row)).await?;
            }
        }
        Rogue::Progress => {
            for number in (1u8..=255).chain(0..=0).cycle() {
                to.write_all(&packet(number, &[&b"\xff\xff\xff\x01\x01\x02\x10\0\0"[..], MARKER.as_bytes()].concat()))
                    .await?;
            }
        }
        Rogue::MoreResults => {
            for number in (1u8..=255).chain(0..=0).cycle() {
                to.write_all(&packet(number, &[0, 0, 0, 8, 0, 0, 0])).await?;
            }
        }
        _ => {}
    }
    std::future::pending().await
}

/// What a connection test says: the failed stage and its code, and the whole report as
/// text, with the error's.
async fn check(port: u16, config: Value) -> (StageKind, &'static str, String) {
    let credentials = json!({"host": "127.0.0.1", "port": port, "username": "reader", "password": PASSWORD});
    let limits = Timeouts { login: LIMIT, handshake: LIMIT, first_byte: LIMIT, ..Timeouts::default() };
    refusal::of("mysql", credentials, config, limits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rogue_has_its_code_within_the_deadline_and_learns_no_password() {
    let checks = TABLE.iter().map(|(rogue, stage, code)| async move {
        let server = Server::start(*rogue).await;
        let began = Instant::now();
        let (failed, found, said) = check(server.port, json!({})).await;
        assert!(began.elapsed() < 4 * LIMIT, "{rogue:?} took {:?}", began.elapsed());
        assert_eq!((failed, found), (*stage, *code), "{rogue:?}: {said}");
        assert!(!said.contains(MARKER) && !said.contains('\u{1b}'), "{rogue:?}: {said}");
        assert!(!server.heard(PASSWORD), "{rogue:?} was told the password");
        assert!(!server.heard("root:"), "{rogue:?} was given a file");
    });
    futures::future::join_all(checks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_left_before_it_is_told_who_we_are() {
    for rogue in [Rogue::Plain, Rogue::NoiseForTls] {
        for mode in ["require", "verify-full"] {
            let server = Server::start(rogue).await;
            let (failed, code, said) = check(server.port, json!({"sslMode": mode})).await;
            assert_eq!((failed, code), (StageKind::Tls, "tls_failed"), "{rogue:?} {mode}: {said}");
            assert!(!server.heard("reader") && !server.heard(PASSWORD), "{rogue:?} {mode}");
        }
    }
}

async fn connect(service: &Service, port: u16, login: (&str, &str), config: Value) -> String {
    let credentials = json!({"host": "127.0.0.1", "port": port, "username": login.0, "password": login.1});
    service.connect_source("mysql", credentials, config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rogues_leave_no_word_in_answers_and_logs_and_take_no_memory() {
    let service = Service::start().await;
    let (mut servers, mut connections) = (Vec::new(), Vec::new());
    for (rogue, ..) in TABLE {
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
            let sync = service.run(connection).await;
            let ended = service.until(&sync, &["failed", "waiting"]).await;
            assert!(!answer.text.contains(MARKER) && !answer.text.contains("hunter2"), "{rogue:?}: {}", answer.text);
            assert!(!ended.to_string().contains(MARKER), "{rogue:?}: {ended}");
            if ended["status"] == "waiting" {
                service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await.ok();
                service.until(&sync, &["cancelled"]).await;
            }
        }
    });
    futures::future::join_all(tests).await;
    service.assert_rise(before, "all rogues at once");
    service.assert_silent();
    assert_eq!(service.call("GET", "/api/v1/sources", None).await.status, 200);
}
