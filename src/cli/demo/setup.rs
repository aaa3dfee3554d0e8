//! The demo's collection and connections: made once, found by name afterwards.

use std::path::Path;

use prost_types::value::Kind as ValueKind;
use prost_types::{Struct, Value};

use super::Sample;
use super::client::Client;
use crate::cli::failure::Failure;
use crate::proto::v1;

const COLLECTION: &str = "Demo";
const DATABASE: &str = "Shop database";
const DOCUMENTS: &str = "Shop documents";

/// What the demo works with.
pub(super) struct Ready {
    pub(super) collection: String,
    /// Names and ids.
    pub(super) connections: Vec<(String, String)>,
}

pub(super) async fn prepare(client: &mut Client, sample: &Sample) -> Result<Ready, Failure> {
    let known = client.collections().await?.into_iter().find(|collection| collection.name == COLLECTION);
    let collection = match known {
        Some(collection) => collection.id,
        None => client.create_collection(COLLECTION).await?.id,
    };
    let known = client.connections(&collection).await?;
    let mut connections = Vec::new();
    for (name, source, path) in [(DATABASE, "sqlite", &sample.database), (DOCUMENTS, "files", &sample.documents)] {
        let id = match known.iter().find(|connection| connection.name == name) {
            Some(connection) => connection.id.clone(),
            None => client.create_connection(request(&collection, name, source, path)).await?.id,
        };
        connections.push((name.to_owned(), id));
    }
    Ok(Ready { collection, connections })
}

fn request(collection: &str, name: &str, source: &str, path: &Path) -> v1::CreateSourceConnectionRequest {
    let path = Value { kind: Some(ValueKind::StringValue(path.display().to_string())) };
    v1::CreateSourceConnectionRequest {
        collection_id: collection.to_owned(),
        source_short_name: source.to_owned(),
        name: name.to_owned(),
        credentials: Some(Struct::default()),
        config: Some(Struct { fields: [("path".to_owned(), path)].into() }),
        ..Default::default()
    }
}
