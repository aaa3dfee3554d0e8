//! Messages that are listed first and fetched when it is known that the index lacks
//! them: where it has some, and nothing says which.

use tokio::sync::Mutex;

use super::failure::Failure;
use super::fetch::{self, LARGEST_HEADER, Part};
use super::mailboxes::Mailbox;
use super::wire::Wire;
use super::{Imap, document, mailbox, session};
use crate::connectors::loading::LoadError;
use crate::connectors::{Account, RecordError};
use crate::record::RawRecord;
use crate::report::Report;

/// What the records of a mailbox have in common: where to fetch what was only listed.
#[derive(Default)]
pub struct Shape {
    listed: Option<Listed>,
}

struct Listed {
    mailbox: Mailbox,
    validity: u32,
    /// A session of its own, which has the mailbox open.
    session: Mutex<Option<Wire>>,
}

impl Shape {
    /// Messages of a mailbox will be fetched later.
    pub(super) fn of(mailbox: &Mailbox, validity: u32) -> Self {
        Self { listed: Some(Listed { mailbox: mailbox.clone(), validity, session: Mutex::default() }) }
    }
}

/// How much of a message is fetched, by its size.
pub(super) fn part(account_limit: u64, size: u32) -> Part {
    match usize::try_from(account_limit) {
        Ok(most) if u64::from(size) <= account_limit => Part::Whole(most),
        _ => Part::Header,
    }
}

/// Bytes that a listed message will take.
pub(super) fn content_size(account: &Account<Imap>, record: &RawRecord) -> Option<u64> {
    let (_, size) = document::listed(record)?;
    Some(match part(account.config.size_limit(), size) {
        Part::Whole(_) => u64::from(size),
        Part::Header => LARGEST_HEADER as u64,
    })
}

/// Fetches a listed message.
pub(super) async fn load(account: &Account<Imap>, shape: &Shape, record: RawRecord) -> Result<RawRecord, LoadError> {
    let (Some((uid, size)), Some(listed)) = (document::listed(&record), &shape.listed) else { return Ok(record) };
    let mut session = listed.session.lock().await;
    // One that fails, or that nobody waits for any more, is not used again.
    let mut wire = match session.take() {
        Some(wire) => wire,
        None => open(account, listed).await?,
    };
    let part = part(account.config.size_limit(), size);
    let mut fetched = match fetch::messages(&mut wire, &[uid], part, usize::MAX).await {
        Ok(fetched) => fetched,
        Err(Failure::Refused(_)) => Default::default(),
        Err(failure) => return Err(failure.into_error().into()),
    };
    *session = Some(wire);
    let gone = || failed("gone", "the message went away while it was read; the next sync looks again");
    let message = fetched.remove(&uid).ok_or_else(gone)?;
    Ok(document::record(listed.validity, message))
}

async fn open(account: &Account<Imap>, listed: &Listed) -> Result<Wire, LoadError> {
    let mut wire = session::open(account, &mut Report::default()).await?;
    let state = match mailbox::examine(&mut wire, &listed.mailbox).await {
        Ok(state) => state,
        Err(Failure::Refused(_)) => return Err(failed("gone", "the folder went away while it was read").into()),
        Err(failure) => return Err(failure.into_error().into()),
    };
    if state.validity != listed.validity {
        return Err(failed("changed", "the folder was replaced while it was read; the next sync takes it").into());
    }
    Ok(wire)
}

fn failed(code: &'static str, message: &str) -> RecordError {
    RecordError { code, message: message.to_owned() }
}
