//! One mailbox as it is when it is opened, and what is left of it for the next sync.

use async_imap::imap_proto::{MailboxDatum, Response, ResponseCode, Status};
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Refusal};
use super::mailboxes::Mailbox;
use super::names;
use super::wire::Wire;

/// A mailbox as it is when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Numbers mean the same messages as long as this is the same.
    pub(super) validity: u32,
    /// The number that the next message will have, where the server says it.
    pub(super) next: Option<u32>,
    /// How many messages there are.
    pub(super) exists: u32,
}

/// What a sync leaves of a mailbox. Numbers only grow and are never given twice, and
/// no message changes under its number: where the next number and the count are as
/// they were, so is everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) validity: u32,
    pub(super) next: u32,
    pub(super) count: u64,
}

impl Mark {
    /// True when the mailbox is as it was.
    pub(super) fn is_unmoved(&self, state: &State) -> bool {
        self.validity == state.validity && Some(self.next) == state.next && self.count == u64::from(state.exists)
    }

    /// True when nothing is gone, with so many messages that are new. Of use only
    /// where nothing went away while they were counted.
    pub(super) fn has_lost_nothing(&self, state: &State, new: usize) -> bool {
        u64::from(state.exists) == self.count + new as u64
    }
}

/// Opens a mailbox to read it, which marks nothing as seen.
pub(super) async fn examine(wire: &mut Wire, mailbox: &Mailbox) -> Result<State, Failure> {
    let Some(name) = names::quoted(&mailbox.name) else { return Err(Failure::Refused(Refusal::Other)) };
    wire.has_expunged = false;
    let (mut validity, mut next, mut exists) = (None, None, 0);
    let note = |said: &Response<'_>| {
        match said {
            Response::Data { status: Status::Ok, outcome } => match &outcome.code {
                Some(ResponseCode::UidValidity(number)) => validity = Some(*number),
                Some(ResponseCode::UidNext(number)) => next = Some(*number),
                _ => {}
            },
            Response::MailboxData(MailboxDatum::Exists(number)) => exists = *number,
            _ => {}
        }
        Ok(())
    };
    wire.run(&format!("EXAMINE {name}"), note).await?;
    // Without it, numbers tell messages apart for this session only.
    let validity = validity.ok_or(Failure::Refused(Refusal::Numberless))?;
    Ok(State { validity, next, exists })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_unmoved_only_if_all_three_numbers_are_the_same() {
        let mark = Mark { validity: 1, next: 10, count: 5 };
        let state = State { validity: 1, next: Some(10), exists: 5 };
        assert!(mark.is_unmoved(&state));
        for other in [
            State { validity: 2, ..state },
            State { next: Some(11), ..state },
            State { next: None, ..state },
            State { exists: 4, ..state },
        ] {
            assert!(!mark.is_unmoved(&other), "{other:?}");
        }
        let grown = State { next: Some(13), exists: 8, ..state };
        assert!(mark.has_lost_nothing(&grown, 3) && !mark.has_lost_nothing(&grown, 4));
    }
}
