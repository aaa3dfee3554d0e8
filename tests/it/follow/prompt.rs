//! How soon a commit is searchable.

use std::time::{Duration, Instant};

use serde_json::json;

use super::fixture::{Fixture, PATIENT, PROMPT};

/// Changes that are timed.
const CHANGES: usize = 100;

/// Times one change after the other, from its commit until a search finds it.
async fn timed(fixture: &Fixture, label: &str) -> Vec<Duration> {
    let mut took = Vec::with_capacity(CHANGES);
    for number in 0..CHANGES {
        let word = format!("{label}{number}");
        fixture.execute(&format!("UPDATE t SET name = '{word}' WHERE id = {}", 1 + number % 200)).await;
        let began = Instant::now();
        loop {
            let search = format!("/api/v1/collections/{}/search", fixture.collection);
            let found = fixture.server.post(&search, json!({"query": word})).await.ok();
            if found["results"].as_array().is_some_and(|results| !results.is_empty()) {
                break;
            }
            assert!(began.elapsed() < PATIENT, "{word} is not found: {}", fixture.message().await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took
}

/// Prints the figures; answers the median, since a machine that is busy with
/// something else may be late now and then.
fn report(label: &str, took: &[Duration]) -> Duration {
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    println!("{label}: p50 {:?}, p90 {:?}, p99 {:?}, most {:?}", at(50), at(90), at(99), took[took.len() - 1]);
    at(50)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_searchable_soon_also_beside_heavy_writes_elsewhere() {
    let rows = "CREATE TABLE t (id int PRIMARY KEY, name text, n int);
        INSERT INTO t SELECT n, 'name ' || n, n FROM generate_series(1, 200) n;";
    let fixture = Fixture::followed(rows).await;
    let quiet = report("quiet", &timed(&fixture, "quiet").await);
    fixture.execute("CREATE DATABASE elsewhere").await;
    let elsewhere = crate::support::postgres::Database { port: fixture.database.port, name: "elsewhere".to_owned() };
    let writer = elsewhere.connect().await;
    writer.batch_execute("CREATE TABLE big (id int, filler text)").await.unwrap();
    let writing = tokio::spawn(async move {
        loop {
            let filler = "INSERT INTO big SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 20000) n";
            writer.batch_execute(filler).await.unwrap();
            writer.batch_execute("TRUNCATE big").await.unwrap();
        }
    });
    let busy = report("beside heavy writes", &timed(&fixture, "busy").await);
    writing.abort();
    assert!(quiet < PROMPT && busy < PROMPT, "{quiet:?} {busy:?}");
}
