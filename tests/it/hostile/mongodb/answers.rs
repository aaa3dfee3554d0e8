//! A rogue between the service and a real server, which lets everything pass up to the
//! documents of a collection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bson::{Document, doc};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{MESSAGE, connect, error, message, nested, written};
use crate::hostile::MARKER;
use crate::hostile::rogue::serve;
use crate::hostile::service::Service;
use crate::support::mongodb::Database;
use crate::support::postgres::PASSWORD;

/// What it answers when documents are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tampering {
    /// Nothing else than the server.
    None,
    /// Announces more than an answer may be.
    Announced,
    /// Closes the connection within an answer.
    Cut,
    /// Has a cursor that gives nothing, for ever.
    Empty,
    /// Has a cursor whose documents have no end.
    Endless,
    /// A document that is deeper than all that can be.
    Deep,
    /// A document of millions of values.
    Wide,
    /// Values in the place of documents.
    Scalars,
    /// Documents without `_id`.
    Nameless,
    /// A document that says it is longer than it is.
    Lying,
    /// An error with words of its own.
    Error,
    /// No cursor at all.
    NoCursor,
}

const ALL: [Tampering; 12] = [
    Tampering::None,
    Tampering::Announced,
    Tampering::Cut,
    Tampering::Empty,
    Tampering::Endless,
    Tampering::Deep,
    Tampering::Wide,
    Tampering::Scalars,
    Tampering::Nameless,
    Tampering::Lying,
    Tampering::Error,
    Tampering::NoCursor,
];

/// `{"cursor": {"id", "ns", NAME: [INNER]}, "ok": 1}` around bytes that are a document.
fn around(inner: &[u8]) -> Vec<u8> {
    let framed = |parts: &[u8]| {
        let length = u32::try_from(parts.len() + 5).unwrap().to_le_bytes();
        [&length[..], parts, &[0]].concat()
    };
    let batch = framed(&[b"\x030\0", inner].concat());
    let cursor = framed(&[&b"\x12id\0\0\0\0\0\0\0\0\0\x04firstBatch\0"[..], &batch].concat());
    framed(&[&b"\x03cursor\0"[..], &cursor, b"\x01ok\0\0\0\0\0\0\0\xf0\x3f"].concat())
}

/// A document of an `_id` and one more field.
fn with_field(kind: u8, value: &[u8]) -> Vec<u8> {
    let parts = [&b"\x10_id\0\x63\0\0\0"[..], &[kind], b"a\0", value].concat();
    let length = u32::try_from(parts.len() + 5).unwrap().to_le_bytes();
    [&length[..], &parts, &[0]].concat()
}

fn batch(id: i64, name: &str, documents: Vec<Document>) -> Document {
    doc! {"cursor": {"id": id, "ns": MARKER, name: documents}, "ok": 1.0}
}

/// What is answered to a request, and whether the connection ends with it.
fn answer(tampering: Tampering, request: u32, is_first: bool, count: usize) -> (Vec<u8>, bool) {
    let name = if is_first { "firstBatch" } else { "nextBatch" };
    let many = |count: usize| (0..200).map(|n| doc! {"_id": (count * 200 + n) as i64, "name": MARKER}).collect();
    match tampering {
        Tampering::None => unreachable!("it passes"),
        Tampering::Announced => {
            let head = [18 << 20, 1, request, MESSAGE].map(u32::to_le_bytes).concat();
            ([&head[..], &[0; 4096]].concat(), false)
        }
        Tampering::Cut => {
            let mut bytes = written(request, &batch(7, name, many(count)));
            bytes.truncate(bytes.len() / 2);
            (bytes, true)
        }
        Tampering::Empty => (written(request, &batch(7, name, Vec::new())), false),
        Tampering::Endless => (written(request, &batch(7, name, many(count))), false),
        Tampering::Deep => (message(request, 0, &around(&with_field(3, &nested(500_000)))), false),
        Tampering::Wide => {
            let values = b"\x0a\0".repeat(3_000_000);
            let list = [&u32::try_from(values.len() + 5).unwrap().to_le_bytes()[..], &values, &[0]].concat();
            (message(request, 0, &around(&with_field(4, &list))), false)
        }
        Tampering::Scalars => (written(request, &doc! {"cursor": {"id": 0_i64, name: [1, 2]}, "ok": 1.0}), false),
        Tampering::Nameless => (written(request, &batch(0, name, vec![doc! {"name": MARKER}])), false),
        Tampering::Lying => {
            let mut lying = with_field(3, &nested(2));
            lying[0] = 0xff;
            (message(request, 0, &around(&lying)), false)
        }
        Tampering::Error => (written(request, &error(2)), false),
        Tampering::NoCursor => (written(request, &doc! {"ok": 1.0, "cursor": MARKER}), false),
    }
}

