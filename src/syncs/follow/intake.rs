//! Taking changes in: each record as a sync would write it, under its key.

use std::sync::Arc;

use tracing::warn;

use crate::connectors::erased::Session;
use crate::connectors::following::Changed;
use crate::connectors::{ConnectorError, loading};
use crate::error::Error;
use crate::index::{Epoch, Index, IndexError, Target};
use crate::record::{Change, Entry, ObjectKeys, RawRecord};

/// Deletions in one change set.
const DELETIONS_AT_ONCE: usize = 10_000;

/// Where changes go, and what decides their documents.
pub(super) struct Intake {
    pub(super) index: Arc<dyn Index>,
    pub(super) session: Arc<dyn Session>,
    pub(super) target: Target,
    pub(super) epoch: Epoch,
    pub(super) salt: u64,
    pub(super) uncommitted: bool,
}

/// Why changes were not taken in.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    /// The index did not.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The source did not give the content of a change.
    #[error(transparent)]
    Source(#[from] ConnectorError),
    /// Our fault.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl Intake {
    /// Hands changes of one object to the index.
    pub(super) async fn take_in(&mut self, changed: Changed) -> Result<(), IntakeError> {
        if changed.emptied {
            // What is not committed is in no manifest.
            self.commit().await?;
            self.empty(&changed.object).await?;
        }
        let changes = self.decode(changed).await?;
        metrics::counter!("tributary_follow_changes_total").increment(changes.len() as u64);
        self.uncommitted = true;
        Ok(self.index.apply(&self.target, self.epoch, changes).await?)
    }

    /// All that was taken in is durable and searchable when this returns; true if
    /// there was any.
    pub(super) async fn commit(&mut self) -> Result<bool, IntakeError> {
        let had_any = std::mem::take(&mut self.uncommitted);
        if had_any {
            self.index.commit(&self.target.collection).await?;
        }
        Ok(had_any)
    }

    /// The source says that everything is gone, so no brake holds it.
    async fn empty(&self, object: &str) -> Result<(), IntakeError> {
        let manifest = self.index.manifest(&self.target, object).await?;
        let keys: Vec<_> = manifest.keys().collect();
        for keys in keys.chunks(DELETIONS_AT_ONCE) {
            let changes = keys.iter().map(|key| Change::Delete { key: *key }).collect();
            self.index.apply(&self.target, self.epoch, changes).await?;
        }
        Ok(())
    }

    async fn decode(&self, changed: Changed) -> Result<Vec<Change>, IntakeError> {
        let Changed { object, emptied: _, records, gone, shape } = changed;
        let mut keys = ObjectKeys::new(&self.target.connection, &object);
        let mut changes = Vec::with_capacity(records.len() + gone.len());
        changes.extend(gone.iter().map(|key| Change::Delete { key: keys.key(key.as_bytes()) }));
        let mut failed = 0;
        for (record, document) in loading::documents(&self.session, &object, &shape, records).await? {
            // What the index has of a record that cannot be decoded stays, as in a
            // sync, whose list of errors names it.
            let Ok(document) = document else {
                failed += 1;
                continue;
            };
            let RawRecord { source_key, fingerprint, payload: _ } = record;
            let key = keys.key(source_key.as_bytes());
            let (fingerprint, object) = (fingerprint.salted(self.salt), object.clone());
            changes.push(Change::Upsert(Entry { key, fingerprint, object, source_key, document }));
        }
        if failed > 0 {
            warn!(object = %object, failed, "changed records could not be taken in");
        }
        Ok(changes)
    }
}
