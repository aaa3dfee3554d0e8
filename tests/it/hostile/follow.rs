//! A rogue between the service and a real PostgreSQL that it follows, which lets
//! everything pass up to the first change of a row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::MARKER;
use super::rogue::{message, serve};
use super::service::Service;
use crate::support::postgres::{self, OwnCluster};

const LOGICAL: &str = "-c wal_level=logical -c max_replication_slots=4 -c max_wal_senders=6";
/// A piece of the stream: its kind, two places and a time.
const PIECE: usize = 25;

/// What comes before the first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tampering {
    /// A row of 900 MiB.
    Change,
    /// Rows whose keys have a megabyte each.
    Keys,
    /// Tables that nobody asked for.
    Relations,
    /// The same row, again and again.
    Again,
}

/// A port that leads to a cluster through a rogue, who does it once.
async fn tampered(cluster: u16, tampering: Tampering) -> (u16, JoinSet<()>) {
    let is_due = Arc::new(AtomicBool::new(true));
    serve(move |stream| {
        let is_due = is_due.clone();
        async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", cluster)).await else { return };
            let (mut from_service, mut to_service) = stream.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = async {
                drop(tokio::io::copy(&mut from_service, &mut to_server).await);
            };
            let down = async {
                loop {
                    let Ok(tag) = from_server.read_u8().await else { return };
                    let Ok(length) = from_server.read_u32().await else { return };
                    let mut body = vec![0; length as usize - 4];
                    if from_server.read_exact(&mut body).await.is_err() {
                        return;
                    }
                    let is_change = tag == b'd' && body[0] == b'w' && matches!(body.get(PIECE), Some(b'I' | b'U'));
                    if is_change && is_due.swap(false, Ordering::SeqCst) {
                        let relation = &body[PIECE + 1..PIECE + 5];
                        if tamper(tampering, &body[..PIECE], relation, &mut to_service).await.is_err() {
                            return;
                        }
                    }
                    if to_service.write_all(&message(tag, &body)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! { () = up => {}, () = down => {} }
        }
    })
    .await
}

async fn tamper(
    tampering: Tampering,
    piece: &[u8],
    relation: &[u8],
    service: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    // A row of one column that is a text of so many bytes, without the text.
    let row = |length: u32| [&b"I"[..], relation, b"N\0\x01t", &length.to_be_bytes()].concat();
    match tampering {
        Tampering::Change => {
            let text = 900u32 << 20;
            let head = [piece, &row(text)].concat();
            let length = text + u32::try_from(head.len()).unwrap() + 4;
            service.write_all(&[&b"d"[..], &length.to_be_bytes(), &head].concat()).await?;
            let filler = MARKER.as_bytes().repeat(4096);
            let mut left = text as usize;
            while left > 0 {
                let count = left.min(filler.len());
                service.write_all(&filler[..count]).await?;
                left -= count;
            }
        }
        Tampering::Keys => {
            let key = vec![b'k'; 1 << 20];
            let message = message(b'd', &[piece, &row(1 << 20), &key].concat());
            for _ in 0..300 {
                service.write_all(&message).await?;
            }
        }
        Tampering::Relations => {
            for block in 0..300u32 {
                let of_one = |number: u32| {
                    let id = (0x4000_0000 + block * 1_000 + number).to_be_bytes();
                    let columns = b"\0\x01\x01a-long-name-of-a-column\0\0\0\0\x19\xff\xff\xff\xff";
                    message(b'd', &[piece, b"R", &id, b"public\0unasked\0d", columns].concat())
                };
                service.write_all(&(0..1_000).flat_map(of_one).collect::<Vec<u8>>()).await?;
            }
        }
        Tampering::Again => {
            let block = message(b'd', &[piece, &row(1), b"7"].concat()).repeat(1_000);
            for _ in 0..300 {
                service.write_all(&block).await?;
            }
        }
    }
    Ok(())
}

/// Names by id, as they are indexed.
pub async fn indexed(service: &Service) -> BTreeMap<i64, String> {
    let path = format!("/api/v1/collections/{}/items?pageSize=1000", service.collection());
    let body = service.call("GET", &path, None).await.ok();
    let row = |item: &Value| {
        let row = &item["metadata"];
        (row["id"].as_i64().expect("a number"), row["name"].as_str().expect("a text").to_owned())
    };
    body["items"].as_array().expect("items").iter().map(row).collect()
}

pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn syncs(service: &Service, connection: &str) -> usize {
    let path = format!("/api/v1/syncs?sourceConnectionId={connection}");
    service.call("GET", &path, None).await.ok()["syncs"].as_array().expect("syncs").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_server_that_says_too_much_is_contained_and_followed_on() {
    let cluster = OwnCluster::start_with(LOGICAL);
    let database = cluster.database().await;
    let client = database.connect().await;
    let rows = "CREATE TABLE t (id int PRIMARY KEY, name text);
                INSERT INTO t SELECT n, 'name ' || n FROM generate_series(1, 50) n";
    client.batch_execute(rows).await.unwrap();
    let service = Service::start().await;
    for tampering in [Tampering::Relations, Tampering::Keys, Tampering::Change, Tampering::Again] {
        let (port, _rogue) = tampered(database.port, tampering).await;
        let login = (postgres::USER, postgres::PASSWORD);
        let connection = service.connect(port, &database.name, login, json!({})).await;
        let path = format!("/api/v1/source-connections/{connection}");
        service.call("PUT", &format!("{path}/schedule"), Some(json!({"continuous": true}))).await.ok();
        until(&format!("{tampering:?}: it is not followed"), async || {
            let body = service.call("GET", &path, None).await.ok();
            let said = body["sourceConnection"]["statusMessage"].as_str().unwrap_or_default().to_owned();
            said.contains("changes are followed")
        })
        .await;
        let (before, syncs_before) = (service.measure(), syncs(&service, &connection).await);
        for (id, round) in [(1, "first"), (2, "second")] {
            let name = format!("{tampering:?}, {round}");
            client.execute("UPDATE t SET name = $1 WHERE id = $2", &[&name, &id]).await.unwrap();
            let rows = client.query("SELECT id::bigint, name FROM t", &[]).await.unwrap();
            let source: BTreeMap<i64, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            until(&format!("{name}: the index is not the source"), async || indexed(&service).await == source).await;
        }
        service.assert_rise(before, &format!("{tampering:?}"));
        // Of what was too large nobody can tell what it was, but a sync.
        if matches!(tampering, Tampering::Change | Tampering::Keys) {
            until(&format!("{tampering:?}: no sync looks"), async || syncs(&service, &connection).await > syncs_before)
                .await;
        }
        until(&format!("{tampering:?}: it is not deleted"), async || {
            let reply = service.call("DELETE", &format!("{path}?deleteData=true"), None).await;
            assert!(reply.status == 200 || reply.status == 409, "{}", reply.text);
            reply.status == 200
        })
        .await;
    }
    service.assert_silent();
}
