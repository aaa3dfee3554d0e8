//! A bucket of Amazon S3, or of a server that speaks its protocol. Objects are the
//! folders directly below the prefix; changes are found by the listing, which names
//! the version of each file, and what has a delete marker is not in it.

mod bucket;
mod check;
mod listing;
mod refusal;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;

use crate::connectors::loading::LoadError;
use crate::connectors::reading::{Output, ReadRequest};
use crate::connectors::{
    Account, AuthMethod, Connector, ConnectorError, ObjectPage, RecordError, SourceObject, Spec, remote,
};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;
pub use bucket::Bucket;
pub use settings::{Config, Credentials};

/// The connector.
pub struct S3;

#[async_trait]
impl Connector for S3 {
    type Credentials = Credentials;
    type Config = Config;
    type Shape = Bucket;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "s3",
            name: "Amazon S3",
            description: "Documents in a bucket of Amazon S3 or of a server with the same protocol",
            auth_methods: &[AuthMethod::Credentials, AuthMethod::None],
            labels: &["Documents", "Object storage"],
            supports_continuous: false,
            auth_fields: settings::auth_fields(),
            config_fields: settings::config_fields(),
            mapper_version: 1,
        }
    }

    fn validate(&self, config: &Config) -> Vec<Violation> {
        config.violations()
    }

    fn binding(&self, config: &Config) -> String {
        let root = config.root_certificate.as_deref().unwrap_or_default();
        format!("{}\n{root}", config.endpoint())
    }

    fn destination(&self, account: &Account<Self>) -> Option<(String, u16)> {
        Bucket::of(account).ok().map(|bucket| bucket.destination())
    }

    fn selects(&self, config: &Config, object: &str) -> bool {
        config.choice.selection().takes_object(object)
    }

    async fn check(&self, account: &Account<Self>, report: &mut Report) -> Result<(), ConnectorError> {
        check::check(account, report).await
    }

    async fn discover(
        &self,
        account: &Account<Self>,
        parent: Option<&str>,
        page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError> {
        remote::discover(&Bucket::of(account)?, &account.config.choice, parent, page).await
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        remote::read(Arc::new(Bucket::of(account)?), &account.config.choice, request, output).await
    }

    fn content_size(&self, account: &Account<Self>, _shape: &Bucket, record: &RawRecord) -> Option<u64> {
        remote::content_size(&account.config.choice, record)
    }

    async fn load(
        &self,
        account: &Account<Self>,
        _object: &str,
        shape: &Bucket,
        record: RawRecord,
    ) -> Result<RawRecord, LoadError> {
        remote::load(shape, &account.config.choice, record).await
    }

    fn decode(
        &self,
        account: &Account<Self>,
        _object: &str,
        _shape: &Bucket,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        remote::document(&account.config.choice, &account.resources.parsers, record)
    }
}
