//! A rogue between the service and a real PostgreSQL, which lets everything pass up
//! to the rows of a table.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::MARKER;
use super::rogue::{message, serve, words};
use super::service::Service;
use crate::support::postgres::{self, Database};

/// What it does with the first row of the first table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tampering {
    /// Announces two gigabytes, and sends them.
    Announced,
    /// Announces what a row may be at most, and sends it.
    Large,
    /// Sends rows for ever.
    Endless,
    /// Closes the connection within a row.
    Cut,
    /// Sends an error with words of its own.
    Error,
    /// Sends notices for ever.
    Notices,
    /// Sends settings for ever.
    Settings,
    /// Sends bytes that are no text, then goes on.
    NoText,
    /// Sends rows with too few columns, and too many, then goes on.
    Columns,
}

/// A port that leads to a database through a rogue. What is cut or sent after a row
/// happens in every session.
pub(super) async fn tampered(database: &Database, tampering: Tampering) -> (u16, JoinSet<()>) {
    let target = database.port;
    serve(move |stream| async move {
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
        let (mut from_service, mut to_service) = stream.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async {
            drop(tokio::io::copy(&mut from_service, &mut to_server).await);
        };
        let down = async {
            let mut done = false;
            loop {
                let Ok(tag) = from_server.read_u8().await else { return };
                let Ok(length) = from_server.read_u32().await else { return };
                let mut body = vec![0; length as usize - 4];
                if from_server.read_exact(&mut body).await.is_err() {
                    return;
                }
                if tag == b'd' && !done {
                    done = true;
                    if tamper(tampering, &body, &mut to_service).await.is_none() {
                        return;
                    }
                }
                if to_service.write_all(&message(tag, &body)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! { () = up => {}, () = down => {} }
    })
    .await
}

/// None where the session is over.
async fn tamper(tampering: Tampering, row: &[u8], service: &mut (impl AsyncWriteExt + Unpin)) -> Option<()> {
    let filler = vec![b'x'; 64 * 1024];
    match tampering {
        Tampering::Announced | Tampering::Large => {
            let announced: u32 = if tampering == Tampering::Announced { 0x7fff_ffff } else { 900 << 20 };
            service.write_all(&[&b"d"[..], &announced.to_be_bytes()].concat()).await.ok()?;
            let mut left = announced as usize - 4;
            while left > 0 {
                let count = left.min(filler.len());
                service.write_all(&filler[..count]).await.ok()?;
                left -= count;
            }
        }
        Tampering::Endless => {
            for number in 1_000_000u64.. {
                let line = format!("{number}\t{}\n", "word ".repeat(400));
                service.write_all(&message(b'd', line.as_bytes())).await.ok()?;
            }
        }
        Tampering::Cut => {
            service.write_all(&message(b'd', row)[..7]).await.ok()?;
            return None;
        }
        Tampering::Error => {
            service.write_all(&words(b'E', "FATAL", "XX001")).await.ok()?;
            return None;
        }
        Tampering::Notices => loop {
            service.write_all(&words(b'N', "WARNING", "01000")).await.ok()?;
        },
        Tampering::Settings => {
            for number in 0u64.. {
                let body = format!("{MARKER}{number}\0{}\0", "x".repeat(1000));
                service.write_all(&message(b'S', body.as_bytes())).await.ok()?;
            }
        }
        Tampering::NoText => {
            for bytes in [&b"7\t\xff\xfe\xc3\x28\n"[..], b"8\ta\0b\n", b"\xff\tkey\n", b"9\t\\x\\\n", b"\0\t\0\n"] {
                service.write_all(&message(b'd', bytes)).await.ok()?;
            }
        }
        Tampering::Columns => {
            for bytes in [&b"7\n"[..], b"\n", b"", b"8\ta\tb\tc\td\n", b"\\N\t\\N\n"] {
                service.write_all(&message(b'd', bytes)).await.ok()?;
            }
        }
    }
    Some(())
}

/// A view, so that rows come without their places, and a table.
pub(super) async fn source() -> Database {
    let database = Database::create().await;
    let client = database.connect().await;
    let sql = "CREATE TABLE t (id int PRIMARY KEY, body text);
               INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 50) i;
               CREATE VIEW v AS SELECT * FROM t";
    client.batch_execute(sql).await.unwrap();
    database
}

async fn synced(service: &Service, port: u16, database: &Database, object: &str) -> (String, Value) {
    let config = json!({"tables": [object]});
    let connection = service.connect(port, &database.name, (postgres::USER, postgres::PASSWORD), config).await;
    let sync = service.run(&connection).await;
    let ended = service.until(&sync, &["succeeded", "failed", "waiting"]).await;
    (sync, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_place_of_a_row_is_contained() {
    let database = source().await;
    let service = Service::start().await;
    // Once without a rogue, so that what a sync needs anyway is there.
    let (_, ended) = synced(&service, database.port, &database, "public.v").await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    for (tampering, statuses) in [
        (Tampering::Announced, &["waiting", "failed"][..]),
        (Tampering::Large, &["succeeded"]),
        (Tampering::Cut, &["waiting", "failed"]),
        (Tampering::Error, &["waiting", "failed", "succeeded"]),
        (Tampering::Settings, &["waiting", "failed"]),
        (Tampering::NoText, &["succeeded", "failed"]),
        (Tampering::Columns, &["succeeded", "failed"]),
    ] {
        for object in ["public.v", "public.t"] {
            let (port, _rogue) = tampered(&database, tampering).await;
            let before = service.measure();
            let (sync, ended) = synced(&service, port, &database, object).await;
            let status = ended["status"].as_str().unwrap_or_default();
            assert!(statuses.contains(&status), "{tampering:?} {object}: {ended}");
            service.assert_rise(before, &format!("{tampering:?} {object}"));
            let errors = service.call("GET", &format!("/api/v1/syncs/{sync}/errors"), None).await;
            assert!(
                !errors.text.contains(MARKER) && !ended.to_string().contains(MARKER),
                "{tampering:?}: {}",
                errors.text
            );
        }
    }
    service.assert_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_ends_is_cancelled_within_seconds_and_takes_no_memory() {
    let database = source().await;
    let service = Service::start().await;
    let (_, ended) = synced(&service, database.port, &database, "public.v").await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    for tampering in [Tampering::Notices, Tampering::Endless] {
        let (port, _rogue) = tampered(&database, tampering).await;
        let config = json!({"tables": ["public.v"]});
        let before = service.measure();
        let connection = service.connect(port, &database.name, (postgres::USER, postgres::PASSWORD), config).await;
        let sync = service.run(&connection).await;
        service.until(&sync, &["running"]).await;
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        if tampering == Tampering::Endless {
            // The index has buffers of its own for what is written, whoever sends it.
            println!("{tampering:?}: memory rose by {} MiB", service.rise(before));
            assert!(service.rise(before) < 4 * super::MOST_MEMORY, "{} MiB", service.rise(before));
        } else {
            service.assert_rise(before, &format!("{tampering:?}"));
        }
        service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await.ok();
        service.until(&sync, &["cancelled"]).await;
    }
    service.assert_silent();
}
