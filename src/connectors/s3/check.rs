//! The test of a connection: how far it comes, and what to do where it stops.

use std::time::Instant;

use super::S3;
use super::bucket::Bucket;
use super::refusal::Refusal;
use crate::connectors::remote::{self, Depth};
use crate::connectors::{Account, ConnectorError};
use crate::report::{Report, StageKind};

pub(super) async fn check(account: &Account<S3>, report: &mut Report) -> Result<(), ConnectorError> {
    let bucket = Bucket::of(account)?;
    bucket.client().reach(bucket.address(), "config.endpoint", report).await?;
    log_in(&bucket, account, report).await?;
    remote::check(&bucket, &account.config.choice, report).await
}

/// Lists the bucket: the first request that is signed.
async fn log_in(bucket: &Bucket, account: &Account<S3>, report: &mut Report) -> Result<(), ConnectorError> {
    let began = Instant::now();
    let limit = account.resources.dialer.timeouts().login;
    let answer = match tokio::time::timeout(limit, bucket.keys("", Depth::Folder, None)).await {
        Ok(answer) => answer.map_err(ConnectorError::from),
        Err(_) => Err(ConnectorError::Unreachable { code: "timed_out", cause: None }),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let code = if let ConnectorError::Unreachable { code, .. } = &error { code } else { "unreachable" };
            let hint = "the server does not answer as it should; check `config.endpoint`";
            report.failed(StageKind::Login, None, began.elapsed(), code, hint);
            return Err(error);
        }
    };
    if answer.status().is_success() {
        if bucket.is_anonymous() {
            report.skipped(StageKind::Login, "not_needed");
        } else {
            report.ok(StageKind::Login, None, began.elapsed());
        }
        return Ok(());
    }
    let refusal = Refusal::of(answer).await;
    let (kind, code, hint) = words(refusal);
    if kind == StageKind::Permission {
        // Whoever may not do it is known.
        report.ok(StageKind::Login, None, began.elapsed());
    }
    let object = (kind == StageKind::Permission).then_some(bucket.name());
    report.failed(kind, object, began.elapsed(), code, hint);
    Err(refusal.of_listing(bucket.name()))
}

fn words(refusal: Refusal) -> (StageKind, &'static str, &'static str) {
    match refusal {
        Refusal::Login => {
            (StageKind::Login, "login_refused", "check the access key id, its secret and the session token")
        }
        Refusal::Permission => (
            StageKind::Permission,
            "permission_missing",
            "allow the key s3:ListBucket on the bucket and s3:GetObject on its files",
        ),
        Refusal::NoBucket => (
            StageKind::Permission,
            "not_found",
            "the server has no such bucket; check `config.bucket` and `config.endpoint`",
        ),
        Refusal::Elsewhere => {
            (StageKind::Login, "invalid_region", "the bucket is in another region; check `config.region`")
        }
        Refusal::Clock => {
            (StageKind::Login, "clock_differs", "the clocks of this server and of the source differ too much")
        }
        Refusal::Busy(_) => (StageKind::Login, "throttled", "the server asks to wait; try again later"),
        Refusal::NoKey | Refusal::Changed | Refusal::Archived | Refusal::Other(_) => {
            (StageKind::Login, "unreachable", "the server does not answer as S3 does; check `config.endpoint`")
        }
    }
}
