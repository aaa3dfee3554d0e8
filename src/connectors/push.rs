//! Documents that their owners bring through the API. There is no server behind this
//! source, so nothing can be read; what was brought is in the index.

mod document;

use async_trait::async_trait;
use serde::Deserialize;

use crate::connectors::reading::{Output, ReadRequest};
use crate::connectors::{Account, AuthMethod, Connector, ConnectorError, ObjectPage, RecordError, SourceObject, Spec};
use crate::record::{Document, RawRecord};
use crate::report::{Report, StageKind};
pub use document::{PushedContent, PushedDocument, id_violations};

/// The object of a document that names none.
pub const DEFAULT_OBJECT: &str = "documents";

/// The connector.
pub struct Push;

/// There are none.
#[derive(Deserialize)]
pub struct NoCredentials {}

/// There are none.
#[derive(Deserialize)]
pub struct Config {}

fn nothing_to_read() -> ConnectorError {
    ConnectorError::Invalid {
        field: "source_short_name".to_owned(),
        reason: "is a source that documents are pushed to; there is nothing to read".to_owned(),
    }
}

#[async_trait]
impl Connector for Push {
    type Credentials = NoCredentials;
    type Config = Config;
    type Shape = ();

    fn spec(&self) -> Spec {
        Spec {
            short_name: "push",
            name: "Push",
            description: "Documents that you send yourself through the API, with your own ids",
            auth_methods: &[AuthMethod::None],
            labels: &["Documents", "API"],
            supports_continuous: false,
            auth_fields: Vec::new(),
            config_fields: Vec::new(),
            mapper_version: 1,
        }
    }

    fn takes_pushes(&self) -> bool {
        true
    }

    fn selects(&self, _config: &Config, _object: &str) -> bool {
        true
    }

    async fn check(&self, _account: &Account<Self>, report: &mut Report) -> Result<(), ConnectorError> {
        for stage in [StageKind::Resolve, StageKind::Connect, StageKind::Tls, StageKind::Login] {
            report.skipped(stage, "not_needed");
        }
        Ok(())
    }

    /// The index knows what there is; whoever asks for it asks the index.
    async fn discover(
        &self,
        _account: &Account<Self>,
        _parent: Option<&str>,
        _page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError> {
        Ok(Vec::new())
    }

    async fn read(
        &self,
        _account: &Account<Self>,
        _request: ReadRequest,
        _output: Output,
    ) -> Result<(), ConnectorError> {
        Err(nothing_to_read())
    }

    fn decode(
        &self,
        _account: &Account<Self>,
        _object: &str,
        _shape: &(),
        _record: &RawRecord,
    ) -> Result<Document, RecordError> {
        Err(RecordError { code: "undecodable", message: "nothing is read from this source".to_owned() })
    }
}
