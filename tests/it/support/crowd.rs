//! Many connections at once: copies of one, straight in a SQLite store, each with
//! credentials that are sealed for it.

use std::path::Path;

use rusqlite::{Connection, params};
use tributary::config::KeySource;
use tributary::ids::{CollectionId, ConnectionId};
use tributary::secrets::{Binding, CREDENTIALS, Vault};

/// Copies a connection so often, in a data directory with a key file.
pub async fn gather(data_dir: &Path, template: &str, count: usize) {
    let source = KeySource::File(data_dir.join("encryption.key"));
    let vault = Vault::load(&source, None).await.expect("the data directory has a key");
    let mut store = Connection::open(data_dir.join("tributary.db")).expect("the store opens");
    store.busy_timeout(std::time::Duration::from_secs(60)).expect("it takes a limit");
    let collection: String = store
        .query_row("SELECT collection_id FROM connections WHERE id = ?", [template], |row| row.get(0))
        .expect("the template is there");
    let collection: CollectionId = collection.parse().expect("an id");
    let columns: Vec<String> = {
        let mut statement = store.prepare("SELECT name FROM pragma_table_info('connections')").expect("it prepares");
        let rows = statement.query_map([], |row| row.get(0)).expect("it answers");
        rows.map(|row| row.expect("a name")).filter(|name| name != "id").collect()
    };
    let columns = columns.join(", ");
    let copy = format!("INSERT INTO connections (id, {columns}) SELECT ?, {columns} FROM connections WHERE id = ?");
    let transaction = store.transaction().expect("it begins");
    for _ in 0..count {
        let id = ConnectionId::mint();
        let binding =
            Binding { purpose: CREDENTIALS, collection: &collection, connection: &id, credentials_version: 1 };
        let sealed = vault.seal(&binding, br#"{"password": "sealed"}"#).await.expect("it seals");
        transaction.prepare_cached(&copy).expect("it prepares").execute([id.as_str(), template]).expect("a copy");
        transaction
            .prepare_cached("INSERT INTO sealed_credentials VALUES (?, 1, ?, ?, ?)")
            .expect("it prepares")
            .execute(params![id.as_str(), sealed.key_id, sealed.wrapped_key, sealed.ciphertext])
            .expect("its credentials");
    }
    transaction.commit().expect("it commits");
}
