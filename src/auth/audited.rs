//! What the gate tells the audit log of a call that was let in.

use std::net::IpAddr;
use std::sync::Arc;

use axum::response::Response;
use http::Extensions;
use prost::Message;
use tonic::{Code, Status};

use super::{Method, RequestId, call};
use crate::access::Caller;
use crate::audit::{Audit, Recording, Under};
use crate::error::Reason;
use crate::proto::google::rpc;
use crate::store::audit::{self, NewEvent, Resources};

/// A call that the log may hear of. Dropped before its end, it was given up by
/// its caller.
pub(super) struct Call {
    audit: Arc<Audit>,
    recording: Arc<Recording>,
    under: Under,
    changes: bool,
}

impl Call {
    /// A call that begins. What is no method of ours changes nothing.
    pub(super) fn new(
        audit: &Arc<Audit>,
        method: Option<&Method>,
        caller: &Caller,
        peer: Option<IpAddr>,
        request_id: &RequestId,
    ) -> Self {
        let event = NewEvent {
            actor: caller.into(),
            peer: peer.map(|peer| peer.to_canonical().to_string()),
            method: method.map(|method| method.name.clone()).unwrap_or_default(),
            request_id: Some(request_id.as_str().to_owned()),
            about: Resources::default(),
        };
        let recording = Recording::new(audit.clone(), event);
        let under = Under::new(recording.clone());
        Self { audit: audit.clone(), recording, under, changes: method.is_some_and(|method| method.changes) }
    }

    /// Lets the handler write the event once it knows what it is about.
    pub(super) fn announce(&self, extensions: &mut Extensions) {
        if self.changes {
            extensions.insert(self.recording.clone());
        }
    }

    /// Tells how it ended, before the caller learns it.
    pub(super) async fn end(self, response: Response) -> Response {
        let outcome = outcome(&response);
        if outcome == Reason::Forbidden.name() && !self.recording.has_begun() {
            self.audit.refused_right(self.recording.event().clone(), &outcome);
        }
        let made = response.extensions().get::<Resources>().cloned().unwrap_or_default();
        self.under.end(&outcome, &made).await;
        response
    }
}

/// The reason of the answer's error. An answer without `grpc-status` among its
/// headers went well.
fn outcome(response: &Response) -> String {
    let Some(status) = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok) else {
        return audit::OK.to_owned();
    };
    let details = rpc::Status::decode(status.details()).unwrap_or_default().details;
    let info = details.first().and_then(|any| rpc::ErrorInfo::decode(any.value.as_slice()).ok());
    info.map_or_else(|| call::name(status.code()).to_owned(), |info| info.reason)
}
