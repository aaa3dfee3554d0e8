//! What a connection test says of a server that means harm.

use std::error::Error;
use std::sync::Arc;

use serde_json::Value;
use tributary::connectors::Resources;
use tributary::egress::{Dialer, Policy, Timeouts};
use tributary::report::{Report, StageKind};

use crate::connectors::passes::connector;

/// Tests a connection that must fail: the stage that did and its code, and all that is
/// said, the report and the error with its causes, as one text.
pub async fn of(
    source: &str,
    credentials: Value,
    config: Value,
    limits: Timeouts,
) -> (StageKind, &'static str, String) {
    let connector = connector(source);
    let credentials = connector.credentials(credentials.as_object().unwrap()).expect("valid credentials");
    let config = connector.config(config.as_object().unwrap()).expect("a valid config");
    let policy = Policy { local_allowed: true, ..Policy::default() };
    let resources =
        Resources { dialer: Arc::new(Dialer::new(policy, limits)), file_roots: Arc::from([]), parsers: Arc::default() };
    let session = connector.open(credentials, config, resources).expect("a session");
    let mut report = Report::default();
    let error = session.check(&mut report).await.expect_err("a rogue passes no test");
    let failed = report.first_failure().expect("a failed stage");
    let mut said = format!("{report:?} {error:?}");
    let mut cause: Option<&dyn Error> = Some(&error);
    while let Some(error) = cause {
        said.push_str(&error.to_string());
        cause = error.source();
    }
    (failed.kind, failed.code.unwrap_or_default(), said)
}
