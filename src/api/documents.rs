//! Documents that callers bring.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use super::convert::documents::{batch, counts, failure, one, one_to_delete, operation, replace, whole};
use super::idempotency::{self, Claim};
use super::{admit, admit_message, caller_of, validate};
use crate::connections::Connections;
use crate::error::{Error, Reason, Violation};
use crate::index::Item;
use crate::proto::v1;
use crate::proto::v1::document_service_server::DocumentService;
use crate::proto::v1::put_document_response::Result as PutResult;
use crate::store::Store;
use crate::syncs::push::{Counts, Written};

/// Serves documents.
pub struct Service {
    connections: Arc<Connections>,
    store: Store,
}

impl Service {
    /// A service of these connections, with idempotency keys in the store.
    pub fn new(connections: Arc<Connections>, store: Store) -> Self {
        Self { connections, store }
    }
}

#[tonic::async_trait]
impl DocumentService for Service {
    async fn batch_write_documents(
        &self,
        request: Request<v1::BatchWriteDocumentsRequest>,
    ) -> Result<Response<v1::BatchWriteDocumentsResponse>, Status> {
        let (caller, mut request) = admit(request).await?;
        let request_id = std::mem::take(&mut request.request_id);
        // Hashing a batch is for those who may repeat it.
        let payload = if request_id.is_empty() { [0; 32] } else { idempotency::payload(&request) };
        let v1::BatchWriteDocumentsRequest { id, documents, deletes, request_id: _ } = request;
        let operations = batch(documents, deletes)?;
        let found = self.connections.find(&caller, &id).await?;
        let (connections, store) = (self.connections.clone(), self.store.clone());
        let act = async move |claim: Option<Claim>| {
            let Written { counts: done, failures } = connections.write_documents(&found, operations).await?;
            let failures = failures.into_iter().map(failure).collect();
            let reply = v1::BatchWriteDocumentsResponse { counts: Some(counts(done)), failures };
            if let Some(claim) = claim {
                // After the effect: a crash between the two has it done once more, which
                // changes nothing.
                store.complete(&claim.completion(&reply)).await?;
            }
            Ok(reply)
        };
        let once = idempotency::once(&self.store, &caller, "BatchWriteDocuments", &request_id, payload, act);
        Ok(Response::new(once.await?))
    }

    async fn push_documents(
        &self,
        request: Request<Streaming<v1::PushDocumentsRequest>>,
    ) -> Result<Response<v1::PushDocumentsResponse>, Status> {
        let (_, extensions, mut messages) = request.into_parts();
        let caller = caller_of(&extensions)?;
        let first = messages.message().await?.unwrap_or_default();
        admit_message(&extensions, &first).await.map_err(|error| in_message(error, 1))?;
        let v1::PushDocumentsRequest { id, operation: wanted, replace: replacement, commit } = first;
        if id.is_empty() {
            return Err(in_message(Error::invalid("id", "REQUIRED", "is required in the first message"), 1).into());
        }
        let replaces = replacement.is_some();
        let mut pushing = self.connections.push(&caller, &id, replacement.map(replace)).await?;
        let (mut wanted, mut committed, mut number) = (wanted, commit, 1);
        loop {
            if let Some(wanted) = wanted.take() {
                pushing.take(operation(wanted).map_err(|error| in_message(error, number))?).await?;
            }
            let Some(message) = messages.message().await? else { break };
            number += 1;
            if committed {
                return Err(in_message(
                    Error::invalid("commit", "INVALID_VALUE", "is for the last message only"),
                    number,
                )
                .into());
            }
            validate::validate(&message)
                .and_then(|()| fits(&message, &id))
                .map_err(|error| in_message(error, number))?;
            wanted = message.operation;
            committed = message.commit;
        }
        // A caller who goes away ends a stream just as one who has said all.
        if replaces && !committed {
            let description = "is required in the last message of a stream that replaces; nothing was replaced";
            return Err(in_message(Error::invalid("commit", "REQUIRED", description), number).into());
        }
        let (Written { counts: done, failures }, rest) = pushing.end().await?;
        Ok(Response::new(v1::PushDocumentsResponse {
            counts: Some(counts(done)),
            failures: failures.into_iter().map(failure).collect(),
            items_held: whole(rest.held),
        }))
    }

    async fn put_document(
        &self,
        request: Request<v1::PutDocumentRequest>,
    ) -> Result<Response<v1::PutDocumentResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let operation = one("document", request.document.unwrap_or_default())?;
        let found = self.connections.find(&caller, &request.id).await?;
        let item_id = Item::id_of(operation.key(&found.id));
        let Written { counts, failures } = self.connections.write_documents(&found, vec![operation]).await?;
        if let Some(failed) = failures.into_iter().next() {
            let error = Error::invalid("document.file", "INVALID_VALUE", failed.error.message);
            return Err(error.with("code", failed.error.code).into());
        }
        let result = match counts {
            Counts { inserted: 1, .. } => PutResult::Inserted,
            Counts { updated: 1, .. } => PutResult::Updated,
            _ => PutResult::Unchanged,
        };
        Ok(Response::new(v1::PutDocumentResponse { result: result.into(), item_id }))
    }

    async fn delete_document(
        &self,
        request: Request<v1::DeleteDocumentRequest>,
    ) -> Result<Response<v1::DeleteDocumentResponse>, Status> {
        let (caller, request) = admit(request).await?;
        let v1::DeleteDocumentRequest { id, document_id, object } = request;
        let reference = v1::DocumentReference { id: document_id, object };
        let operation = one_to_delete("document_id", reference)?;
        let found = self.connections.find(&caller, &id).await?;
        let written = self.connections.write_documents(&found, vec![operation]).await?;
        Ok(Response::new(v1::DeleteDocumentResponse { deleted: written.counts.deleted > 0 }))
    }
}

/// A later message says no more than the first let it.
fn fits(message: &v1::PushDocumentsRequest, id: &str) -> Result<(), Error> {
    let mut violations = Vec::new();
    if !message.id.is_empty() && message.id != id {
        violations.push(Violation::new("id", "INVALID_VALUE", "must be that of the first message"));
    }
    if message.replace.is_some() {
        violations.push(Violation::new("replace", "INVALID_VALUE", "is for the first message only"));
    }
    if violations.is_empty() { Ok(()) } else { Err(Error::violations(Reason::InvalidArgument, violations)) }
}

/// Says which message of a stream it was.
fn in_message(error: Error, number: u64) -> Error {
    error.with("message", number.to_string())
}
