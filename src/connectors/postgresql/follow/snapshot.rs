//! Whether a snapshot sees a transaction. A commit is in the log, and so in the
//! stream, a moment before others see it; where it waits for a standby, long
//! before.

use std::time::Duration;

use crate::connectors::ConnectorError;
use crate::connectors::postgresql::failure::Failure;
use crate::connectors::postgresql::session::{Session, answered};

/// Which transactions a snapshot sees, by their 64-bit ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The first that it cannot see.
    next: u64,
    /// Those before that it does not see either.
    running: Vec<u64>,
}

impl Snapshot {
    /// The snapshot of the session.
    pub(super) async fn of(session: &Session, limit: Duration) -> Result<Self, ConnectorError> {
        let row = answered(limit, session.client.query_one("SELECT txid_current_snapshot()::text", &[])).await?;
        let text: String = row.try_get(0).map_err(|error| Failure::from(error).into_error())?;
        Self::parse(&text).ok_or_else(|| Failure::broken("the server sent a snapshot that is none").into_error())
    }

    /// Reads `oldest:next:running,running`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (_oldest, next, running) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let running =
            running.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().ok()).collect::<Option<_>>()?;
        Some(Self { next, running })
    }

    /// True when it sees what a transaction did that has committed.
    pub(super) fn sees(&self, transaction: u32) -> bool {
        // The stream has 32 bits of an id; those that it speaks of are near.
        let behind = (self.next as u32).wrapping_sub(transaction).cast_signed();
        match u64::try_from(behind) {
            Ok(behind) if behind > 0 => !self.running.contains(&self.next.wrapping_sub(behind)),
            Ok(_) | Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_had_ended_before_it() {
        let snapshot = Snapshot::parse("10:20:10,15").unwrap();
        for (transaction, seen) in [(3, true), (9, true), (10, false), (12, true), (15, false), (19, true), (20, false)]
        {
            assert_eq!(snapshot.sees(transaction), seen, "{transaction}");
        }
        assert_eq!(Snapshot::parse("5:5:"), Some(Snapshot { next: 5, running: vec![] }));
        assert_eq!(Snapshot::parse("5"), None);
    }

    #[test]
    fn ids_that_came_round_are_told_apart() {
        let epoch = 1_u64 << 32;
        let snapshot = Snapshot { next: epoch + 5, running: vec![epoch + 3, epoch - 2] };
        for (transaction, seen) in [(4, true), (3, false), (5, false), (u32::MAX, true), (u32::MAX - 1, false)] {
            assert_eq!(snapshot.sees(transaction), seen, "{transaction}");
        }
    }
}
