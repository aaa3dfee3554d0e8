//! PostgreSQL: rows of tables and views, read in one snapshot by `COPY` in text
//! format, so that the server itself writes every value of every type.

mod catalog;
mod check;
mod cursor;
mod document;
mod failure;
mod follow;
mod guard;
mod heap;
mod horizon;
mod kinds;
mod line;
mod object;
mod read;
mod selection;
mod session;
mod settings;
mod shape;
mod templates;
mod values;

use async_trait::async_trait;

use super::following::{FollowEnd, FollowRequest, Footing, Place, Preparation, Telling};
use super::reading::{Output, ReadRequest};
use super::rows::names;
use super::{Account, AuthMethod, Connector, ConnectorError, ObjectKind, ObjectPage, RecordError, SourceObject, Spec};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;
use selection::Selection;
pub use settings::{Config, Credentials, TableOptions};
pub use shape::Shape;

/// The connector.
pub struct PostgreSql;

#[async_trait]
impl Connector for PostgreSql {
    type Credentials = Credentials;
    type Config = Config;
    type Shape = Shape;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "postgresql",
            name: "PostgreSQL",
            description: "Connect to PostgreSQL databases",
            auth_methods: &[AuthMethod::Credentials],
            labels: &["database"],
            supports_continuous: true,
            auth_fields: settings::auth_fields(),
            config_fields: settings::config_fields(),
            mapper_version: 2,
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
        Selection::new(config).tables().includes_path(object)
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
        let selection = Selection::new(&account.config);
        let limit = account.resources.dialer.timeouts().first_byte;
        let mut level = match parent.map(names::split) {
            None => {
                let session = session::open(account, &mut Report::default()).await?;
                let schemas = catalog::schemas(&session, limit).await?;
                session.close().await;
                schemas.iter().map(|schema| folder(&selection, schema)).collect::<Vec<_>>()
            }
            Some(Some(parts)) if parts.len() == 1 => {
                let session = session::open(account, &mut Report::default()).await?;
                let tables = catalog::tables(&session, limit).await?;
                session.close().await;
                tables.iter().filter(|table| table.schema == parts[0]).map(|table| object(&selection, table)).collect()
            }
            // A table has nothing below it.
            Some(Some(parts)) if parts.len() == 2 => Vec::new(),
            Some(_) => {
                let reason = "is not a path that discovery gave".to_owned();
                return Err(ConnectorError::Invalid { field: "parent".to_owned(), reason });
            }
        };
        level.sort_by(|one, other| one.path.cmp(&other.path));
        level.retain(|object| page.after.is_none_or(|after| object.path.as_str() > after));
        level.truncate(page.limit);
        Ok(level)
    }

    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        read::read(account, request, output).await
    }

    fn decode(
        &self,
        _account: &Account<Self>,
        _object: &str,
        shape: &Shape,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        document::decode(shape, record)
    }

    async fn prepare_following(
        &self,
        account: &Account<Self>,
        place: &Place,
        known: Option<&Footing>,
    ) -> Result<Preparation, ConnectorError> {
        follow::prepare(account, place, known).await
    }

    async fn follow(
        &self,
        account: &Account<Self>,
        request: FollowRequest,
        telling: Telling,
    ) -> Result<FollowEnd, ConnectorError> {
        follow::follow(account, request, telling).await
    }

    async fn watch_place(&self, account: &Account<Self>, place: &Place) -> Result<Option<u64>, ConnectorError> {
        follow::watch(account, place).await
    }

    async fn end_following(&self, account: &Account<Self>, place: &Place) -> Result<(), ConnectorError> {
        follow::end(account, place).await
    }

    async fn check_following(
        &self,
        account: &Account<Self>,
        place: Option<&Place>,
        report: &mut Report,
    ) -> Result<(), ConnectorError> {
        follow::check(account, place, report).await
    }
}

fn folder(selection: &Selection<'_>, schema: &str) -> SourceObject {
    SourceObject {
        path: names::join(&[schema]),
        kind: ObjectKind::Folder,
        has_children: true,
        selected: selection.tables().reaches_into(schema),
        estimated_items: None,
    }
}

fn object(selection: &Selection<'_>, table: &catalog::Table) -> SourceObject {
    SourceObject {
        path: read::path_of(table),
        kind: ObjectKind::Table,
        has_children: false,
        selected: selection.tables().includes(&table.schema, &table.name),
        estimated_items: table.estimate,
    }
}

#[cfg(test)]
mod tests;
