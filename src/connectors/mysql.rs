//! MySQL and MariaDB: rows of tables and views, read in one snapshot as texts, so that
//! the server itself writes every value of every type.

mod catalog;
mod check;
mod columns;
mod cursor;
mod failure;
mod follow;
mod greeting;
mod guard;
mod object;
mod plan;
mod read;
mod relay;
mod selection;
mod session;
mod settings;
mod sql;
mod values;

use async_trait::async_trait;

use super::following::{FollowEnd, FollowRequest, Footing, Place, Preparation, Telling};
use super::reading::{Output, ReadRequest};
use super::rows::names;
use super::{Account, AuthMethod, Connector, ConnectorError, ObjectKind, ObjectPage, RecordError, SourceObject, Spec};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;
pub use plan::Shape;
use selection::Selection;
pub use settings::{Config, Credentials, TableOptions};

/// The connector.
pub struct MySql;

#[async_trait]
impl Connector for MySql {
    type Credentials = Credentials;
    type Config = Config;
    type Shape = Shape;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "mysql",
            name: "MySQL and MariaDB",
            description: "Connect to MySQL and MariaDB databases",
            auth_methods: &[AuthMethod::Credentials],
            labels: &["database"],
            supports_continuous: true,
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
        let parts = parent.map(|parent| names::split(parent).unwrap_or_default());
        let mut level: Vec<SourceObject> = match parts.as_deref() {
            None => {
                let mut session = session::open(account, &mut Report::default()).await?;
                let databases = session::answered(limit, catalog::databases(&mut session)).await?;
                session.close().await;
                databases.iter().map(|database| folder(&selection, database)).collect()
            }
            Some([database]) => {
                let mut session = session::open(account, &mut Report::default()).await?;
                let tables = session::answered(limit, catalog::tables(&mut session, Some(database))).await?;
                session.close().await;
                tables.iter().map(|table| object(&selection, table)).collect()
            }
            // A table has nothing below it.
            Some([_, _]) => Vec::new(),
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
        object: &str,
        shape: &Shape,
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        shape.decode(object, record)
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

    async fn check_following(
        &self,
        account: &Account<Self>,
        place: Option<&Place>,
        report: &mut Report,
    ) -> Result<(), ConnectorError> {
        follow::check(account, place, report).await
    }
}

fn folder(selection: &Selection<'_>, database: &str) -> SourceObject {
    SourceObject {
        path: names::join(&[database]),
        kind: ObjectKind::Folder,
        has_children: true,
        selected: selection.tables().reaches_into(database),
        estimated_items: None,
    }
}

fn object(selection: &Selection<'_>, table: &catalog::Table) -> SourceObject {
    SourceObject {
        path: read::path_of(table),
        kind: ObjectKind::Table,
        has_children: false,
        selected: selection.tables().includes(&table.database, &table.name),
        estimated_items: table.estimate,
    }
}
