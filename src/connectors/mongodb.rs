//! MongoDB: documents of collections, in the order of their `_id`.

mod catalog;
mod check;
mod failure;
mod object;
mod read;
mod scram;
mod selection;
mod session;
mod settings;
mod values;
mod wire;

use async_trait::async_trait;
use bson::raw::RawDocument;

use super::reading::{Output, ReadRequest};
use super::rows::RowMapping;
use super::rows::names::{self, Pattern};
use super::rows::selection as patterns;
use super::{Account, AuthMethod, Connector, ConnectorError, ObjectKind, ObjectPage, RecordError, SourceObject, Spec};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;
use catalog::Collection;
use failure::Failure;
use selection::Selection;
pub use settings::{Config, Credentials};

/// The connector.
pub struct MongoDb;

/// What decoding needs beside a document.
pub struct Shape {
    mapping: RowMapping,
    excluded: Vec<Pattern>,
    database: String,
    collection: String,
}

impl Shape {
    fn new(mapping: RowMapping, collection: &Collection, config: &Config) -> Self {
        let (database, collection) = (collection.database.clone(), collection.name.clone());
        Self { mapping, excluded: patterns::read(&config.exclude_fields), database, collection }
    }

    fn decode(&self, object: &str, record: &RawRecord) -> Result<Document, RecordError> {
        let undecodable = || RecordError { code: "undecodable", message: "the document cannot be decoded".to_owned() };
        let document = RawDocument::from_bytes(&record.payload).map_err(|_| undecodable())?;
        let mut fields = values::fields(document).map_err(|_| undecodable())?;
        fields.retain(|(field, _)| {
            let name = [self.database.as_str(), self.collection.as_str(), field.as_str()];
            !self.excluded.iter().any(|pattern| pattern.matches(&name))
        });
        let document = self.mapping.document(object, &fields, &record.source_key)?;
        Ok(Document { kind: "document".to_owned(), ..document })
    }
}

#[async_trait]
impl Connector for MongoDb {
    type Credentials = Credentials;
    type Config = Config;
    type Shape = Shape;

    fn spec(&self) -> Spec {
        Spec {
            short_name: "mongodb",
            name: "MongoDB",
            description: "Documents of MongoDB collections",
            auth_methods: &[AuthMethod::Credentials],
            labels: &["database"],
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
        Selection::new(config).collections().includes_path(object)
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
        let limits = account.resources.dialer.timeouts();
        let parts = parent.map(|parent| names::split(parent).unwrap_or_default());
        let mut level: Vec<SourceObject> = match parts.as_deref() {
            None => {
                let mut session = session::open(account, &mut Report::default()).await?;
                let databases = catalog::databases(&mut session, limits, &selection).await?;
                databases.iter().map(|database| folder(&selection, database)).collect()
            }
            Some([database]) => {
                let mut session = session::open(account, &mut Report::default()).await?;
                let found = catalog::collections(&mut session, limits, database).await.map_err(Failure::into_error)?;
                found.iter().map(|collection| object(&selection, collection)).collect()
            }
            // A collection has nothing below it.
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
}

fn folder(selection: &Selection<'_>, database: &str) -> SourceObject {
    SourceObject {
        path: names::join(&[database]),
        kind: ObjectKind::Folder,
        has_children: true,
        selected: selection.collections().reaches_into(database),
        estimated_items: None,
    }
}

fn object(selection: &Selection<'_>, collection: &Collection) -> SourceObject {
    SourceObject {
        path: collection.path(),
        kind: ObjectKind::Table,
        has_children: false,
        selected: selection.collections().includes(&collection.database, &collection.name),
        estimated_items: None,
    }
}
