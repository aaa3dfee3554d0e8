//! Testing and discovering: the session of a sync, used for a look.

use std::time::{Duration, Instant};

use super::Connections;
use crate::access::Caller;
use crate::connectors::erased::Session;
use crate::connectors::{ConnectorError, ObjectPage, SourceObject};
use crate::error::{Error, Reason, Violation};
use crate::paging::{Page, Wanted};
use crate::report::{Report, StageKind};
use crate::store::connections::{AuthState, Connection, Outcome};

/// Longest that a test or a look may take; each stage has a shorter limit.
const LIMIT: Duration = Duration::from_secs(60);
const OBJECTS: &str = "source_objects";

/// A test that went well.
#[derive(Debug, Clone, PartialEq)]
pub struct Tested {
    /// What was tried.
    pub report: Report,
    /// How long it took.
    pub took: Duration,
}

/// Objects of one level.
pub type Discovered = Page<SourceObject>;

/// A test, however it went.
pub(super) struct Examined {
    report: Report,
    took: Duration,
    failure: Option<ConnectorError>,
}

impl Connections {
    /// Tests the stored credentials with the code of a sync and notes how it went.
    pub async fn test(&self, caller: &Caller, id: &str) -> Result<Tested, Error> {
        let connection = self.find(caller, id).await?;
        let session = self.syncs.session(&connection).await?;
        let examined = examine(session.as_ref()).await;
        self.note(&connection, &examined).await?;
        examined.into_result(&connection.source)
    }

    /// One level of what the source has.
    pub async fn discover(
        &self,
        caller: &Caller,
        id: &str,
        parent: &str,
        wanted: Wanted<'_>,
    ) -> Result<Discovered, Error> {
        let connection = self.find(caller, id).await?;
        let arguments = [connection.id.as_str(), parent];
        let after: Option<String> = self.pages.open(OBJECTS, &arguments, wanted.token)?;
        let size = wanted.size(100, 1000);
        let session = self.syncs.session(&connection).await?;
        let page = ObjectPage { after: after.as_deref(), limit: size + 1 };
        let parent = Some(parent).filter(|parent| !parent.is_empty());
        let objects = within(session.discover(parent, page)).await;
        let objects = objects.map_err(|error| refusal(error, &connection.source))?;
        self.pages.cut(OBJECTS, &arguments, objects, size, |object| object.path.clone())
    }

    /// A connection that was just changed is not judged by a test of what it was.
    async fn note(&self, connection: &Connection, examined: &Examined) -> Result<(), Error> {
        let (auth, outcome) = examined.verdict(connection.auth);
        let message = examined.message(&connection.source);
        let Connection { id, config_version, credentials_version, .. } = connection;
        self.store
            .note_outcome(id, *config_version, *credentials_version, auth, outcome, message.as_deref())
            .await?;
        Ok(())
    }
}

/// Runs the test.
pub(super) async fn examine(session: &dyn Session) -> Examined {
    let started = Instant::now();
    let mut report = Report::default();
    let failure = within(session.check(&mut report)).await.err();
    Examined { report, took: started.elapsed(), failure }
}

async fn within<T>(look: impl Future<Output = Result<T, ConnectorError>>) -> Result<T, ConnectorError> {
    let late = |elapsed: tokio::time::error::Elapsed| ConnectorError::Unreachable {
        code: "timed_out",
        cause: Some(Box::new(elapsed)),
    };
    tokio::time::timeout(LIMIT, look).await.map_err(late)?
}

impl Examined {
    fn passed(&self) -> bool {
        self.failure.is_none() && self.report.passed()
    }

    /// What is known of the login afterwards, and how it went.
    fn verdict(&self, before: AuthState) -> (AuthState, Outcome) {
        if self.passed() {
            return (AuthState::Ok, Outcome::Succeeded);
        }
        let refused = matches!(self.failure, Some(ConnectorError::LoginRefused(_)))
            || self.report.first_failure().is_some_and(|stage| stage.code == Some("login_refused"));
        (if refused { AuthState::Failed } else { before }, Outcome::Failed)
    }

    fn message(&self, source: &str) -> Option<String> {
        if self.passed() {
            return None;
        }
        let (reason, message) = match &self.failure {
            Some(failure) => (None, public_message(failure)),
            None => (self.report.first_failure().and_then(|stage| stage.hint.clone()), format!("{source} failed the test")),
        };
        Some(reason.unwrap_or(message))
    }

    /// The test, or an error that carries its report.
    pub(super) fn into_result(self, source: &str) -> Result<Tested, Error> {
        let Examined { report, took, failure } = self;
        let stage = report.first_failure().map(|stage| (stage.kind, stage.code.unwrap_or("unreachable")));
        let error = match (failure, stage) {
            (None, None) => return Ok(Tested { report, took }),
            (Some(failure), stage) => {
                let error = refusal(failure, source);
                match stage {
                    Some((kind, _)) => error.with("stage", stage_name(kind)),
                    None => error,
                }
            }
            (None, Some((kind, code))) => by_code(code, source).with("stage", stage_name(kind)),
        };
        Err(error.with_report(report))
    }
}

