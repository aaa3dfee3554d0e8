//! A rogue between the service and a real MariaDB that it follows, which lets everything
//! pass up to the first change of a row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::prelude::Queryable;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{connect, packet};
use crate::hostile::MARKER;
use crate::hostile::follow::{indexed, until};
use crate::hostile::rogue::serve;
use crate::hostile::service::Service;
use crate::support::mariadb::Database;
use crate::support::postgres::PASSWORD as RIGHT_PASSWORD;

/// What comes before the first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tampering {
    /// A row of 500 MiB.
    Large,
    /// An event of half a million rows.
    Rows,
    /// Descriptions of the table, under one number after the other.
    Tables,
    /// Noise in place of an event.
    Noise,
}

const HEAD: usize = 19;

/// A port that leads to a server through a rogue, who does it once.
async fn tampered(target: u16, tampering: Tampering) -> (u16, JoinSet<()>) {
    let is_due = Arc::new(AtomicBool::new(true));
    serve(move |stream| {
        let is_due = is_due.clone();
        async move {
            let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
            let (mut from_service, mut to_service) = stream.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let is_log = AtomicBool::new(false);
            let up = async {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count) = from_service.read(&mut buffer).await
                    && count > 0
                {
                    if buffer[..count].starts_with(&[11, 0, 0, 0, 0x12]) {
                        is_log.store(true, Ordering::SeqCst);
                    }
                    if to_server.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            };
            let down = async {
                let mut table = Vec::new();
                loop {
                    let Ok(head) = from_server.read_u32_le().await else { return };
                    let (length, number) = (head as usize & 0xff_ffff, (head >> 24) as u8);
                    let mut body = vec![0; length];
                    if from_server.read_exact(&mut body).await.is_err() {
                        return;
                    }
                    let kind = if is_log.load(Ordering::SeqCst) { body.get(5).copied() } else { None };
                    if kind == Some(19) {
                        table.clone_from(&body);
                    }
                    let is_first_change = matches!(kind, Some(23..=25)) && is_due.swap(false, Ordering::SeqCst);
                    if is_first_change && tamper(tampering, &table, &body, &mut to_service).await.is_err() {
                        return;
                    }
                    if to_service.write_all(&packet(number, &body)).await.is_err() {
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
    table: &[u8],
    rows: &[u8],
    service: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    match tampering {
        Tampering::Large => {
            let filler = MARKER.as_bytes().repeat((0xff_ffff - rows.len()) / MARKER.len() + 1);
            let first = [rows, &filler].concat();
            service.write_all(&packet(0, &first[..0xff_ffff])).await?;
            for number in 1..30 {
                let next = MARKER.as_bytes().repeat(0xff_ffff / MARKER.len() + 1);
                service.write_all(&packet(number, &next[..0xff_ffff])).await?;
            }
            service.write_all(&packet(30, b"end")).await
        }
        Tampering::Rows => {
            // Keys of numbers, and no other column.
            let head = [&rows[..1 + HEAD + 8], &[2, 1]].concat();
            let of_one = |number: u32| [&[0xfe][..], &number.to_le_bytes()].concat();
            let images: Vec<u8> = (0..600_000).flat_map(|row| of_one(row % 1000)).collect();
            let mut event = [&head[..], &images].concat();
            event[5] = 25;
            service.write_all(&packet(0, &event)).await?;
            Ok(())
        }
        Tampering::Tables => {
            for number in 0..200_000u32 {
                let mut event = table.to_vec();
                event[1 + HEAD + 1..1 + HEAD + 5].copy_from_slice(&number.to_le_bytes());
                service.write_all(&packet(0, &event)).await?;
            }
            Ok(())
        }
        Tampering::Noise => {
            let mut event = rows.to_vec();
            event[1 + HEAD + 8..].fill(0xfe);
            service.write_all(&packet(0, &event)).await?;
            service.write_all(&packet(1, &event[..10])).await
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_server_whose_log_says_too_much_is_contained_and_followed_on() {
    let database = Database::create().await;
    database.grant().await;
    let reader = &database.reader;
    database
        .run(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, name text);
             INSERT INTO t SELECT seq, concat('name ', seq) FROM seq_1_to_50;
             GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {reader}@'%'"
        ))
        .await;
    let service = Service::start().await;
    let mut client = database.connect().await;
    for tampering in [Tampering::Tables, Tampering::Noise, Tampering::Large, Tampering::Rows] {
        let (port, _rogue) = tampered(database.port, tampering).await;
        let connection = connect(&service, port, (reader, RIGHT_PASSWORD), json!({})).await;
        let path = format!("/api/v1/source-connections/{connection}");
        service.call("PUT", &format!("{path}/schedule"), Some(json!({"continuous": true}))).await.ok();
        until(&format!("{tampering:?}: it is not followed"), async || {
            let body = service.call("GET", &path, None).await.ok();
            body["sourceConnection"]["statusMessage"].as_str().unwrap_or_default().contains("changes are followed")
        })
        .await;
        let before = service.measure();
        for (id, round) in [(1, "first"), (2, "second")] {
            let name = format!("{tampering:?}, {round}");
            client.query_drop(format!("UPDATE t SET name = '{name}' WHERE id = {id}")).await.unwrap();
            let rows: Vec<(i64, String)> = client.query("SELECT id, name FROM t").await.unwrap();
            let source: BTreeMap<i64, String> = rows.into_iter().collect();
            until(&format!("{name}: the index is not the source"), async || indexed(&service).await == source).await;
        }
        service.assert_rise(before, &format!("{tampering:?}"));
        until(&format!("{tampering:?}: it is not deleted"), async || {
            let reply = service.call("DELETE", &format!("{path}?deleteData=true"), None).await;
            assert!(reply.status == 200 || reply.status == 409, "{}", reply.text);
            reply.status == 200
        })
        .await;
    }
    service.assert_silent();
}
