//! How long ago a transaction may have begun that ends after a snapshot.

use tokio_postgres::{Client, SimpleQueryMessage};

/// Asked before the snapshot is taken: a transaction that ends in between would
/// else be neither in the snapshot nor among those that run. What other roles do
/// is hidden from ordinary ones, and prepared transactions do not say when they began.
const HORIZON: &str = "\
    SELECT extract(epoch FROM least(now(), min(a.xact_start)))::text, \
        coalesce(bool_and(a.state IS NOT NULL AND a.state <> 'disabled'), true) \
        AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database()) \
    FROM pg_stat_activity a \
    WHERE a.datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND a.pid <> pg_backend_pid()";

/// What ends after the snapshot began no earlier than this.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Horizon {
    /// Seconds since 1970 UTC.
    pub(super) begins: f64,
    /// False when there may be transactions that could not be looked at.
    pub(super) is_sure: bool,
}

impl Horizon {
    /// Of a session that has not taken its snapshot yet; none where the server
    /// does not say.
    pub(super) async fn of(client: &Client) -> Option<Self> {
        let answer = client.simple_query(HORIZON).await.ok()?;
        answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some(Self { begins: row.get(0)?.parse().ok()?, is_sure: row.get(1)? == "t" })
            }
            _ => None,
        })
    }
}
