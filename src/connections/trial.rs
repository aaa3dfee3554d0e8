//! Testing and discovering: the session of a sync, used for a look.

use std::time::{Duration, Instant};

use super::Connections;
use crate::access::Caller;
use crate::connectors::erased::Session;
use crate::connectors::following::Place;
use crate::connectors::{ConnectorError, ObjectPage, SourceObject};
use crate::error::Error;
use crate::paging::{Page, Wanted};
use crate::report::Report;
use crate::store::connections::{AuthState, Connection, Outcome};
use crate::syncs::sessions::{source_error, test_error};

/// Longest that a test or a look may take; each stage has a shorter limit.
const LIMIT: Duration = Duration::from_secs(60);
/// Name of the list in its page tokens.
pub(super) const OBJECTS: &str = "source_objects";

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
        let continuous = connection.schedule.as_ref().is_some_and(|schedule| schedule.continuous);
        let place = Place::of(connection.id.as_str());
        let following = if continuous { Following::At(Some(&place)) } else { Following::No };
        let examined = examine(session.as_ref(), following).await;
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
        if self.syncs.takes_pushes(&connection.source) {
            return self.discover_pushed(&connection, parent, wanted).await;
        }
        let arguments = [connection.id.as_str(), parent];
        let after: Option<String> = self.pages.open(OBJECTS, &arguments, wanted.token)?;
        let size = wanted.size(100, 1000);
        let session = self.syncs.session(&connection).await?;
        let page = ObjectPage { after: after.as_deref(), limit: size + 1 };
        let parent = Some(parent).filter(|parent| !parent.is_empty());
        let objects = within(session.discover(parent, page)).await;
        let objects = objects.map_err(source_error)?;
        self.pages.cut(OBJECTS, &arguments, objects, size, |object| object.path.clone())
    }

    /// A connection that was just changed is not judged by a test of what it was.
    async fn note(&self, connection: &Connection, examined: &Examined) -> Result<(), Error> {
        let (auth, outcome) = examined.verdict(connection.auth);
        let message = examined.message();
        let Connection { id, config_version, credentials_version, .. } = connection;
        self.store.note_outcome(id, *config_version, *credentials_version, auth, outcome, message.as_deref()).await?;
        Ok(())
    }
}

/// Whether changes are to be followed, and from which place, if it is known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Following<'a> {
    No,
    At(Option<&'a Place>),
}

/// Runs the test.
pub(super) async fn examine(session: &dyn Session, following: Following<'_>) -> Examined {
    let started = Instant::now();
    let mut report = Report::default();
    let mut failure = within(session.check(&mut report)).await.err();
    if let (None, Following::At(place)) = (&failure, following) {
        failure = within(session.check_following(place, &mut report)).await.err();
    }
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

    /// Words for the connection's status, where it went wrong.
    fn message(&self) -> Option<String> {
        let hint = self.report.first_failure().and_then(|stage| stage.hint.clone());
        hint.or_else(|| self.failure.as_ref().map(ToString::to_string))
    }

    /// The test, or an error that carries its report.
    pub(super) fn into_result(self, source: &str) -> Result<Tested, Error> {
        let passed = self.passed();
        let Examined { report, took, failure } = self;
        if passed {
            return Ok(Tested { report, took });
        }
        let failure = failure.unwrap_or_else(|| ConnectorError::Unexpected("a stage of the test failed".into()));
        Err(test_error(failure, report).with("sourceShortName", source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::report::StageKind;

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
}
