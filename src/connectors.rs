//! The seam to the sources. A connector is typed (its credentials and config are
//! structs) and erased once, by the blanket impl in [`erased`]; the list in
//! [`builtin`] is the catalogue.

pub mod catalogue;
pub mod documents;
pub mod erased;
pub mod files;
pub mod following;
pub mod git;
pub mod http;
pub mod imap;
pub mod link;
pub mod loading;
pub mod logins;
pub mod mongodb;
pub mod mysql;
pub mod numbers;
pub mod paths;
pub mod postgresql;
pub mod push;
pub mod reading;
mod remote;
pub mod rows;
pub mod s3;
pub mod settings;
pub mod simulator;
pub mod sqlite;
pub mod webdav;

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::documents::isolation::Parsers;
use crate::egress::Dialer;
use crate::error::Violation;
use crate::record::{Document, RawRecord};
use crate::report::Report;
use following::{FollowEnd, FollowRequest, Footing, Place, Preparation, Telling};
use loading::LoadError;
use reading::{Output, ReadRequest, Stopped};

/// How a connection can authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// The fields of `auth_fields`.
    Credentials,
    /// Nothing is needed.
    None,
}

/// Type of a field of credentials or config.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldType {
    /// JSON string.
    String,
    /// JSON number, or a plain decimal string that round-trips.
    Number,
    /// Secret JSON string.
    Password,
    /// JSON boolean.
    Boolean,
    /// JSON array of strings.
    StringList,
    /// One of these JSON strings.
    Enum(&'static [&'static str]),
    /// JSON object with these fields.
    Object(Vec<Field>),
    /// JSON array of such objects.
    ObjectList(Vec<Field>),
}

/// One field of credentials or config.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Key in the object.
    pub name: &'static str,
    /// Type of the value.
    pub kind: FieldType,
    /// True when it must be there and not empty.
    pub required: bool,
    /// Label for a form.
    pub title: &'static str,
    /// Help text for a form.
    pub description: &'static str,
    /// Value used when the key is absent.
    pub default: Option<Value>,
}

impl Field {
    /// A field that need not be there, and has no default.
    pub fn optional(name: &'static str, kind: FieldType, title: &'static str, description: &'static str) -> Self {
        Self { name, kind, required: false, title, description, default: None }
    }

    /// A field that must be there.
    pub fn required(name: &'static str, kind: FieldType, title: &'static str, description: &'static str) -> Self {
        Self { required: true, ..Self::optional(name, kind, title, description) }
    }
}

/// What a source is, for the catalogue and for checking settings.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name in paths, lower case.
    pub short_name: &'static str,
    /// Display name.
    pub name: &'static str,
    /// One sentence.
    pub description: &'static str,
    /// Ways to authenticate, preferred first.
    pub auth_methods: &'static [AuthMethod],
    /// Catalogue labels.
    pub labels: &'static [&'static str],
    /// True when changes are followed without a schedule.
    pub supports_continuous: bool,
    /// Fields of `credentials`.
    pub auth_fields: Vec<Field>,
    /// Fields of `config`.
    pub config_fields: Vec<Field>,
    /// Changes when the same raw record would become another document, so that
    /// an upgrade re-indexes.
    pub mapper_version: u64,
}

/// What connectors may use of the server.
#[derive(Clone)]
pub struct Resources {
    /// The only way to a user's host.
    pub dialer: Arc<Dialer>,
    /// Folders that file-like sources may read below; none means none.
    pub file_roots: Arc<[std::path::PathBuf]>,
    /// What takes documents apart.
    pub parsers: Arc<Parsers>,
}

/// A connector with the settings of one connection.
pub struct Account<C: Connector + ?Sized> {
    /// Parsed credentials.
    pub credentials: C::Credentials,
    /// Parsed config.
    pub config: C::Config,
    /// What it may use.
    pub resources: Resources,
}

