//! The connection test: the stages of a pass, then one message of each mailbox, with
//! the code that a pass reads with.

use std::time::Instant;

use super::failure::{Failure, Refusal};
use super::fetch::{self, Part};
use super::mailboxes::{self, Mailbox};
use super::wire::Wire;
use super::{Imap, mailbox, session};
use crate::connectors::{Account, ConnectorError};
use crate::report::{Report, StageKind};

/// Most mailboxes that a test reads.
const TESTED: usize = 100;

/// Tries every stage of a pass, with the header of one message of each mailbox.
pub(super) async fn check(account: &Account<Imap>, report: &mut Report) -> Result<(), ConnectorError> {
    let mut wire = session::open(account, report).await?;
    let began = Instant::now();
    let outcome = check_mailboxes(account, &mut wire, report).await;
    if let Err(error) = &outcome
        && report.passed()
    {
        let code = match error {
            ConnectorError::Unreachable { code, .. } => *code,
            ConnectorError::Throttled { .. } => "throttled",
            _ => "unreachable",
        };
        let hint = "the list of folders could not be read; try again";
        report.failed(StageKind::Permission, None, began.elapsed(), code, hint);
    }
    wire.close().await;
    outcome
}

async fn check_mailboxes(account: &Account<Imap>, wire: &mut Wire, report: &mut Report) -> Result<(), ConnectorError> {
    let began = Instant::now();
    let config = &account.config;
    let all = mailboxes::list(wire).await?;
    let mut outcome = Ok(());
    for (position, folder) in config.folders.iter().enumerate() {
        let is_there = |mailbox: &Mailbox| mailbox.is_selectable && mailbox.path == *folder;
        if !folder.contains('*') && !all.iter().any(is_there) {
            let hint = "there is no such folder; names are written as discovery shows them";
            report.failed(StageKind::Permission, Some(folder), began.elapsed(), "object_missing", hint);
            let reason = "names a folder that is not there".to_owned();
            outcome =
                outcome.and(Err(ConnectorError::Invalid { field: format!("config.folders[{position}]"), reason }));
        }
    }
    let selected: Vec<&Mailbox> = all.iter().filter(|mailbox| mailbox.is_selected(config)).collect();
    if selected.is_empty() && outcome.is_ok() {
        let hint = "no folder is selected; a sync would bring nothing";
        report.ok_with(StageKind::Read, began.elapsed(), "nothing_selected", hint);
    }
    if selected.len() > TESTED {
        let hint = "the first 100 folders are tested; a sync reads them all";
        report.ok_with(StageKind::Permission, began.elapsed(), "some_not_tested", hint);
    }
    for mailbox in selected.into_iter().take(TESTED) {
        let began = Instant::now();
        let tried = try_one(wire, mailbox, report).await;
        let Err(failure) = tried else { continue };
        let is_gone = !matches!(failure, Failure::Refused(_));
        outcome = outcome.and(Err(told(failure, mailbox, report, began)));
        if is_gone {
            break;
        }
    }
    outcome
}

async fn try_one(wire: &mut Wire, mailbox: &Mailbox, report: &mut Report) -> Result<(), Failure> {
    let began = Instant::now();
    let state = mailbox::examine(wire, mailbox).await?;
    report.ok(StageKind::Permission, Some(&mailbox.path), began.elapsed());
    let began = Instant::now();
    for message in fetch::last(wire, state.exists, 1).await? {
        fetch::messages(wire, &[message.uid], Part::Header, fetch::LARGEST_HEADER).await?;
    }
    report.ok(StageKind::Read, Some(&mailbox.path), began.elapsed());
    Ok(())
}

/// Notes a failure in the report, at the stage that it came to.
fn told(failure: Failure, mailbox: &Mailbox, report: &mut Report, began: Instant) -> ConnectorError {
    let path = mailbox.path.as_str();
    let is_opened =
        report.stages.iter().any(|stage| stage.kind == StageKind::Permission && stage.object.as_deref() == Some(path));
    let kind = if is_opened { StageKind::Read } else { StageKind::Permission };
    let (code, hint) = match &failure {
        Failure::Refused(refusal) => refusal.of_mailbox(),
        Failure::Busy => ("throttled", "the server has no time just now; try again later"),
        Failure::TimedOut => ("timed_out", "the server sent nothing for too long; try again when it is less busy"),
        Failure::Protocol(_) | Failure::Breach(_) | Failure::Gone(_) | Failure::Stopped(_) => {
            ("unreachable", "the connection broke while a folder was read; try again")
        }
    };
    report.failed(kind, Some(path), began.elapsed(), code, hint);
    match failure {
        Failure::Refused(Refusal::Forbidden) => ConnectorError::Forbidden { object: path.to_owned() },
        other => other.into_error(),
    }
}
