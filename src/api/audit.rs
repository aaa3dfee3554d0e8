//! The audit log, and what a message is about in its words.

use std::sync::Arc;

use prost::{Message, Name};
use prost_reflect::{DynamicMessage, Value};
use tonic::{Request, Response, Status};

use super::convert::{milliseconds, precise_timestamp};
use super::{admit, validate};
use crate::audit::Audit;
use crate::error::Error;
use crate::ids::InvalidId;
use crate::paging;
use crate::proto::v1;
use crate::proto::v1::audit_event::ActorType;
use crate::proto::v1::audit_service_server::AuditService;
use crate::store::audit::{Actor, Event, NewEvent, Resources, Wanted};

/// The outcome of an event that has none yet.
const UNKNOWN: &str = "UNKNOWN";

/// Serves the audit log.
pub struct Service {
    audit: Arc<Audit>,
}

impl Service {
    /// A service of this log.
    pub fn new(audit: Arc<Audit>) -> Self {
        Self { audit }
    }
}

#[tonic::async_trait]
impl AuditService for Service {
    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let page = paging::Wanted { size: request.page_size, token: &request.page_token };
        let page = self.audit.list(&caller, &wanted(&request)?, page).await?;
        let events = page.items.into_iter().map(event).collect();
        Ok(Response::new(v1::ListAuditEventsResponse { events, next_page_token: page.next }))
    }
}

fn wanted(request: &v1::ListAuditEventsRequest) -> Result<Wanted, Error> {
    let v1::ListAuditEventsRequest {
        actor,
        method,
        outcome,
        collection_id,
        source_connection_id,
        sync_id,
        api_key_id,
        occurred_from,
        occurred_before,
        page_size: _,
        page_token: _,
    } = request;
    Ok(Wanted {
        actor: given(actor),
        method: given(method),
        outcome: given(outcome),
        about: Resources {
            collection: identifier("collection_id", collection_id)?,
            connection: identifier("source_connection_id", source_connection_id)?,
            sync: identifier("sync_id", sync_id)?,
            key: identifier("api_key_id", api_key_id)?,
        },
        from: occurred_from.as_ref().map(milliseconds),
        before: occurred_before.as_ref().map(milliseconds),
    })
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn identifier<Id: std::str::FromStr<Err = InvalidId>>(field: &str, text: &str) -> Result<Option<Id>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: InvalidId| Error::invalid(field, "INVALID_VALUE", error.to_string()))
}

fn event(event: Event) -> v1::AuditEvent {
    let Event { id, occurred_at, last_at, times, event, outcome } = event;
    let NewEvent { actor, peer, method, request_id, about } = event;
    let Resources { collection, connection, sync, key } = about;
    let (actor_type, actor) = match actor {
        Actor::Key(id) => (ActorType::ApiKey, id.to_string()),
        Actor::Subject(subject) => (ActorType::OidcSubject, subject),
        Actor::Operator(user) => (ActorType::Operator, user),
        Actor::Nobody => (ActorType::Anonymous, String::new()),
    };
    v1::AuditEvent {
        id: id.to_string(),
        occurred_at: Some(precise_timestamp(occurred_at)),
        actor_type: actor_type.into(),
        actor,
        method,
        outcome: outcome.unwrap_or_else(|| UNKNOWN.to_owned()),
        peer_address: peer,
        request_id,
        collection_id: collection.map(|id| id.to_string()),
        source_connection_id: connection.map(|id| id.to_string()),
        sync_id: sync.map(|id| id.to_string()),
        api_key_id: key.map(|id| id.to_string()),
        count: times,
        last_occurred_at: (times > 1).then(|| precise_timestamp(last_at)),
    }
}

/// What a request or reply is about: the identifiers in it, and in the resource
/// that it holds. Only these fields are looked at; what callers write freely is
/// not.
pub(super) fn resources<M: Message + Name>(message: &M) -> Result<Resources, Error> {
    let message = validate::dynamic(message)?;
    let mut found = Resources::default();
    collect(&message, &mut found);
    for resource in ["collection", "source_connection", "api_key", "sync"] {
        if let Some(Value::Message(resource)) = message.get_field_by_name(resource).as_deref() {
            collect(resource, &mut found);
        }
    }
    Ok(found)
}

fn collect(message: &DynamicMessage, found: &mut Resources) {
    for name in ["id", "collection_id", "source_connection_id", "sync_id"] {
        if let Some(Value::String(id)) = message.get_field_by_name(name).as_deref() {
            add(id, found);
        }
    }
    // Of several collections none is the one that it is about.
    if let Some(Value::List(ids)) = message.get_field_by_name("collection_ids").as_deref()
        && let [Value::String(id)] = ids.as_slice()
    {
        add(id, found);
    }
}

/// An identifier says by its prefix what it is of; what is none is left out.
fn add(id: &str, found: &mut Resources) {
    let Resources { collection, connection, sync, key } = found;
    if let Ok(id) = id.parse() {
        *collection = Some(id);
    } else if let Ok(id) = id.parse() {
        *connection = Some(id);
    } else if let Ok(id) = id.parse() {
        *sync = Some(id);
    } else if let Ok(id) = id.parse() {
        *key = Some(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_is_about_is_told_by_its_identifiers_only() {
        let request = v1::CreateSourceConnectionRequest {
            collection_id: "col_1".to_owned(),
            name: "sc_7".to_owned(),
            request_id: "sync_9".to_owned(),
            ..Default::default()
        };
        let found = resources(&request).expect("it is in the descriptors");
        assert_eq!(found, Resources { collection: "col_1".parse().ok(), ..Resources::default() });

        let connection =
            v1::SourceConnection { id: "sc_1".to_owned(), collection_id: "col_1".to_owned(), ..Default::default() };
        let reply = v1::CreateSourceConnectionResponse { source_connection: Some(connection), report: None };
        let found = resources(&reply).expect("it is in the descriptors");
        assert_eq!((found.connection, found.collection), ("sc_1".parse().ok(), "col_1".parse().ok()));

        let key = v1::ApiKey {
            id: "key_1".to_owned(),
            collection_ids: vec!["col_1".to_owned(), "col_2".to_owned()],
            ..Default::default()
        };
        let reply = v1::CreateApiKeyResponse { api_key: Some(key), secret: String::new() };
        let found = resources(&reply).expect("it is in the descriptors");
        assert_eq!(found, Resources { key: "key_1".parse().ok(), ..Resources::default() });
        assert_eq!(resources(&v1::GetSyncRequest { id: "nothing".to_owned() }).ok(), Some(Resources::default()));
    }
}
