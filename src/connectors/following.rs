//! Following a source: what a connector says of changes as they are committed,
//! where its source can tell them. See [`Connector::follow`](super::Connector).
//!
//! A follower needs a *footing* first: a place at the source from which on every
//! change will be told, and a sync that read the source after that place was
//! made. From there on changes are told in the order of their commits, each at
//! least once, and what is told of a row is at least as new as the change: so
//! the index comes to be what the source is.

pub(super) mod gathering;
pub(super) mod telling;

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{mpsc, oneshot};

use super::ConnectorError;
use super::reading::Stopped;
use crate::record::RawRecord;

/// What a connection calls itself at its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// The place of a connection: lower-case letters, digits and `_`, at most 63.
    pub fn of(connection: &str) -> Self {
        let mut name = format!("tributary_{}", connection.to_ascii_lowercase());
        name.retain(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
        name.truncate(63);
        Self(name)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// What was noted when the index was last in step, in the connector's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footing {
    /// What server and which definitions the sync read.
    pub ground: String,
    /// Up to where changes are in the index; none before the first.
    pub position: Option<String>,
}

/// Whether a source can be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preparation {
    /// From here on, changes will be told.
    Ready(Prepared),
    /// Something is missing: what, and what to do, for people.
    Missing(String),
    /// The source had kept more for us than the config allows, in bytes. What
    /// was reserved there is given up.
    TooMuchKept(u64),
}

/// A place from which changes will be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What server and which definitions are to be read now.
    pub ground: String,
    /// Up to where the source forgets; what comes after is told.
    pub position: String,
    /// Why a sync must bring the index in step first, if it must.
    pub out_of_step: Option<&'static str>,
    /// Selected objects whose changes are not told: only syncs bring them.
    pub not_followed: usize,
}

/// What to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowRequest {
    /// Where.
    pub place: Place,
    /// The ground that the index is in step with.
    pub ground: String,
    /// From where on changes are to be told.
    pub position: String,
}

/// What is told.
pub enum Followed {
    /// Part of the changes up to the next place.
    Changed(Changed),
    /// All changes up to a place are told.
    Reached(Reached),
    /// How much the source keeps for us, in bytes.
    Kept(u64),
}

/// A place up to which all is told.
pub struct Reached {
    /// Something changed of which only a sync can tell what.
    pub needs_sync: bool,
    /// Everything up to here is told.
    pub position: String,
    /// When the last change was committed, by the source's clock.
    pub committed_at: Option<SystemTime>,
    /// To be answered once all is durable in the index and the position is
    /// noted: only then may the source forget.
    pub kept: oneshot::Sender<()>,
}

/// What changed of one object.
pub struct Changed {
    /// The object.
    pub object: Arc<str>,
    /// Everything that it had went before the rest happened.
    pub emptied: bool,
    /// Records as they are now.
    pub records: Vec<RawRecord>,
    /// Keys of records that are gone.
    pub gone: Vec<String>,
    /// What the connector needs to decode the records.
    pub shape: Arc<dyn std::any::Any + Send + Sync>,
}

/// Why following has come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowEnd {
    /// A sync must bring the index in step before it goes on; why.
    OutOfStep(&'static str),
    /// The source kept more for us than the config allows, in bytes. What was
    /// reserved there is given up.
    TooMuchKept(u64),
}

/// Where a connector tells changes. Bounded.
pub struct Telling(mpsc::Sender<Followed>);

impl Telling {
    /// A way to tell, and its other end.
    pub fn channel() -> (Self, mpsc::Receiver<Followed>) {
        let (sender, receiver) = mpsc::channel(2);
        (Self(sender), receiver)
    }

    /// Tells; waits while the other end is busy.
    pub async fn tell(&self, told: Followed) -> Result<(), ConnectorError> {
        self.0.send(told).await.map_err(|_| ConnectorError::Stopped(Stopped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_name_that_every_server_takes() {
        assert_eq!(Place::of("sc_01Abc").name(), "tributary_sc_01abc");
        assert_eq!(Place::of(&format!("sc_{}", "x".repeat(64))).name().len(), 63);
        assert_eq!(Place::of("sc_a'b\"").name(), "tributary_sc_ab");
    }
}
