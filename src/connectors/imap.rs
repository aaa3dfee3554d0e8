//! IMAP: the messages of mailboxes. A message never changes under its number, so
//! each body is fetched once; what is there and what is gone is told by the list of
//! all numbers. Nothing is marked as read: mailboxes are only examined.

mod check;
mod document;
mod failure;
mod fetch;
mod guard;
mod later;
mod login;
mod mailbox;
mod mailboxes;
mod names;
mod read;
mod session;
mod settings;
mod wire;

use async_trait::async_trait;

use super::loading::LoadError;
use super::reading::{Output, ReadRequest};
use super::{Account, AuthMethod, Connector, ConnectorError, ObjectPage, RecordError, SourceObject, Spec};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;
pub use later::Shape;
pub use settings::{Authentication, Config, Credentials, Security};

/// The connector.
pub struct Imap;

#[async_trait]
impl Connector for Imap {
    type Credentials = Credentials;
    type Config = Config;
    type Shape = Shape;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "imap",
            name: "Mail (IMAP)",
            description: "Messages and their attachments in the mailboxes of an IMAP server",
            auth_methods: &[AuthMethod::Credentials],
            labels: &["mail"],
            supports_continuous: false,
            auth_fields: settings::auth_fields(),
            config_fields: settings::config_fields(),
            mapper_version: 1,
        }
    }

    fn validate(&self, config: &Config) -> Vec<Violation> {
        settings::validate(config)
    }

    fn destination(&self, account: &Account<Self>) -> Option<(String, u16)> {
        Some((account.credentials.host.clone(), account.credentials.port))
    }

    fn binding(&self, config: &Config) -> String {
        settings::binding(config)
    }

    fn selects(&self, config: &Config, object: &str) -> bool {
        config.selects(object)
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
        let mut wire = session::open(account, &mut Report::default()).await?;
        let listed = mailboxes::list(&mut wire).await?;
        wire.close().await;
        let Some(mut level) = mailboxes::level(&listed, &account.config, parent) else {
            let reason = "is not a path that discovery gave".to_owned();
            return Err(ConnectorError::Invalid { field: "parent".to_owned(), reason });
        };
        level.retain(|object| page.after.is_none_or(|after| object.path.as_str() > after));
        level.truncate(page.limit);
        Ok(level)
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        read::read(account, request, output).await
    }

    fn content_size(&self, account: &Account<Self>, _shape: &Shape, record: &RawRecord) -> Option<u64> {
        later::content_size(account, record)
    }

    async fn load(
        &self,
        account: &Account<Self>,
        _object: &str,
        shape: &Shape,
        record: RawRecord,
    ) -> Result<RawRecord, LoadError> {
        later::load(account, shape, record).await
    }

    fn decode(
        &self,
        account: &Account<Self>,
        object: &str,
        _shape: &Shape,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        document::decode(account, object, record)
    }
}
