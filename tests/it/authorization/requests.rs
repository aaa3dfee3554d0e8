//! For each method a request that is valid, and harmless where the caller is let
//! through: what deletes or replaces comes with an etag that no resource has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::world::Ids;

/// What a method is to a collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It names something of a collection, or is about none.
    Names,
    /// It lists what the caller may see.
    Lists,
}

/// The requests on one collection, by the name of the method.
pub(super) fn requests(ids: &Ids) -> BTreeMap<&'static str, (Value, Kind)> {
    let named = named(ids).into_iter().map(|(name, request)| (name, (request, Kind::Names)));
    let lists = [
        ("SourceConnectionService.ListSourceConnections", json!({})),
        ("SyncService.ListSyncs", json!({})),
        ("CollectionService.ListCollections", json!({})),
        ("ApiKeyService.ListApiKeys", json!({})),
        ("AuditService.ListAuditEvents", json!({})),
    ];
    let lists = lists.map(|(name, request)| (name, (request, Kind::Lists)));
    named.chain(lists).collect()
}

fn named(ids: &Ids) -> Vec<(&'static str, Value)> {
    let Ids { collection, connection, sync, key, item } = ids;
    let (name, etag) = (json!("Name"), json!("\"none\""));
    let one = || json!({"id": connection});
    vec![
        ("SourceService.ListSources", json!({})),
        ("SourceService.GetSource", json!({"shortName": "files"})),
        (
            "SourceConnectionService.CreateSourceConnection",
            json!({"collectionId": collection, "sourceShortName": "files", "name": name, "credentials": {},
                "config": {"path": "."}}),
        ),
        ("SourceConnectionService.GetSourceConnection", one()),
        (
            "SourceConnectionService.UpdateSourceConnection",
            json!({"sourceConnection": {"id": connection, "name": name}, "updateMask": "name"}),
        ),
        ("SourceConnectionService.TestSourceConnection", one()),
        ("SourceConnectionService.RunSourceConnection", one()),
        (
            "SourceConnectionService.UpdateSourceConnectionCredentials",
            json!({"id": connection, "credentials": {}, "etag": etag}),
        ),
        (
            "SourceConnectionService.UpdateSourceConnectionConfig",
            json!({"id": connection, "config": {"path": "."}, "etag": etag}),
        ),
        ("SourceConnectionService.DeleteSourceConnection", json!({"id": connection, "etag": etag})),
        ("SourceConnectionService.ClearSourceConnectionData", one()),
        ("SourceConnectionService.DiscoverSourceConnection", one()),
        ("SourceConnectionService.PlanSync", one()),
        ("SourceConnectionService.ReleaseDeletions", one()),
        ("SourceConnectionService.DiscardDeletions", one()),
        ("SourceConnectionService.PauseSourceConnection", one()),
        ("SourceConnectionService.ResumeSourceConnection", one()),
        (
            "SourceConnectionService.UpdateSourceConnectionSchedule",
            json!({"id": connection, "schedule": {"cron": "0 3 * * *"}}),
        ),
        // Of a connection that is read from: nothing is done.
        ("DocumentService.BatchWriteDocuments", json!({"id": connection, "documents": [{"id": "a"}]})),
        ("DocumentService.PushDocuments", json!({"id": connection, "put": {"id": "a"}})),
        ("DocumentService.PutDocument", json!({"id": connection, "document": {"id": "a"}})),
        ("DocumentService.DeleteDocument", json!({"id": connection, "documentId": "a"})),
        ("SyncService.GetSync", json!({"id": sync})),
        ("SyncService.CancelSync", json!({"id": sync})),
        ("SyncService.ListSyncErrors", json!({"id": sync})),
        ("SyncService.WatchSync", json!({"id": sync})),
        ("CollectionService.CreateCollection", json!({"name": "New"})),
        ("CollectionService.GetCollection", json!({"id": collection})),
        (
            "CollectionService.UpdateCollection",
            json!({"collection": {"id": collection, "name": name}, "updateMask": "name"}),
        ),
        ("CollectionService.DeleteCollection", json!({"id": collection, "etag": etag})),
        ("CollectionService.ClearCollectionData", json!({"id": collection})),
        ("SearchService.Search", json!({"collectionId": collection, "query": "x"})),
        ("SearchService.ListItems", json!({"collectionId": collection})),
        ("SearchService.GetItem", json!({"collectionId": collection, "id": item})),
        ("ApiKeyService.CreateApiKey", json!({"name": name, "role": "ROLE_VIEWER", "collectionIds": [collection]})),
        ("ApiKeyService.GetApiKey", json!({"id": key})),
        ("ApiKeyService.RevokeApiKey", json!({"id": key})),
    ]
}
