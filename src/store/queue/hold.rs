//! The deletion hold, as a job sets and lifts it.

use super::held::{Lease, LeaseError, held_row};
use crate::store::connections::{self, DeletionHold};
use crate::store::fault::fault;
use crate::store::{self, Store};

impl Store {
    /// Sets or lifts the hold of a job's connection, if the job is still held: who
    /// has lost it may be behind somebody who has decided otherwise.
    pub async fn set_hold(&self, held: &Lease, hold: Option<&DeletionHold>) -> Result<(), LeaseError> {
        let transaction = self.transaction().await?;
        // First the connection, then its job: the order of all who take both.
        connections::locked(&transaction, &held.sync.connection).await?;
        held_row(&transaction, held).await?;
        let now = store::now(&transaction).await?;
        connections::put_hold(&transaction, &held.sync.connection, hold, now).await?;
        transaction.commit().await.map_err(fault)?;
        Ok(())
    }
}
