//! A folder of a WebDAV server: Nextcloud, Apache, and many others. Objects are the
//! folders directly in it; changes are found by asking each folder for what it has,
//! with the ETags.

mod check;
mod listing;
mod settings;
mod share;

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
pub use settings::{Config, Credentials};
pub use share::Share;

/// The connector.
pub struct WebDav;

#[async_trait]
impl Connector for WebDav {
    type Credentials = Credentials;
    type Config = Config;
    type Shape = Share;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "webdav",
            name: "WebDAV",
            description: "Documents in a folder of Nextcloud or of another server that speaks WebDAV",
            auth_methods: &[AuthMethod::Credentials, AuthMethod::None],
            labels: &["Documents", "File"],
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
        config.binding()
    }

    fn destination(&self, account: &Account<Self>) -> Option<(String, u16)> {
        Share::of(account).ok().map(|share| share.destination())
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
        remote::discover(&Share::of(account)?, &account.config.choice, parent, page).await
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        remote::read(Arc::new(Share::of(account)?), &account.config.choice, request, output).await
    }

    fn content_size(&self, account: &Account<Self>, _shape: &Share, record: &RawRecord) -> Option<u64> {
        remote::content_size(&account.config.choice, record)
    }

    async fn load(
        &self,
        account: &Account<Self>,
        _object: &str,
        shape: &Share,
        record: RawRecord,
    ) -> Result<RawRecord, LoadError> {
        remote::load(shape, &account.config.choice, record).await
    }

    fn decode(
        &self,
        account: &Account<Self>,
        _object: &str,
        _shape: &Share,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        remote::document(&account.config.choice, &account.resources.parsers, record)
    }
}
