//! A rogue between the service and a real MariaDB, which lets everything pass up to
//! the rows of a table.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{connect, error, packet};
use crate::hostile::rogue::serve;
use crate::hostile::service::Service;
use crate::hostile::{MARKER, MOST_MEMORY};
use crate::support::mariadb::Database;
use crate::support::postgres::PASSWORD as RIGHT_PASSWORD;

/// What it does with the first row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tampering {
    /// Announces more than a row may be, and sends it.
    Announced,
    /// Sends rows of what a row may be at most.
    Large,
    /// Sends rows for ever.
    Endless,
    /// Closes the connection within a row.
    Cut,
    /// Sends an error with words of its own.
    Error,
    /// Sends bytes that are no text, then goes on.
    NoText,
    /// Sends rows with too few columns.
    Columns,
    /// Says at the end that more comes.
    MoreResults,
}

fn value(bytes: &[u8]) -> Vec<u8> {
    [&[0xfd][..], &u32::try_from(bytes.len()).unwrap().to_le_bytes()[..3], bytes].concat()
}

/// A row of the table: not too large, its key, its columns.
fn row(key: &str, body: &[u8]) -> Vec<u8> {
    [value(b"0"), value(key.as_bytes()), value(key.as_bytes()), value(body)].concat()
}

/// A port that leads to a database through a rogue.
async fn tampered(database: &Database, tampering: Tampering) -> (u16, JoinSet<()>) {
    let target = database.port;
    serve(move |stream| async move {
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
        let (mut from_service, mut to_service) = stream.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let is_asked = Mutex::new(false);
        let up = async {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count) = from_service.read(&mut buffer).await
                && count > 0
            {
                let said = String::from_utf8_lossy(&buffer[..count]).into_owned();
                if said.contains("SELECT (") && said.contains("`victim`") {
                    *is_asked.lock().unwrap() = true;
                }
                if to_server.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
        };
        let down = async {
            // Packets until the first row: the count, the columns, their end.
            let mut left = None;
            loop {
                let Ok(head) = from_server.read_u32_le().await else { return };
                let (length, number) = (head as usize & 0xff_ffff, (head >> 24) as u8);
                let mut body = vec![0; length];
                if from_server.read_exact(&mut body).await.is_err() {
                    return;
                }
                match left {
                    None if *is_asked.lock().unwrap() => left = Some(body[0] + 1),
                    None => {}
                    Some(0) => return drop(tamper(tampering, number, &body, &mut to_service).await),
                    Some(more) => left = Some(more - 1),
                }
                if to_service.write_all(&packet(number, &body)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! { () = up => {}, () = down => {} }
    })
    .await
}

async fn tamper(
    tampering: Tampering,
    mut number: u8,
    first: &[u8],
    service: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    let mut next = |body: &[u8]| {
        let packet = packet(number, body);
        number = number.wrapping_add(1);
        packet
    };
    let end = [0xfe, 0, 0, 2, 0];
    match tampering {
        Tampering::Announced => {
            service.write_all(&[&[0xff, 0xff, 0xff, number][..], &[b'x'; 64 * 1024]].concat()).await?;
            loop {
                service.write_all(&[b'x'; 64 * 1024]).await?;
            }
        }
        Tampering::Large => {
            let body = vec![b'x'; (8 << 20) - 100];
            for key in ["7", "8", "9"] {
                service.write_all(&next(&row(key, &body))).await?;
            }
            service.write_all(&next(&end)).await?;
        }
        Tampering::Endless => {
            for key in 1_000_000u64.. {
                service.write_all(&next(&row(&key.to_string(), "word ".repeat(400).as_bytes()))).await?;
            }
        }
        Tampering::Cut => return service.write_all(&next(first)[..6]).await,
        Tampering::Error => service.write_all(&next(&error(1105))).await?,
        Tampering::NoText => {
            for (key, body) in [("7", &b"\xff\xfe\xc3\x28"[..]), ("\0", b"a\0b"), ("\u{7f}", b""), ("x", b"\\")] {
                service.write_all(&next(&row(key, body))).await?;
            }
            service.write_all(&next(&end)).await?;
        }
        Tampering::Columns => {
            service.write_all(&next(&value(b"0"))).await?;
            service.write_all(&next(&end)).await?;
        }
        Tampering::MoreResults => service.write_all(&next(&[0xfe, 0, 0, 8, 0])).await?,
    }
    std::future::pending().await
}

async fn source() -> (Database, String) {
    let database = Database::create().await;
    database
        .run(
            "CREATE TABLE victim (id int PRIMARY KEY, body longtext);
             INSERT INTO victim SELECT seq, concat('row ', seq) FROM seq_1_to_50",
        )
        .await;
    database.grant().await;
    let object = format!("{}.victim", database.name);
    (database, object)
}

async fn synced(service: &Service, port: u16, database: &Database) -> String {
    let connection = connect(service, port, (&database.reader, RIGHT_PASSWORD), json!({})).await;
    service.run(&connection).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_place_of_a_row_is_contained() {
    let (database, _) = source().await;
    let service = Service::start().await;
    // Once without a rogue, so that what a sync needs anyway is there.
    let sync = synced(&service, database.port, &database).await;
    let ended = service.until(&sync, &["succeeded", "failed", "waiting"]).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    for (tampering, statuses) in [
        (Tampering::Announced, &["waiting", "failed"][..]),
        (Tampering::Large, &["succeeded"]),
        (Tampering::Cut, &["waiting", "failed"]),
        (Tampering::Error, &["waiting", "failed", "succeeded"]),
        (Tampering::NoText, &["succeeded", "failed"]),
        (Tampering::Columns, &["waiting", "failed", "succeeded"]),
        (Tampering::MoreResults, &["waiting", "failed"]),
    ] {
        let (port, _rogue) = tampered(&database, tampering).await;
        let before = service.measure();
        let sync = synced(&service, port, &database).await;
        let ended = service.until(&sync, &["succeeded", "failed", "waiting"]).await;
        let status = ended["status"].as_str().unwrap_or_default();
        assert!(statuses.contains(&status), "{tampering:?}: {ended}");
        if tampering == Tampering::Large {
            // A row of 8 MiB is taken whole, and three of them are indexed at once.
            let rise = service.rise(before);
            println!("{tampering:?}: memory rose by {rise} MiB");
            assert!(rise < 4 * MOST_MEMORY, "{tampering:?}: memory rose by {rise} MiB");
        } else {
            service.assert_rise(before, &format!("{tampering:?}"));
        }
        let errors = service.call("GET", &format!("/api/v1/syncs/{sync}/errors"), None).await;
        assert!(!errors.text.contains(MARKER) && !ended.to_string().contains(MARKER), "{tampering:?}: {}", errors.text);
    }
    service.assert_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_never_end_are_cancelled_within_seconds() {
    let (database, _) = source().await;
    let service = Service::start().await;
    let sync = synced(&service, database.port, &database).await;
    service.until(&sync, &["succeeded"]).await;
    let (port, _rogue) = tampered(&database, Tampering::Endless).await;
    let before = service.measure();
    let sync = synced(&service, port, &database).await;
    service.until(&sync, &["running"]).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    // The index has buffers of its own for what is written, whoever sends it.
    println!("endless rows: memory rose by {} MiB", service.rise(before));
    assert!(service.rise(before) < 4 * MOST_MEMORY, "{} MiB", service.rise(before));
    service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await.ok();
    service.until(&sync, &["cancelled"]).await;
    service.assert_silent();
}
