//! Tells changes: reads the rows that the log says have changed, once others see them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::server;
use super::stream::{Mark, Place};
use super::tables::Tables;
use crate::connectors::following::gathering::{self, RowKey};
use crate::connectors::following::telling::{NOT_YET_VISIBLE, ROWS_AT_ONCE, Source};
use crate::connectors::following::{FollowEnd, Telling};
use crate::connectors::mysql::object::ObjectError;
use crate::connectors::mysql::session::{Session, answered};
use crate::connectors::mysql::{MySql, sql};
use crate::connectors::{Account, ConnectorError};

/// How long a commit that is in the log may take until others see it: it may wait for
/// replicas.
const VISIBLE: Duration = Duration::from_secs(300);

type Gathered = gathering::Gathered<Mark, Place>;

/// Follows over one session and one stream.
pub(super) struct Teller<'a> {
    pub(super) account: &'a Account<MySql>,
    pub(super) session: Session,
    pub(super) tables: Arc<Tables>,
    /// Something was defined anew that may be selected.
    pub(super) is_defined: Arc<AtomicBool>,
}

impl Teller<'_> {
    fn limit(&self) -> Duration {
        self.account.resources.dialer.timeouts().first_byte
    }

    /// Takes a snapshot that sees all these transactions.
    async fn see(&mut self, transactions: &BTreeSet<Mark>) -> Result<(), ConnectorError> {
        let limit = self.limit();
        let names: Vec<&str> = transactions
            .iter()
            .filter_map(|mark| match mark {
                Mark::Named(name) => Some(name.as_str()),
                Mark::None | Mark::Logged { .. } => None,
            })
            .collect();
        let set = sql::text(&names.join(","));
        let last = transactions.last().filter(|mark| matches!(mark, Mark::Logged { .. }));
        let (mut wait, longest) = NOT_YET_VISIBLE;
        let deadline = Instant::now() + VISIBLE;
        loop {
            if names.is_empty() || answered(limit, server::has_executed(&mut self.session, &set)).await? {
                answered(limit, self.session.new_snapshot()).await?;
                match last {
                    None => return Ok(()),
                    Some(last) if answered(limit, server::snapshot(&mut self.session)).await? > *last => return Ok(()),
                    Some(_) => {}
                }
            }
            if Instant::now() > deadline {
                return Err(ConnectorError::Unreachable { code: "timed_out", cause: None });
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }
}

#[async_trait]
impl Source for Teller<'_> {
    type Transaction = Mark;
    type Place = Place;

    async fn read_and_tell(&mut self, gathered: Gathered, telling: &Telling) -> Result<bool, ConnectorError> {
        let Gathered { transactions, mut rows, emptied, mut untold, .. } = gathered;
        if rows.is_empty() && emptied.is_empty() {
            return Ok(untold);
        }
        self.see(&transactions).await?;
        let limits = self.account.resources.dialer.timeouts();
        let touched: BTreeSet<usize> = rows.keys().chain(&emptied).copied().collect();
        for table in touched {
            let followed = &self.tables.followed[table];
            let keys: Vec<RowKey> = rows.remove(&table).unwrap_or_default().into_iter().collect();
            if emptied.contains(&table) {
                telling.tell(followed.changed(true, Vec::new(), Vec::new())).await?;
            }
            for keys in keys.chunks(ROWS_AT_ONCE) {
                match followed.read_and_tell(&mut self.session, limits, keys, telling).await {
                    Ok(()) => {}
                    // Where the table is another one by now, or cannot be read, a sync
                    // says what of it is there.
                    Err(ObjectError::Object(..)) => untold = true,
                    Err(ObjectError::Session(error)) => return Err(error),
                }
            }
        }
        answered(self.limit(), self.session.leave_snapshot()).await?;
        Ok(untold)
    }

    /// Looks at the list of tables where something was defined, and shows the server
    /// that we are there.
    async fn look(&mut self, _telling: &Telling) -> Result<Option<FollowEnd>, ConnectorError> {
        if !self.is_defined.swap(false, Ordering::Relaxed) {
            answered(self.limit(), self.session.run("DO 0")).await?;
            return Ok(None);
        }
        answered(self.limit(), self.session.new_snapshot()).await?;
        let definitions = Tables::definitions(self.account, &mut self.session).await?;
        answered(self.limit(), self.session.leave_snapshot()).await?;
        let is_other = definitions != self.tables.definitions;
        Ok(is_other.then_some(FollowEnd::OutOfStep("the definition of tables has changed")))
    }
}