/// Why a connector could not go on. `Display` says nothing that a source sent;
/// the cause is private.
#[derive(Debug, thiserror::Error)]
pub enum ConnectorError {
    /// The source refused the login.
    #[error("the source refused the login")]
    LoginRefused(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// A setting is wrong in a way that only the source could tell.
    #[error("`{field}` {reason}")]
    Invalid {
        /// `config.schemas`, ...
        field: String,
        /// What is wrong, for people.
        reason: String,
    },
    /// The source cannot be reached.
    #[error("the source cannot be reached")]
    Unreachable {
        /// `unreachable`, `timed_out`, `tls_failed` or `address_blocked`.
        code: &'static str,
        /// Private cause.
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The login lacks a right.
    #[error("the login may not read `{object}`")]
    Forbidden {
        /// Object.
        object: String,
    },
    /// The source asks for patience.
    #[error("the source asks to wait")]
    Throttled {
        /// How long.
        retry_after: Duration,
    },
    /// The engine stopped listening.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Anything else; worth another try later.
    #[error("the source failed unexpectedly")]
    Unexpected(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why one record could not become a document. Never holds a value.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RecordError {
    /// Machine-readable: `undecodable`, `too_large`, `encrypted`, ...
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What kind of thing an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// Table or view.
    Table,
    /// Schema, folder or other container.
    Folder,
    /// File.
    File,
}

/// Something that can be synced, in the discovery tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceObject {
    /// Path to use in config and as parent.
    pub path: String,
    /// Kind.
    pub kind: ObjectKind,
    /// True when there is a level below.
    pub has_children: bool,
    /// True when the config includes it.
    pub selected: bool,
    /// Rows or items, when cheap to know.
    pub estimated_items: Option<u64>,
}

/// One page of a level of the discovery tree, ordered by path.
#[derive(Debug, Clone, Copy)]
pub struct ObjectPage<'a> {
    /// Only paths after this one.
    pub after: Option<&'a str>,
    /// Most objects wanted.
    pub limit: usize,
}

/// Code for one source. See [`reading::Message`] for what `read` must send.
#[async_trait]
pub trait Connector: Send + Sync + 'static {
    /// Parsed `credentials`. Its `Debug`, if any, shows no secret.
    type Credentials: DeserializeOwned + Send + Sync;
    /// Parsed `config`.
    type Config: DeserializeOwned + Send + Sync;
    /// What `decode` needs beside a record; carried by a batch.
    type Shape: Any + Send + Sync;

    /// What the source is.
    fn spec(&self) -> Spec;

    /// What is wrong with settings that have the right shape; asks nobody.
    fn validate(&self, config: &Self::Config) -> Vec<Violation> {
        let _ = config;
        Vec::new()
    }

    /// Which settings the stored credentials are bound to, as one text (host,
    /// port, TLS identity; strictness of TLS): where it differs after a change of
    /// config, the credentials must be given again. Empty means nothing.
    fn binding(&self, config: &Self::Config) -> String {
        let _ = config;
        String::new()
    }

    /// Host and port that a session goes to, if it goes to one: what the address
    /// policy judges.
    fn destination(&self, account: &Account<Self>) -> Option<(String, u16)> {
        let _ = account;
        None
    }

    /// True when callers bring the documents through the API, so that there is nothing
    /// to read.
    fn takes_pushes(&self) -> bool {
        false
    }

    /// True when the config includes the object. What a narrowed config leaves
    /// out is removed as a wish, without the brake.
    fn selects(&self, config: &Self::Config, object: &str) -> bool;

    /// Tries each stage with the code that `read` uses and notes it in the
    /// report: resolve, connect, TLS, login, then for each selected object the
    /// right to read and one row. A failure ends as `Err` and in the report.
    async fn check(&self, account: &Account<Self>, report: &mut Report) -> Result<(), ConnectorError>;

    /// One level of the tree below `parent`, ordered by path.
    async fn discover(
        &self,
        account: &Account<Self>,
        parent: Option<&str>,
        page: ObjectPage<'_>,
    ) -> Result<Vec<SourceObject>, ConnectorError>;

    /// Reads everything that the config selects. Returns when all is sent; an
    /// error means that objects without `Complete` were not read to their end.
    async fn read(&self, account: &Account<Self>, request: ReadRequest, output: Output) -> Result<(), ConnectorError>;

    /// Bytes of the content that [`load`](Self::load) is to bring for a record, as
    /// far as its listing says. None when `decode` needs nothing more.
    fn content_size(&self, account: &Account<Self>, shape: &Self::Shape, record: &RawRecord) -> Option<u64> {
        let _ = (account, shape, record);
        None
    }

    /// Brings the content of a record that is new or changed and has a
    /// [`content_size`](Self::content_size), as the payload that `decode` gets. It
    /// takes no more memory than that size, and is called for a few records at
    /// once. The fingerprint is that of the listing: where what is found is not what
    /// was listed, the record fails as `changed`, and the next sync takes it.
    async fn load(
        &self,
        account: &Account<Self>,
        object: &str,
        shape: &Self::Shape,
        record: RawRecord,
    ) -> Result<RawRecord, LoadError> {
        let _ = (account, object, shape);
        Ok(record)
    }

    /// Turns one raw record into a document. Called on the blocking pool, only
    /// for what is new or changed.
    fn decode(
        &self,
        account: &Account<Self>,
        object: &str,
        shape: &Self::Shape,
        record: &RawRecord,
    ) -> Result<Document, RecordError>;

    /// Makes or finds the place at the source from which changes are told, where
    /// [`Spec::supports_continuous`]. `known` is what was noted when the index
    /// was last in step.
    async fn prepare_following(
        &self,
        account: &Account<Self>,
        place: &Place,
        known: Option<&Footing>,
    ) -> Result<Preparation, ConnectorError> {
        let _ = (account, place, known);
        Ok(Preparation::Missing("this source cannot be followed".to_owned()))
    }

    /// Tells changes until it cannot go on. Ends when dropped; what was told and
    /// not kept is told again by the next one.
    async fn follow(
        &self,
        account: &Account<Self>,
        request: FollowRequest,
        telling: Telling,
    ) -> Result<FollowEnd, ConnectorError> {
        let _ = (account, request, telling);
        Ok(FollowEnd::OutOfStep("this source cannot be followed"))
    }

    /// Bytes that the source keeps for the place; gives the place up where they
    /// are more than the config allows. None when there is no such place.
    async fn watch_place(&self, account: &Account<Self>, place: &Place) -> Result<Option<u64>, ConnectorError> {
        let _ = (account, place);
        Ok(None)
    }

    /// Removes what following has made at the source; there may be nothing.
    async fn end_following(&self, account: &Account<Self>, place: &Place) -> Result<(), ConnectorError> {
        let _ = (account, place);
        Ok(())
    }

    /// Notes in the report of a test what following needs and how it is.
    async fn check_following(
        &self,
        account: &Account<Self>,
        place: Option<&Place>,
        report: &mut Report,
    ) -> Result<(), ConnectorError> {
        let _ = (account, place, report);
        Ok(())
    }
}

/// The catalogue: connectors by short name, in its order.
#[derive(Clone)]
pub struct Registry(Arc<BTreeMap<&'static str, Arc<dyn erased::DynConnector>>>);

impl Registry {
    /// A catalogue of these connectors.
    pub fn new(connectors: Vec<Arc<dyn erased::DynConnector>>) -> Self {
        Self(Arc::new(connectors.into_iter().map(|connector| (connector.spec().short_name, connector)).collect()))
    }

    /// The same with one more.
    pub fn with(&self, connector: Arc<dyn erased::DynConnector>) -> Self {
        Self::new(self.iter().cloned().chain([connector]).collect())
    }

    /// The connector of a source.
    pub fn get(&self, short_name: &str) -> Option<&Arc<dyn erased::DynConnector>> {
        self.0.get(short_name)
    }

    /// All, ordered by short name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn erased::DynConnector>> {
        self.0.values()
    }
}

/// Every source of this build. A new connector is one file and one line here.
pub fn builtin() -> Vec<Arc<dyn erased::DynConnector>> {
    vec![
        Arc::new(files::Files),
        Arc::new(git::Git),
        Arc::new(imap::Imap),
        Arc::new(mongodb::MongoDb),
        Arc::new(mysql::MySql),
        Arc::new(postgresql::PostgreSql),
        Arc::new(push::Push),
        Arc::new(s3::S3),
        Arc::new(sqlite::Sqlite),
        Arc::new(webdav::WebDav),
    ]
}
