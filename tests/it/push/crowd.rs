//! Many at once, and how fast.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::{Bench, counts};
use crate::support::server::id_of;

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_of_one_connection_lose_nothing() {
    const WRITERS: u64 = 16;
    const BATCHES: u64 = 12;
    let bench = Arc::new(Bench::start().await);
    let begun = Instant::now();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let bench = bench.clone();
            tokio::spawn(async move {
                let mut inserted = 0;
                for batch in 0..BATCHES {
                    // Some of each writer's own, and one that all of them write.
                    let mut documents: Vec<Value> = (0..20)
                        .map(|number| json!({"id": format!("{writer}-{batch}-{number}"), "title": "Own"}))
                        .collect();
                    documents.push(json!({"id": "shared", "title": format!("{writer}-{batch}")}));
                    documents.push(json!({"id": format!("of batch {batch}"), "title": "the same of all"}));
                    let reply = bench.batch(json!({"documents": documents})).await.ok();
                    let [new, updated, unchanged, ..] = counts(&reply);
                    assert_eq!(new + updated + unchanged, 22);
                    inserted += new;
                }
                inserted
            })
        })
        .collect();
    let mut inserted = 0;
    for writer in writers {
        inserted += writer.await.expect("it writes");
    }
    let wanted = WRITERS * BATCHES * 20 + 1 + BATCHES;
    assert_eq!(inserted, wanted, "each document is new once");
    assert_eq!(bench.titles().await.len() as u64, wanted);
    let seconds = begun.elapsed().as_secs_f64();
    println!("push: {} batches of 22 by {WRITERS} writers of one connection in {seconds:.2} s", WRITERS * BATCHES);
}

fn row(number: u32) -> (String, String) {
    const WORDS: [&str; 8] = ["tent", "stove", "chain", "lamp", "rope", "boots", "map", "kettle"];
    let word = |shift: u32| WORDS[((number >> shift) % 8) as usize];
    let body: Vec<&str> = (0..40).map(|position| word(position % 9)).collect();
    (format!("Article {number} {}", word(2)), body.join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_in_one_go_beside_a_sync_of_the_same_rows() {
    const ROWS: u32 = 10_000;
    let bench = Bench::start().await;
    let document = |number: u32| {
        let (title, body) = row(number);
        json!({"id": number.to_string(), "title": title, "body": body, "metadata": {"id": number, "even": number.is_multiple_of(2)}})
    };
    let body = json!({"documents": (0..ROWS).map(document).collect::<Vec<_>>()});
    let size = body.to_string().len();
    let rate = |begun: Instant| f64::from(ROWS) / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let first = bench.batch(body.clone()).await.ok();
    let in_one = rate(begun);
    assert_eq!(counts(&first), [u64::from(ROWS), 0, 0, 0, 0, 0]);
    let begun = Instant::now();
    assert_eq!(counts(&bench.batch(body).await.ok()), [0, 0, u64::from(ROWS), 0, 0, 0]);
    let unchanged = rate(begun);
    let lines: Vec<Value> = (0..ROWS)
        .map(|number| {
            let mut document = document(number);
            document["object"] = json!("lines");
            json!({"put": document})
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(counts(&bench.lines(&lines).await.ok()), [u64::from(ROWS), 0, 0, 0, 0, 0]);
    let in_lines = rate(begun);
    assert_eq!(bench.titles().await.len() as u32, 2 * ROWS);

    let path = bench.server.files().join("rows.db");
    let database = rusqlite::Connection::open(&path).expect("a database");
    database
        .execute_batch("CREATE TABLE articles (id INTEGER PRIMARY KEY, title TEXT, body TEXT, even INTEGER); BEGIN")
        .expect("a table");
    for number in 0..ROWS {
        let (title, body) = row(number);
        let values = rusqlite::params![number, title, body, number % 2 == 0];
        database.execute("INSERT INTO articles VALUES (?, ?, ?, ?)", values).expect("a row");
    }
    database.execute_batch("COMMIT").expect("rows");
    drop(database);
    let collection = bench.server.collection("Rows").await;
    let body = json!({"collectionId": collection, "sourceShortName": "sqlite", "name": "Rows", "credentials": {},
        "config": {"path": path}});
    let connection = id_of(&bench.server.post("/api/v1/source-connections", body).await.ok()["sourceConnection"]);
    let begun = Instant::now();
    let sync = bench.server.sync(&connection).await;
    let synced = rate(begun);
    assert_eq!(sync["progress"]["itemsInserted"], ROWS.to_string(), "{sync:#}");
    println!(
        "push: {ROWS} documents, {size} bytes: {in_one:.0}/s in one batch, {in_lines:.0}/s in lines, {unchanged:.0}/s \
         unchanged; a sync of the same rows of a SQLite file {synced:.0}/s"
    );
}
