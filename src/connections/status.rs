//! Where a connection stands: one pure function of the stored facts.

use crate::store::connections::{AuthState, Connection, Lifecycle, Outcome};
use crate::store::syncs::JobKind;

/// Where a connection stands. Lists only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not tested or synced since it was made or changed.
    Pending,
    /// The last test or sync went well.
    Connected,
    /// A sync is on its way.
    Syncing,
    /// Its schedule is suspended.
    Paused,
    /// The source refused the login.
    NeedsAttention,
    /// The last test or sync failed otherwise.
    Error,
    /// It is being removed.
    Deleting,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 7] = [
        Status::Pending,
        Status::Connected,
        Status::Syncing,
        Status::Paused,
        Status::NeedsAttention,
        Status::Error,
        Status::Deleting,
    ];

    /// The word in filters, as REST has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Connected => "connected",
            Status::Syncing => "syncing",
            Status::Paused => "paused",
            Status::NeedsAttention => "needs_attention",
            Status::Error => "error",
            Status::Deleting => "deleting",
        }
    }
}

/// What decides the status. Outcomes under earlier credentials or config do not
/// count: the store forgets them when either is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Whether it is on its way out.
    pub lifecycle: Lifecycle,
    /// What its active job does, if there is one.
    pub job: Option<JobKind>,
    /// What is known of the credentials.
    pub auth: AuthState,
    /// How the last test or sync ended.
    pub outcome: Outcome,
    /// The schedule is suspended.
    pub paused: bool,
}

impl Facts {
    /// The facts of a connection and its active job.
    pub fn of(connection: &Connection, job: Option<JobKind>) -> Self {
        let Connection { lifecycle, auth, outcome, paused, .. } = connection;
        Self { lifecycle: *lifecycle, job, auth: *auth, outcome: *outcome, paused: *paused }
    }

    /// deleting > syncing > needs_attention > error > paused > connected > pending.
    pub fn status(self) -> Status {
        if self.lifecycle == Lifecycle::Deleting {
            Status::Deleting
        } else if self.job == Some(JobKind::Sync) {
            Status::Syncing
        } else if self.auth == AuthState::Failed {
            Status::NeedsAttention
        } else if self.outcome == Outcome::Failed {
            Status::Error
        } else if self.paused {
            Status::Paused
        } else if self.outcome == Outcome::Succeeded {
            Status::Connected
        } else {
            Status::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Facts = Facts {
        lifecycle: Lifecycle::Active,
        job: None,
        auth: AuthState::Untested,
        outcome: Outcome::None,
        paused: false,
    };

    #[test]
    fn each_fact_outranks_those_below_it() {
        let connected = Facts { auth: AuthState::Ok, outcome: Outcome::Succeeded, ..FRESH };
        let paused = Facts { paused: true, ..connected };
        let error = Facts { outcome: Outcome::Failed, ..paused };
        let refused = Facts { auth: AuthState::Failed, ..error };
        let syncing = Facts { job: Some(JobKind::Sync), ..refused };
        let deleting = Facts { lifecycle: Lifecycle::Deleting, ..syncing };
        let table = [
            (FRESH, Status::Pending),
            (connected, Status::Connected),
            (paused, Status::Paused),
            (Facts { paused: true, ..FRESH }, Status::Paused),
            (error, Status::Error),
            (refused, Status::NeedsAttention),
            (syncing, Status::Syncing),
            (deleting, Status::Deleting),
        ];
        for (facts, wanted) in table {
            assert_eq!(facts.status(), wanted, "{facts:?}");
        }
    }

    #[test]
    fn clearing_is_not_syncing() {
        let clearing = Facts { job: Some(JobKind::Clear), outcome: Outcome::Succeeded, ..FRESH };
        assert_eq!(clearing.status(), Status::Connected);
    }
}
