//! Keys that were looked up a moment ago. Two generations take turns, so that
//! finding and adding cost the same however many there are.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::access::Caller;
use crate::ids::KeyId;
use crate::secrets::api_key;

/// Entries of one generation; with more, the older generation goes early.
const MOST: usize = 16_384;

struct Entry {
    hash: [u8; 32],
    caller: Caller,
    until: Instant,
}

#[derive(Default)]
struct Generations {
    young: HashMap<KeyId, Entry>,
    old: HashMap<KeyId, Entry>,
    turned: Option<Instant>,
    /// Grows when something is forgotten.
    forgotten: u64,
}

/// What is known, for a short time.
pub(super) struct Known {
    trust: Duration,
    generations: Mutex<Generations>,
}

/// Taken before the store is asked: what is forgotten between then and the answer
/// is not remembered from that answer.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    at: Instant,
    forgotten: u64,
}

impl Known {
    /// Nothing yet. An answer of the store is believed for so long.
    pub(super) fn new(trust: Duration) -> Self {
        Self { trust, generations: Mutex::default() }
    }

    /// The caller, if this token's key is known.
    pub(super) fn recall(&self, presented: &api_key::Presented) -> Option<Caller> {
        let generations = self.lock();
        let entry = generations.young.get(&presented.id).or_else(|| generations.old.get(&presented.id))?;
        let is_good = entry.until > Instant::now() && api_key::equal(&entry.hash, &presented.hash);
        is_good.then(|| entry.caller.clone())
    }

    /// The moment before the store is asked.
    pub(super) fn ask(&self) -> Asked {
        Asked { at: Instant::now(), forgotten: self.lock().forgotten }
    }

    /// Remembers an answer for at most so long from when it was asked for.
    pub(super) fn remember(&self, asked: Asked, hash: [u8; 32], caller: Caller, at_most: Duration) {
        let until = asked.at + at_most.min(self.trust);
        let mut generations = self.lock();
        if generations.forgotten != asked.forgotten {
            return;
        }
        let is_over = generations.turned.is_none_or(|turned| turned.elapsed() >= self.trust);
        let mut gone = HashMap::new();
        if is_over || generations.young.len() >= MOST {
            generations.turned = Some(Instant::now());
            let young = std::mem::take(&mut generations.young);
            gone = std::mem::replace(&mut generations.old, young);
        }
        generations.young.insert(caller.key.clone(), Entry { hash, caller, until });
        // Others need not wait while the old ones are given back.
        drop(generations);
        drop(gone);
    }

    /// Forgets one key.
    pub(super) fn forget(&self, id: &KeyId) {
        let mut generations = self.lock();
        generations.forgotten += 1;
        generations.young.remove(id);
        generations.old.remove(id);
    }

    /// Forgets all keys.
    pub(super) fn clear(&self) {
        let mut generations = self.lock();
        generations.forgotten += 1;
        generations.young.clear();
        generations.old.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Collections, Role};

    const LONG: Duration = Duration::from_secs(3600);

    fn presented(number: usize) -> api_key::Presented {
        api_key::Presented { id: format!("key_{number}").parse().expect("an id"), hash: [7; 32] }
    }

    fn remember(known: &Known, asked: Asked, number: usize, at_most: Duration) {
        let key = presented(number).id;
        let caller = Caller { key, subject: None, role: Role::Viewer, collections: Collections::All };
        known.remember(asked, [7; 32], caller, at_most);
    }

    #[test]
    fn a_key_is_known_for_its_time_and_by_its_whole_hash() {
        let known = Known::new(LONG);
        remember(&known, known.ask(), 1, LONG);
        remember(&known, known.ask(), 2, Duration::ZERO);
        assert!(known.recall(&presented(1)).is_some());
        assert!(known.recall(&presented(2)).is_none(), "its time is over");
        assert!(known.recall(&api_key::Presented { hash: [8; 32], ..presented(1) }).is_none());
        let known = Known::new(Duration::ZERO);
        remember(&known, known.ask(), 1, LONG);
        assert!(known.recall(&presented(1)).is_none(), "nothing is believed longer than the trust");
    }

    #[test]
    fn what_was_forgotten_while_the_store_was_asked_is_not_remembered() {
        let known = Known::new(LONG);
        let asked = known.ask();
        known.forget(&presented(1).id);
        remember(&known, asked, 1, LONG);
        assert!(known.recall(&presented(1)).is_none(), "a revocation came in between");
        remember(&known, known.ask(), 1, LONG);
        known.clear();
        assert!(known.recall(&presented(1)).is_none());
    }

    #[test]
    fn a_flood_of_keys_pushes_out_the_oldest_and_stays_bounded() {
        let known = Known::new(LONG);
        (0..3 * MOST).for_each(|number| remember(&known, known.ask(), number, LONG));
        let generations = known.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * MOST);
        drop(generations);
        assert!(known.recall(&presented(0)).is_none());
        assert!(known.recall(&presented(3 * MOST - 1)).is_some());
    }
}
