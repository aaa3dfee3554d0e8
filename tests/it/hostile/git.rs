//! A web server that is no Git repository, or one that was made to harm.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gix_hash::ObjectId;
use gix_hash::{Kind as HashKind, hasher};
use gix_object::{Kind, compute_hash};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rogue::serve;
use super::service::Service;
use super::{MARKER, PASSWORD};

const MIB: usize = 1024 * 1024;
const CAPABILITIES: &str = "version 2\nagent=git/rogue\nls-refs=unborn\nfetch=shallow\nobject-format=sha1\n";

/// What it does, and the error of a test and the end of a sync that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rogue {
    /// Is a page.
    Page,
    /// Sends elsewhere, to where credentials of machines are.
    Redirect,
    /// Speaks the protocol of long ago.
    Old,
    /// Can do everything, for ever.
    Capabilities,
    /// Has references without end.
    References,
    /// Says no in words of its own.
    Refusal,
    /// Sends lines that are none.
    Lines,
    /// Tells of its progress for ever.
    Progress,
    /// Fails within a pack, in words of its own.
    Failure,
    /// Ends within a pack.
    Cut,
    /// Sends a pack without end.
    Endless,
    /// Announces four thousand million objects.
    Count,
    /// Sends objects that inflate a thousand times.
    Zeros,
    /// Sends deltas against deltas, each of eight megabytes.
    Deltas,
    /// Sends ten trees that unfold to a thousand million files.
    Trees,
}

const ALL: [Rogue; 15] = [
    Rogue::Page,
    Rogue::Redirect,
    Rogue::Old,
    Rogue::Capabilities,
    Rogue::References,
    Rogue::Refusal,
    Rogue::Lines,
    Rogue::Progress,
    Rogue::Failure,
    Rogue::Cut,
    Rogue::Endless,
    Rogue::Count,
    Rogue::Zeros,
    Rogue::Deltas,
    Rogue::Trees,
];

fn line(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [format!("{:04x}", text.len() + 4).as_bytes(), text].concat()
}

fn banded(band: u8, bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(60_000).flat_map(|piece| line([&[band], piece].concat())).collect()
}

