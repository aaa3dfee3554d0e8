//! The test of a connection.

use http::StatusCode;

use super::WebDav;
use super::share::{Share, no_folder};
use crate::connectors::http::check as check_stages;
use crate::connectors::{Account, ConnectorError, remote};
use crate::report::{Report, StageKind};

pub(super) async fn check(account: &Account<WebDav>, report: &mut Report) -> Result<(), ConnectorError> {
    let share = Share::of(account)?;
    let limit = account.resources.dialer.timeouts().login;
    let question = share.question(share.address())?;
    let answer = check_stages(share.client(), question, "config.url", limit, report).await?;
    let status = answer.status();
    answer.discard().await;
    if status != StatusCode::MULTI_STATUS {
        let (code, hint) = match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                ("not_found", "the server has no such folder; check `config.url`")
            }
            _ => ("not_webdav", "there is no folder of a WebDAV server at `config.url`"),
        };
        report.failed(StageKind::Permission, None, std::time::Duration::ZERO, code, hint);
        return Err(no_folder(status));
    }
    remote::check(&share, &account.config.choice, report).await
}
