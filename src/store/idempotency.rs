//! Requests that were given an idempotency key: one effect, one answer, kept
//! for 24 hours.

use crate::ids::KeyId;
use crate::store::{Store, StoreError};

/// How a request with an idempotency key begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is the first: act, then complete or abandon.
    Fresh,
    /// It was done before, with this answer.
    Replay(Vec<u8>),
    /// The first is still going on.
    InUse,
    /// The key was used with another payload.
    Reused,
}

/// The answer to a request that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Who asked.
    pub caller: KeyId,
    /// Method that was called.
    pub method: String,
    /// The idempotency key.
    pub request_id: String,
    /// The answer, for replays.
    pub response: Vec<u8>,
}

impl Store {
    /// Begins a request.
    pub async fn begin(
        &self,
        _caller: &KeyId,
        _method: &str,
        _request_id: &str,
        _payload_hash: [u8; 32],
    ) -> Result<Begun, StoreError> {
        unreachable!()
    }

    /// Keeps the answer of a request that has begun.
    pub async fn complete(&self, _completion: &Completion) -> Result<(), StoreError> {
        unreachable!()
    }

    /// Forgets a request that has begun and had no effect.
    pub async fn abandon(&self, _caller: &KeyId, _method: &str, _request_id: &str) -> Result<(), StoreError> {
        unreachable!()
    }

    /// Forgets requests older than 24 hours; says how many.
    pub async fn prune(&self) -> Result<u64, StoreError> {
        unreachable!()
    }
}
