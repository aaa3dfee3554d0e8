//! Source connections: facts, from which a status is computed elsewhere.

mod editing;
mod facts;
mod listing;
mod noting;
pub(super) mod rows;

pub(super) use editing::{editable, edited, locked, saved};
pub use facts::{
    AuthState, Connection, ConnectionPatch, DeletionHold, Lifecycle, NewConnection, NewCredentials, Outcome, Schedule,
    Sealed, SealedCredentials, StrandedDelete,
};
pub use listing::Order;
pub(super) use noting::{Ended, note, put_hold};
