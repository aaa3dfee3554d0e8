//! Token buckets by key. Of each there is one instant: when it would be full again,
//! were it left alone. A bucket that is full is not kept.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time in which an empty bucket fills.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Buckets that may be kept before full ones are looked for.
const SWEEP_FROM: usize = 1024;

/// How a bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Tokens of a full one.
    pub quota: u32,
    /// Tokens left.
    pub left: u64,
    /// Time until it is full.
    pub full_in: Duration,
    /// Time until there is a token.
    pub wait: Duration,
}

/// Buckets of one size.
pub(super) struct Buckets<K> {
    quota: u32,
    kept: Mutex<Kept<K>>,
}

struct Kept<K> {
    full_at: HashMap<K, Instant>,
    sweep_at: usize,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Buckets of so many tokens, which come back within [`WINDOW`]; with none there
    /// is no limit.
    pub(super) fn new(quota: u32) -> Self {
        Self { quota, kept: Mutex::new(Kept { full_at: HashMap::new(), sweep_at: SWEEP_FROM }) }
    }

    /// Takes a token; `Err` where there is none.
    pub(super) fn take<Q>(&self, key: &Q, now: Instant) -> Result<Option<Standing>, Standing>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let Some(each) = WINDOW.checked_div(self.quota) else { return Ok(None) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.full_at.get(key).copied();
        let full_in = known.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let standing = |full_in: Duration, wait| Standing {
            quota: self.quota,
            left: u64::try_from(WINDOW.saturating_sub(full_in).as_nanos() / each.as_nanos()).unwrap_or(u64::MAX),
            full_in,
            wait,
        };
        let after = full_in + each;
        if let Some(wait) = after.checked_sub(WINDOW).filter(|wait| !wait.is_zero()) {
            return Err(standing(full_in, wait));
        }
        match kept.full_at.get_mut(key) {
            Some(at) => *at = now + after,
            None => kept.keep(key.to_owned(), now + after, now),
        }
        Ok(Some(standing(after, Duration::ZERO)))
    }
}

impl<K: Eq + Hash> Kept<K> {
    fn keep(&mut self, key: K, full_at: Instant, now: Instant) {
        self.full_at.insert(key, full_at);
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = SWEEP_FROM.max(self.full_at.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_tokens_at_once_and_then_as_they_come_back() {
        let buckets: Buckets<String> = Buckets::new(60);
        let start = Instant::now();
        for left in (0..60).rev() {
            assert_eq!(buckets.take("a", start).unwrap().unwrap().left, left);
        }
        let empty = buckets.take("a", start).unwrap_err();
        assert_eq!((empty.left, empty.wait, empty.full_in), (0, Duration::from_secs(1), WINDOW));
        assert!(buckets.take("b", start).is_ok(), "another's bucket");
        assert!(buckets.take("a", start + Duration::from_millis(999)).is_err());
        assert!(buckets.take("a", start + Duration::from_secs(1)).is_ok());
        assert!(buckets.take("a", start + Duration::from_secs(1)).is_err());
        assert_eq!(buckets.take("a", start + WINDOW * 3).unwrap().unwrap().left, 59);
    }

    #[test]
    fn without_a_quota_there_is_no_limit_and_full_buckets_are_not_kept() {
        let none: Buckets<String> = Buckets::new(0);
        assert_eq!(none.take("a", Instant::now()), Ok(None));
        let buckets: Buckets<String> = Buckets::new(10);
        let start = Instant::now();
        for number in 0..10_000u32 {
            let _ = buckets.take(number.to_string().as_str(), start + Duration::from_secs(u64::from(number)));
        }
        assert!(buckets.kept.lock().unwrap().full_at.len() <= SWEEP_FROM);
    }
}
