//! Connectors without their types: one blanket impl parses settings and opens
//! sessions, so that nothing else handles raw JSON settings.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::following::{FollowEnd, FollowRequest, Footing, Place, Preparation, Telling};
use super::loading::{Budget, LoadError};
use super::reading::{Output, ReadRequest};
use super::{Account, Connector, ConnectorError, ObjectPage, RecordError, Resources, SourceObject, Spec, settings};
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;

/// A connector, its types erased.
#[async_trait]
pub trait DynConnector: Send + Sync + 'static {
    /// What the source is.
    fn spec(&self) -> Spec;

    /// Checks and normalises credentials (`credentials.` fields in violations).
    fn credentials(&self, credentials: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Violation>>;

    /// Checks and normalises config (`config.` fields in violations).
    fn config(&self, config: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Violation>>;

    /// See [`Connector::binding`]; the config must have passed `config`.
    fn binding(&self, config: &Map<String, Value>) -> String;

    /// See [`Connector::selects`]; the config must have passed `config`.
    fn selects(&self, config: &Map<String, Value>, object: &str) -> bool;

    /// A session with checked settings.
    fn open(
        self: Arc<Self>,
        credentials: Map<String, Value>,
        config: Map<String, Value>,
        resources: Resources,
    ) -> Result<Arc<dyn Session>, ConnectorError>;
}

/// A connector with the settings of one connection, its types erased. See
/// [`Connector`] for what the methods promise.
#[async_trait]
#[allow(missing_docs)]
pub trait Session: Send + Sync + 'static {
    fn selects(&self, object: &str) -> bool;
    fn destination(&self) -> Option<(String, u16)>;
    async fn check(&self, report: &mut Report) -> Result<(), ConnectorError>;
    async fn discover(&self, parent: Option<&str>, page: ObjectPage<'_>) -> Result<Vec<SourceObject>, ConnectorError>;
    async fn read(&self, request: ReadRequest, output: Output) -> Result<(), ConnectorError>;
    fn content_size(&self, shape: &(dyn std::any::Any + Send + Sync), record: &RawRecord) -> Option<u64>;
    fn budget(&self) -> &Budget;
    async fn load(
        &self,
        object: &str,
        shape: &(dyn std::any::Any + Send + Sync),
        record: RawRecord,
    ) -> Result<RawRecord, LoadError>;
    fn decode(
        &self,
        object: &str,
        shape: &(dyn std::any::Any + Send + Sync),
        record: &RawRecord,
    ) -> Result<Document, RecordError>;
    async fn prepare_following(&self, place: &Place, known: Option<&Footing>) -> Result<Preparation, ConnectorError>;
    async fn follow(&self, request: FollowRequest, telling: Telling) -> Result<FollowEnd, ConnectorError>;
    async fn watch_place(&self, place: &Place) -> Result<Option<u64>, ConnectorError>;
    async fn end_following(&self, place: &Place) -> Result<(), ConnectorError>;
    async fn check_following(&self, place: Option<&Place>, report: &mut Report) -> Result<(), ConnectorError>;
}

struct Opened<C: Connector> {
    connector: Arc<C>,
    account: Account<C>,
}

#[async_trait]
impl<C: Connector> Session for Opened<C> {
    fn selects(&self, object: &str) -> bool {
        self.connector.selects(&self.account.config, object)
    }

    fn destination(&self) -> Option<(String, u16)> {
        self.connector.destination(&self.account)
    }

    async fn check(&self, report: &mut Report) -> Result<(), ConnectorError> {
        self.connector.check(&self.account, report).await
    }

    async fn discover(&self, parent: Option<&str>, page: ObjectPage<'_>) -> Result<Vec<SourceObject>, ConnectorError> {
        self.connector.discover(&self.account, parent, page).await
    }

    async fn read(&self, request: ReadRequest, output: Output) -> Result<(), ConnectorError> {
        self.connector.read(&self.account, request, output).await
    }

    fn content_size(&self, shape: &(dyn std::any::Any + Send + Sync), record: &RawRecord) -> Option<u64> {
        self.connector.content_size(&self.account, shape.downcast_ref()?, record)
    }

    fn budget(&self) -> &Budget {
        self.account.resources.parsers.budget()
    }

    async fn load(
        &self,
        object: &str,
        shape: &(dyn std::any::Any + Send + Sync),
        record: RawRecord,
    ) -> Result<RawRecord, LoadError> {
        self.connector.load(&self.account, object, shape_of::<C>(shape)?, record).await
    }

    fn decode(
        &self,
        object: &str,
        shape: &(dyn std::any::Any + Send + Sync),
        record: &RawRecord,
    ) -> Result<Document, RecordError> {
        let shape = shape_of::<C>(shape)?;
        self.connector.decode(&self.account, object, shape, record)
    }

    async fn prepare_following(&self, place: &Place, known: Option<&Footing>) -> Result<Preparation, ConnectorError> {
        self.connector.prepare_following(&self.account, place, known).await
    }

    async fn follow(&self, request: FollowRequest, telling: Telling) -> Result<FollowEnd, ConnectorError> {
        self.connector.follow(&self.account, request, telling).await
    }

    async fn watch_place(&self, place: &Place) -> Result<Option<u64>, ConnectorError> {
        self.connector.watch_place(&self.account, place).await
    }

    async fn end_following(&self, place: &Place) -> Result<(), ConnectorError> {
        self.connector.end_following(&self.account, place).await
    }

    async fn check_following(&self, place: Option<&Place>, report: &mut Report) -> Result<(), ConnectorError> {
        self.connector.check_following(&self.account, place, report).await
    }
}

fn shape_of<C: Connector>(shape: &(dyn std::any::Any + Send + Sync)) -> Result<&C::Shape, RecordError> {
    shape
        .downcast_ref()
        .ok_or_else(|| RecordError { code: "internal", message: "the batch is of another connector".to_owned() })
}

#[async_trait]
impl<C: Connector> DynConnector for C {
    fn spec(&self) -> Spec {
        Connector::spec(self)
    }

    fn credentials(&self, credentials: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Violation>> {
        let checked = settings::check(&Connector::spec(self).auth_fields, credentials, "credentials")?;
        parse::<C::Credentials>(&checked, "credentials")?;
        Ok(checked)
    }

    fn config(&self, config: &Map<String, Value>) -> Result<Map<String, Value>, Vec<Violation>> {
        let checked = settings::check(&Connector::spec(self).config_fields, config, "config")?;
        let parsed = parse::<C::Config>(&checked, "config")?;
        let violations = self.validate(&parsed);
        if violations.is_empty() { Ok(checked) } else { Err(violations) }
    }

    fn binding(&self, config: &Map<String, Value>) -> String {
        parse::<C::Config>(config, "config").map(|config| Connector::binding(self, &config)).unwrap_or_default()
    }

    fn selects(&self, config: &Map<String, Value>, object: &str) -> bool {
        parse::<C::Config>(config, "config").is_ok_and(|config| Connector::selects(self, &config, object))
    }

    fn open(
        self: Arc<Self>,
        credentials: Map<String, Value>,
        config: Map<String, Value>,
        resources: Resources,
    ) -> Result<Arc<dyn Session>, ConnectorError> {
        let invalid = |violations: Vec<Violation>| {
            let first = violations.into_iter().next();
            ConnectorError::Invalid {
                field: first.as_ref().map(|violation| violation.field.clone()).unwrap_or_default(),
                reason: first.map(|violation| violation.description).unwrap_or_default(),
            }
        };
        let credentials = parse::<C::Credentials>(&credentials, "credentials").map_err(invalid)?;
        let config = parse::<C::Config>(&config, "config").map_err(invalid)?;
        Ok(Arc::new(Opened { connector: self, account: Account { credentials, config, resources } }))
    }
}

/// Settings that passed the check of their fields fit the struct; if a connector
/// declares them otherwise, that is said without the value.
fn parse<T: serde::de::DeserializeOwned>(object: &Map<String, Value>, prefix: &str) -> Result<T, Vec<Violation>> {
    serde_json::from_value(Value::Object(object.clone()))
        .map_err(|_| vec![Violation::new(prefix, "WRONG_TYPE", "does not have the fields of this source")])
}
