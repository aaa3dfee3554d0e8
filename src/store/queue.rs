//! The life of a job: enqueued, taken under a lease, renewed, committed,
//! finished; cancelled or reaped in between. Every change is one conditional
//! update on the job's id, state and fence; if it hits no row, the lease is lost.

mod ending;
mod entering;
mod held;
mod hold;
mod notes;
mod reaping;
mod transitions;

pub use ending::{CancelError, Finish, FinishOutcome};
pub(super) use entering::insert;
pub use entering::{EnqueueError, NewSync};
pub use held::{Commit, Lease, LeaseError, Renewed};
