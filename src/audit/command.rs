//! Commands of the operator, which change the store without a call.

use crate::error::Reason;
use crate::ids::AuditEventId;
use crate::store::audit::{Actor, NewEvent, OK, Resources};
use crate::store::{Store, StoreError};

/// Names of the system's users.
const USERS: &str = "/etc/passwd";

/// A command of the operator, written down before it changes anything.
pub struct Command {
    id: AuditEventId,
}

impl Command {
    /// Writes that it begins; where that fails, it must not.
    pub async fn begin(store: &Store, command: &str, about: Resources) -> Result<Self, StoreError> {
        let id = AuditEventId::mint();
        let (actor, method) = (Actor::Operator(user()), command.to_owned());
        let event = NewEvent { actor, peer: None, method, request_id: None, about };
        store.begin_audit(&id, &event).await?;
        Ok(Self { id })
    }

    /// Writes how it ended: [`OK`](crate::store::audit::OK), or the reason.
    pub async fn end(self, store: &Store, outcome: &str, made: &Resources) -> Result<(), StoreError> {
        store.end_audit(&self.id, outcome, made).await
    }

    /// Does what the command is for between its beginning and its end. Where both
    /// fail, what was done and the note of it, the first is told.
    pub async fn record<T, E: From<StoreError>>(
        store: &Store,
        command: &str,
        work: impl Future<Output = Result<T, E>>,
        reason: impl FnOnce(&E) -> Reason,
    ) -> Result<T, E> {
        let command = Self::begin(store, command, Resources::default()).await?;
        let done = work.await;
        let outcome = done.as_ref().map_or_else(|error| reason(error).name(), |_| OK);
        let ended = command.end(store, outcome, &Resources::default()).await;
        let done = done?;
        ended?;
        Ok(done)
    }
}

/// Whom the operating system says that the command was started by: the name, or
/// the number where it has none.
#[cfg(unix)]
fn user() -> String {
    let number = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    named(&users, number).unwrap_or_else(|| number.to_string())
}

#[cfg(not(unix))]
fn user() -> String {
    String::new()
}

/// The name of a user in the text of the system's list.
fn named(users: &str, number: u32) -> Option<String> {
    let number = number.to_string();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number_alone() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\n::\nservice:x:998:1000::/:/bin/false\nada:x:1000:998::/:";
        assert_eq!(named(users, 0).as_deref(), Some("root"));
        assert_eq!(named(users, 1000).as_deref(), Some("ada"));
        assert_eq!(named(users, 998).as_deref(), Some("service"));
        assert_eq!(named(users, 1), None);
    }

    #[test]
    fn somebody_started_these_tests() {
        assert!(!user().is_empty());
    }
}