/// What a caller is told of a connector's refusal.
pub(super) fn refusal(error: ConnectorError, source: &str) -> Error {
    let public = match &error {
        ConnectorError::LoginRefused(_) => by_code("login_refused", source),
        ConnectorError::Forbidden { object } => by_code("permission_missing", source).with("object", object.clone()),
        ConnectorError::Unreachable { code, .. } => by_code(code, source),
        ConnectorError::Throttled { retry_after } => by_code("throttled", source).retry_after(*retry_after),
        ConnectorError::Invalid { field, reason } => invalid(field, reason, source),
        ConnectorError::Stopped(_) => Error::new(Reason::Unavailable, "the server is stopping"),
        ConnectorError::Unexpected(_) => by_code("unexpected", source),
    };
    public.caused_by(error)
}

fn invalid(field: &str, description: &str, source: &str) -> Error {
    let reason = match field.strip_prefix("credentials") {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => Reason::InvalidCredentials,
        Some(_) | None => Reason::InvalidArgument,
    };
    Error::violations(reason, vec![Violation::new(field, "INVALID_VALUE", description)])
        .with("sourceShortName", source)
}

/// The reasons of a test.
fn by_code(code: &'static str, source: &str) -> Error {
    let reason = match code {
        "login_refused" => Reason::InvalidCredentials,
        "permission_missing" => Reason::SourcePermissionDenied,
        _ => Reason::SourceUnreachable,
    };
    Error::new(reason, message_of(code)).with("sourceShortName", source).with("code", code)
}

fn message_of(code: &str) -> &'static str {
    match code {
        "login_refused" => "the source refused the login",
        "permission_missing" => "the login may not read something that is selected",
        "timed_out" => "the source did not answer in time",
        "tls_failed" => "no secure connection to the source could be made",
        "address_blocked" => "the address of the source is not one that this server may connect to",
        "throttled" => "the source asks to wait",
        "unreachable" => "the source cannot be reached",
        _ => "the source failed",
    }
}

fn public_message(error: &ConnectorError) -> String {
    match error {
        ConnectorError::LoginRefused(_) => message_of("login_refused").to_owned(),
        ConnectorError::Unreachable { code, .. } => message_of(code).to_owned(),
        ConnectorError::Forbidden { .. }
        | ConnectorError::Invalid { .. }
        | ConnectorError::Throttled { .. }
        | ConnectorError::Stopped(_)
        | ConnectorError::Unexpected(_) => error.to_string(),
    }
}

fn stage_name(kind: StageKind) -> &'static str {
    match kind {
        StageKind::Resolve => "resolve",
        StageKind::Connect => "connect",
        StageKind::Tls => "tls",
        StageKind::Login => "login",
        StageKind::Permission => "permission",
        StageKind::Read => "read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: StageKind, code: &'static str, failure: Option<ConnectorError>) -> Examined {
        let mut report = Report::default();
        report.failed(kind, None, Duration::from_millis(1), code, "do this");
        Examined { report, took: Duration::from_millis(1), failure }
    }

    #[test]
    fn each_code_has_its_reason_and_the_report_goes_along() {
        let table = [
            (StageKind::Login, "login_refused", Reason::InvalidCredentials),
            (StageKind::Permission, "permission_missing", Reason::SourcePermissionDenied),
            (StageKind::Connect, "unreachable", Reason::SourceUnreachable),
            (StageKind::Connect, "timed_out", Reason::SourceUnreachable),
            (StageKind::Tls, "tls_failed", Reason::SourceUnreachable),
            (StageKind::Resolve, "address_blocked", Reason::SourceUnreachable),
        ];
        for (kind, code, reason) in table {
            let error = failed(kind, code, None).into_result("postgresql").expect_err(code);
            assert_eq!(error.reason(), reason, "{code}");
            assert!(error.metadata().contains(&("stage", stage_name(kind).to_owned())));
            assert!(error.report().is_some());
        }
    }

    #[test]
    fn only_a_refused_login_spoils_the_credentials() {
        let refused = failed(StageKind::Login, "login_refused", Some(ConnectorError::LoginRefused(None)));
        assert_eq!(refused.verdict(AuthState::Ok), (AuthState::Failed, Outcome::Failed));
        let away = failed(StageKind::Connect, "unreachable", None);
        assert_eq!(away.verdict(AuthState::Ok), (AuthState::Ok, Outcome::Failed));
        let passed = Examined { report: Report::default(), took: Duration::ZERO, failure: None };
        assert_eq!(passed.verdict(AuthState::Failed), (AuthState::Ok, Outcome::Succeeded));
    }

    #[test]
    fn a_refusal_about_credentials_is_told_as_such() {
        let of = |field: &str| {
            let error = ConnectorError::Invalid { field: field.to_owned(), reason: "is wrong".to_owned() };
            refusal(error, "sqlite").reason()
        };
        assert_eq!(of("credentials.port"), Reason::InvalidCredentials);
        assert_eq!(of("parent"), Reason::InvalidArgument);
        assert_eq!(of("config.path"), Reason::InvalidArgument);
    }
}