/// A port that leads to a database through a rogue, which tampers as the number says.
async fn tampered(database: &Database, which: Arc<AtomicUsize>) -> (u16, JoinSet<()>) {
    let target = database.port;
    serve(move |stream| {
        let which = which.clone();
        async move {
            // It ends when either end does.
            let _ = between(stream, target, &which).await;
        }
    })
    .await
}

async fn between(mut service: TcpStream, target: u16, which: &AtomicUsize) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
    for count in 0.. {
        let asked = one(&mut service).await?;
        let has = |word: &[u8]| asked.windows(word.len()).any(|window| window == word);
        let (is_first, is_more) = (has(b"\x02find\0"), has(b"\x12getMore\0"));
        let tampering = ALL[which.load(Ordering::Relaxed)];
        if tampering == Tampering::None || !(is_first || is_more) {
            server.write_all(&asked).await?;
            service.write_all(&one(&mut server).await?).await?;
            continue;
        }
        let request = u32::from_le_bytes(asked[4..8].try_into().unwrap());
        let (bytes, ends) = answer(tampering, request, is_first, count);
        service.write_all(&bytes).await?;
        if ends {
            break;
        }
    }
    Ok(())
}

/// One message.
async fn one(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u32_le().await?;
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.resize(length as usize, 0);
    stream.read_exact(&mut bytes[4..]).await?;
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_costs_a_document_or_memory_or_leaves_a_word() {
    let service = Service::start().await;
    let database = Database::create().await;
    database.insert("victim", json!([{"_id": 1, "name": "one"}, {"_id": 2, "name": "two"}]));
    let which = Arc::new(AtomicUsize::new(0));
    let (port, _rogue) = tampered(&database, which.clone()).await;
    let config = json!({"databases": [database.name]});
    let connection = connect(&service, port, (&database.reader, PASSWORD), config).await;
    let sync = service.run(&connection).await;
    service.until(&sync, &["succeeded"]).await;
    let before = service.measure();
    for (number, tampering) in ALL.iter().enumerate().skip(1) {
        which.store(number, Ordering::Relaxed);
        let sync = service.run(&connection).await;
        let ended = if *tampering == Tampering::Endless {
            // As many documents as one likes are no fault; somebody has to end it.
            let path = format!("/api/v1/syncs/{sync}");
            loop {
                let body = service.call("GET", &path, None).await.ok();
                let read = body["sync"]["progress"]["itemsRead"].as_str().and_then(|read| read.parse::<u64>().ok());
                if read.is_some_and(|read| read > 5000) {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            json!({"status": "waiting"})
        } else {
            service.until(&sync, &["succeeded", "failed", "waiting"]).await
        };
        if ended["status"] == "waiting" {
            service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await.ok();
            service.until(&sync, &["cancelled"]).await;
        }
        assert!(!ended.to_string().contains("hunter2"), "{tampering:?}: {ended}");
        let deleted = ended["progress"]["itemsDeleted"].as_str().unwrap_or("0");
        // What is whole and says nothing of the others proves them gone; two are below the brake.
        let is_whole = matches!(tampering, Tampering::Deep | Tampering::Wide);
        assert!(deleted == "0" || is_whole, "{tampering:?}: {ended}");
        assert!(
            ended["status"] != "succeeded" || is_whole || !ended["warnings"].as_array().is_none_or(Vec::is_empty),
            "{tampering:?}: {ended}"
        );
    }
    service.assert_rise(before, "all answers");
    service.assert_silent();
}
