//! The connection test: the stages of a pass, up to the first bytes of a pack.

use std::time::Instant;

use super::remote::{Remote, Wanted};
use super::{COMMITS, FILES, Git};
use crate::connectors::{Account, ConnectorError};
use crate::report::{Report, StageKind};

/// Tries every stage of a pass.
pub(super) async fn check(account: &Account<Git>, report: &mut Report) -> Result<(), ConnectorError> {
    let remote = Remote::of(account)?;
    let abilities = remote.greet_staged(report).await?;
    let began = Instant::now();
    let tip = remote.tip(abilities, account.config.branch()).await.inspect_err(|error| {
        let (code, hint) = match error {
            ConnectorError::Invalid { .. } => {
                ("object_missing", "name a branch or tag that is there as `config.branch`")
            }
            other => failure(other),
        };
        report.failed(StageKind::Permission, None, began.elapsed(), code, hint);
    })?;
    report.ok(StageKind::Permission, None, began.elapsed());
    for object in [FILES, COMMITS] {
        if !super::selects(&account.config, object) {
            continue;
        }
        let began = Instant::now();
        if let Some(commit) = tip.commit {
            let limit = account.config.repository_limit();
            let wanted = Wanted { objects: vec![commit], depth: Some(1), filter: None, limit };
            remote.probe(&wanted).await.inspect_err(|error| {
                let (code, hint) = failure(error);
                report.failed(StageKind::Read, Some(object), began.elapsed(), code, hint);
            })?;
        }
        report.ok(StageKind::Read, Some(object), began.elapsed());
    }
    Ok(())
}

fn failure(error: &ConnectorError) -> (&'static str, &'static str) {
    match error {
        ConnectorError::LoginRefused(_) => ("login_refused", "the server refused the login; check the credentials"),
        ConnectorError::Forbidden { .. } => {
            ("permission_missing", "the login may not read the repository; grant it the right to")
        }
        ConnectorError::Throttled { .. } => ("throttled", "the server asks to wait; try again later"),
        ConnectorError::Unreachable { code, .. } => (code, "the server broke off; try again"),
        ConnectorError::Invalid { .. } | ConnectorError::Stopped(_) | ConnectorError::Unexpected(_) => {
            ("read_failed", "the server does not give what is in the repository")
        }
    }
}
