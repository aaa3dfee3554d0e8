//! Syncs as callers read them: with rights and in pages. What runs them is
//! [`syncs`](crate::syncs).

use crate::access::Caller;
use crate::error::Error;
use crate::ids::{ConnectionId, InvalidId, SyncId};
use crate::paging::{Page, Pages, Wanted};
use crate::store::syncs::{JobKind, KeptSyncError, State, Sync};
use crate::store::{Store, Visible};

const SYNCS: &str = "syncs";
const ERRORS: &str = "sync_errors";

/// Reads syncs.
pub struct History {
    store: Store,
    pages: Pages,
}

/// Which syncs a caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// Only of this connection; empty means all.
    pub connection: &'a str,
    /// Only in one of these states; none means any.
    pub states: &'a [State],
    /// Which page.
    pub page: Wanted<'a>,
}

impl History {
    /// Syncs in the store.
    pub fn new(store: Store, pages: Pages) -> Self {
        Self { store, pages }
    }

    /// One sync, if the caller's key is for its collection.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<Sync, Error> {
        let unknown = || Error::not_found("sync", id);
        let parsed: SyncId = id.parse().map_err(|_| unknown())?;
        // Clears and purges are jobs too, but nothing that a caller knows of.
        let sync = self.store.sync(&parsed).await?.filter(|job| job.kind == JobKind::Sync).ok_or_else(unknown)?;
        caller.may(&sync.collection)?;
        Ok(sync)
    }

    /// Syncs, newest first: of one connection, or all that the caller may see.
    pub async fn list(&self, caller: &Caller, listing: Listing<'_>) -> Result<Page<Sync>, Error> {
        let states = format!("{:?}", listing.states);
        let arguments = [listing.connection, states.as_str()];
        let after: Option<(i64, String)> = self.pages.open(SYNCS, &arguments, listing.page.token)?;
        let after = after.map(position).transpose()?;
        let connection = self.listed_connection(caller, listing.connection).await?;
        let size = listing.page.size(50, 1000);
        let visible = Visible::from(caller);
        let syncs = self.store.syncs(&visible, connection.as_ref(), listing.states, after, size as u64 + 1).await?;
        self.pages.cut(SYNCS, &arguments, syncs, size, |sync| (sync.created_at, sync.id.to_string()))
    }

    /// Items that a sync could not take in, in the order met.
    pub async fn errors(&self, caller: &Caller, id: &str, wanted: Wanted<'_>) -> Result<Page<KeptSyncError>, Error> {
        let sync = self.get(caller, id).await?;
        let arguments = [sync.id.as_str()];
        let after: i64 = self.pages.open(ERRORS, &arguments, wanted.token)?.unwrap_or_default();
        let size = wanted.size(50, 1000);
        let errors = self.store.sync_errors(&sync.id, after, size as u64 + 1).await?;
        self.pages.cut(ERRORS, &arguments, errors, size, |error| error.number)
    }

    async fn listed_connection(&self, caller: &Caller, text: &str) -> Result<Option<ConnectionId>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |error: InvalidId| Error::invalid("source_connection_id", "INVALID_VALUE", error.to_string());
        let id: ConnectionId = text.parse().map_err(invalid)?;
        let unknown = || Error::not_found("source_connection", text);
        let connection = self.store.connection(&id).await?.ok_or_else(unknown)?;
        caller.may(&connection.collection)?;
        Ok(Some(id))
    }
}

fn position((created_at, id): (i64, String)) -> Result<(i64, SyncId), Error> {
    Ok((created_at, id.parse().map_err(Error::internal)?))
}
