//! Opening a store, and what it is made of.

use tributary::store::{Store, StoreError};

use super::bench::{Behind, Bench, collection};
use crate::support::postgres::Database;

on_both! {
    opening_again_keeps_the_data
    a_setting_is_put_once
}

async fn opening_again_keeps_the_data(bench: Bench) {
    let id = collection(&bench.store).await;
    let (first, second) = tokio::join!(Store::open(&bench.url), Store::open(&bench.url));
    for store in [first.expect("it opens again"), second.expect("and beside")] {
        assert!(store.collection(&id).await.expect("it answers").is_some());
        store.ping().await.expect("it answers");
        store.close().await;
    }
}

#[tokio::test]
async fn two_servers_may_make_the_schema_at_once() {
    let database = Database::create().await;
    let url = database.url();
    let (first, second) = tokio::join!(Store::open(&url), Store::open(&url));
    first.expect("one opens");
    second.expect("the other opens");
}

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let (sqlite, postgres) = (Bench::sqlite().await, Bench::postgres().await);
    let columns = sqlite.columns().await;
    assert!(columns.len() > 80, "{columns:?}");
    assert_eq!(columns, postgres.columns().await);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_of_a_store_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::sqlite().await;
    collection(&bench.store).await;
    let Behind::Sqlite(folder) = &bench.behind else { panic!("a file") };
    for entry in std::fs::read_dir(folder.path()).expect("it lists") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_database_that_does_not_listen_is_away() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let url = format!("postgres://user:secret@127.0.0.1:{port}/nothing");
    let error = Store::open(&url).await.err().expect("nothing listens");
    assert!(matches!(error, StoreError::Away(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"));
}

async fn a_setting_is_put_once(bench: Bench) {
    let store = &bench.store;
    assert_eq!(store.get_setting("canary").await.expect("it answers"), None);
    assert_eq!(store.put_setting_if_absent("canary", "one").await.expect("put"), "one");
    assert_eq!(store.put_setting_if_absent("canary", "two").await.expect("there"), "one");
    assert_eq!(store.get_setting("canary").await.expect("it answers").as_deref(), Some("one"));
}