fn entry(code: u8, size: usize, deflated: &[u8], between: &[u8]) -> Vec<u8> {
    let mut head = vec![(code << 4) | (size & 0x0f) as u8];
    let mut rest = size >> 4;
    while rest > 0 {
        *head.last_mut().unwrap() |= 0x80;
        head.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    [&head, between, deflated].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pack(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"PACK\0\0\0\x02".to_vec();
    bytes.extend((entries.len() as u32).to_be_bytes());
    bytes.extend(entries.concat());
    let mut hash = hasher(HashKind::Sha1);
    hash.update(&bytes);
    bytes.extend(hash.try_finalize().unwrap().as_slice());
    bytes
}

fn number(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(0x80 | (number & 0x7f) as u8);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn far(distance: usize) -> Vec<u8> {
    let mut bytes = vec![(distance & 0x7f) as u8];
    let mut rest = distance >> 7;
    while rest > 0 {
        rest -= 1;
        bytes.insert(0, 0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

/// A commit of a tree, and its name.
fn commit(tree: ObjectId) -> (Vec<u8>, ObjectId) {
    let who = format!("{MARKER} <a@example.com> 1700000000 +0000");
    let text = format!("tree {tree}\nauthor {who}\ncommitter {who}\n\n{MARKER}\n").into_bytes();
    let id = compute_hash(HashKind::Sha1, Kind::Commit, &text).unwrap();
    (text, id)
}

/// The pack that a rogue sends, and the commit that it says to be the newest.
fn harm(rogue: Rogue) -> (Vec<u8>, ObjectId) {
    let mut leaf = Vec::new();
    for number in 0..10 {
        leaf.extend([format!("100644 {number}\0").as_bytes(), &[7; 20]].concat());
    }
    let mut trees = vec![leaf];
    for _ in 0..9 {
        let id = compute_hash(HashKind::Sha1, Kind::Tree, trees.last().unwrap()).unwrap();
        let entries = (0..10).flat_map(|number| [format!("40000 {number}\0").as_bytes(), id.as_slice()].concat());
        trees.push(entries.collect());
    }
    let (text, id) = commit(compute_hash(HashKind::Sha1, Kind::Tree, trees.last().unwrap()).unwrap());
    let mut entries = vec![entry(1, text.len(), &deflated(&text), &[])];
    match rogue {
        Rogue::Trees => entries.extend(trees.iter().map(|tree| entry(2, tree.len(), &deflated(tree), &[]))),
        Rogue::Zeros => {
            let zeros = deflated(&vec![0; 32 * MIB]);
            entries.extend((0..40).map(|_| entry(3, 32 * MIB, &zeros, &[])));
        }
        Rogue::Deltas => {
            let size = 8 * MIB;
            entries.push(entry(3, size, &deflated(&vec![0; size]), &[]));
            // Copies of 64 KiB each, the whole of the base.
            let mut delta = [number(size), number(size)].concat();
            delta.extend((0..size >> 16).flat_map(|place| [0x8c, (place & 0xff) as u8, (place >> 8) as u8]));
            let deflated = deflated(&delta);
            for _ in 0..2_000 {
                let distance = entries.last().unwrap().len();
                entries.push(entry(6, delta.len(), &deflated, &far(distance)));
            }
        }
        _ => {}
    }
    (pack(&entries), id)
}

/// What one rogue answers to a request.
async fn play(rogue: Rogue, harm: Arc<(Vec<u8>, ObjectId)>, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let kind = if head.starts_with("get") { "advertisement" } else { "result" };
    let answer = |status: &str, kind: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nX-Words: {MARKER}\r\nConnection: close\r\n\r\n")
    };
    let good = answer("200 OK", &format!("application/x-git-upload-pack-{kind}"));
    match rogue {
        Rogue::Page => {
            stream.write_all(answer("200 OK", "text/html").as_bytes()).await?;
            return stream.write_all(format!("<html>{MARKER}</html>").as_bytes()).await;
        }
        Rogue::Redirect => {
            let head = "HTTP/1.1 301 Moved\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n";
            return stream.write_all(head.as_bytes()).await;
        }
        _ => stream.write_all(good.as_bytes()).await?,
    }
    if head.starts_with("get") {
        return greet(rogue, &mut stream).await;
    }
    if body.contains("command=ls-refs") {
        return list(rogue, &mut stream, harm.1).await;
    }
    send(rogue, &mut stream, &harm.0).await
}

async fn greet(rogue: Rogue, stream: &mut TcpStream) -> std::io::Result<()> {
    let service = [line("# service=git-upload-pack\n"), b"0000".to_vec()].concat();
    stream.write_all(&service).await?;
    match rogue {
        Rogue::Old => {
            let reference = format!("{} HEAD\0multi_ack {MARKER}\n", "1".repeat(40));
            return stream.write_all(&[line(reference), b"0000".to_vec()].concat()).await;
        }
        Rogue::Lines => return stream.write_all(format!("zzzz{MARKER}").as_bytes()).await,
        Rogue::Capabilities => loop {
            stream.write_all(&line("version 2\n")).await?;
        },
        _ => {}
    }
    let lines: Vec<u8> = CAPABILITIES.split_inclusive('\n').flat_map(line).collect();
    stream.write_all(&[lines, b"0000".to_vec()].concat()).await
}

async fn list(rogue: Rogue, stream: &mut TcpStream, tip: ObjectId) -> std::io::Result<()> {
    if rogue == Rogue::References {
        for number in 0u64.. {
            stream.write_all(&line(format!("{tip} HEAD{MARKER}{number}\n"))).await?;
        }
    }
    if rogue == Rogue::Refusal {
        return stream.write_all(&line(format!("ERR {MARKER} password=hunter2\n"))).await;
    }
    stream.write_all(&[line(format!("{tip} HEAD symref-target:refs/heads/main\n")), b"0000".to_vec()].concat()).await
}

async fn send(rogue: Rogue, stream: &mut TcpStream, pack: &[u8]) -> std::io::Result<()> {
    stream.write_all(&line("packfile\n")).await?;
    match rogue {
        Rogue::Progress => loop {
            stream.write_all(&banded(2, MARKER.repeat(100).as_bytes())).await?;
        },
        Rogue::Failure => {
            stream.write_all(&banded(1, b"PACK")).await?;
            stream.write_all(&banded(3, format!("\x1b[2J{MARKER}").as_bytes())).await
        }
        Rogue::Cut => stream.write_all(&banded(1, &pack[..pack.len() / 2])).await,
        Rogue::Endless => {
            stream.write_all(&banded(1, b"PACK\0\0\0\x02\0\0\0\x09")).await?;
            loop {
                stream.write_all(&banded(1, &[0x55; 60_000])).await?;
            }
        }
        Rogue::Count => {
            let bytes = b"PACK\0\0\0\x02\xff\xff\xff\xff";
            stream.write_all(&[banded(1, bytes), banded(1, &[0; 100]), b"0000".to_vec()].concat()).await
        }
        _ => stream.write_all(&[banded(1, pack), b"0000".to_vec()].concat()).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rogue_repository_costs_its_job_and_little_memory() {
    let service = Service::start().await;
    for rogue in ALL {
        let harm = Arc::new(harm(rogue));
        let (port, _tasks) = serve(move |stream| {
            let harm = harm.clone();
            async move { drop(play(rogue, harm, stream).await) }
        })
        .await;
        let config = json!({
            "url": format!("http://127.0.0.1:{port}/a.git"), "maxRepositorySize": 16 * MIB, "commits": true,
        });
        let credentials = json!({"username": "reader", "password": PASSWORD});
        let connection = service.connect_source("git", credentials, config).await;
        let before = service.measure();
        let tested =
            service.call("POST", &format!("/api/v1/source-connections/{connection}/test"), Some(json!({}))).await;
        assert!(!tested.text.contains(MARKER), "{rogue:?}: {}", tested.text);
        let sync = service.run(&connection).await;
        let ended = service.until(&sync, &["succeeded", "failed", "waiting"]).await;
        println!("{rogue:?}: tested {}, sync {} {}", tested.status, ended["status"], ended["errorReason"]);
        assert_ne!(ended["status"], json!("succeeded"), "{rogue:?}: {ended:#}");
        let shown = service.call("GET", &format!("/api/v1/syncs/{sync}"), None).await.text;
        assert!(!shown.contains(MARKER), "{rogue:?}: {shown}");
        service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await;
        service.assert_rise(before, &format!("{rogue:?}"));
    }
    service.assert_silent();
}
