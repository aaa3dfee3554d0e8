//! What to do with each record, and what may be deleted. Pure: no I/O, no time.

use crate::index::Manifest;
use crate::record::{Fingerprint, Key};
use crate::syncs::progress::Tally;

/// What a record is to the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The index does not have it.
    Insert,
    /// The index has other content.
    Update,
    /// The index has it as it is.
    Keep,
}

/// One object while it is read: what the index has of it and has not been met.
pub struct ObjectPass {
    unmet: Manifest,
    before: Tally,
    tally: Tally,
    kept_failures: u64,
}

impl ObjectPass {
    /// Begins with what the index has. `before` is what an earlier attempt of the
    /// same sync counted for this object: its inserts and updates will be met
    /// again as unchanged, and must not be counted twice.
    pub fn new(manifest: Manifest, before: Tally) -> Self {
        Self { unmet: manifest, before, tally: Tally::default(), kept_failures: 0 }
    }

    /// Decides for a record. Each key comes once a pass.
    pub fn decide(&mut self, key: Key, fingerprint: Fingerprint) -> Decision {
        match self.unmet.remove(&key) {
            None => Decision::Insert,
            Some(known) if known == fingerprint => {
                self.tally.unchanged += 1;
                Decision::Keep
            }
            Some(_) => Decision::Update,
        }
    }

    /// The decision was carried out.
    pub fn applied(&mut self, decision: Decision) {
        match decision {
            Decision::Insert => self.tally.inserted += 1,
            Decision::Update => self.tally.updated += 1,
            Decision::Keep => {}
        }
    }

    /// A record that was met could not be taken in; what the index has of it, if
    /// anything, stays.
    pub fn failed(&mut self, decision: Decision) {
        self.tally.failed += 1;
        if decision == Decision::Update {
            self.kept_failures += 1;
        }
    }

    /// A record that could not even be read: it is there, so it is not absent.
    pub fn unreadable(&mut self, key: Key) {
        self.tally.failed += 1;
        if self.unmet.remove(&key).is_some() {
            self.kept_failures += 1;
        }
    }

    /// What the sync has done with this object, all attempts together.
    pub fn tally(&self) -> Tally {
        let met_again = self.before.inserted + self.before.updated;
        Tally {
            inserted: self.before.inserted + self.tally.inserted,
            updated: self.before.updated + self.tally.updated,
            unchanged: (self.tally.unchanged - met_again).max(0),
            failed: self.tally.failed,
        }
    }

    /// Records that this attempt has met.
    pub fn met(&self) -> u64 {
        u64::try_from(self.tally.read()).unwrap_or(0)
    }

    /// Documents that the index should have of what was met.
    pub fn indexed(&self) -> u64 {
        u64::try_from(self.tally.read() - self.tally.failed).unwrap_or(0) + self.kept_failures
    }

    /// The object was read to its end: what was not met is gone at the source.
    pub fn absent(self) -> Vec<Key> {
        self.unmet.into_keys().collect()
    }
}

/// What may happen to the documents that a pass proved gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Delete them.
    Delete,
    /// So many at once look like an accident at the source: a person decides.
    Hold,
}

/// The brake: more than max(100, 30 %) of a connection's documents are held,
/// unless somebody has looked and released them.
pub fn judge(absent: u64, indexed: u64, released: bool) -> Verdict {
    let limit = (indexed * 3 / 10).max(100);
    if absent > limit && !released { Verdict::Hold } else { Verdict::Delete }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(entries: &[(u128, u128)]) -> Manifest {
        entries.iter().map(|(key, fingerprint)| (Key(*key), Fingerprint(*fingerprint))).collect()
    }

    #[test]
    fn a_record_is_new_changed_or_the_same_and_the_rest_is_absent() {
        let mut pass = ObjectPass::new(manifest(&[(1, 10), (2, 20), (3, 30)]), Tally::default());
        assert_eq!(pass.decide(Key(1), Fingerprint(10)), Decision::Keep);
        assert_eq!(pass.decide(Key(2), Fingerprint(21)), Decision::Update);
        pass.applied(Decision::Update);
        assert_eq!(pass.decide(Key(4), Fingerprint(40)), Decision::Insert);
        pass.applied(Decision::Insert);
        assert_eq!(pass.tally(), Tally { inserted: 1, updated: 1, unchanged: 1, failed: 0 });
        assert_eq!(pass.absent(), vec![Key(3)]);
    }

    #[test]
    fn what_fails_is_not_absent() {
        let mut pass = ObjectPass::new(manifest(&[(1, 10), (2, 20)]), Tally::default());
        assert_eq!(pass.decide(Key(1), Fingerprint(11)), Decision::Update);
        pass.failed(Decision::Update);
        pass.unreadable(Key(2));
        assert_eq!((pass.tally().failed, pass.met(), pass.indexed()), (2, 2, 2));
        assert!(pass.absent().is_empty());
    }

    #[test]
    fn a_second_attempt_does_not_count_twice() {
        let before = Tally { inserted: 2, updated: 1, unchanged: 3, failed: 1 };
        let mut pass = ObjectPass::new(manifest(&[(1, 1), (2, 2), (3, 3), (4, 4)]), before);
        for key in 1..=4 {
            assert_eq!(pass.decide(Key(key), Fingerprint(key)), Decision::Keep);
        }
        assert_eq!(pass.decide(Key(5), Fingerprint(5)), Decision::Insert);
        pass.applied(Decision::Insert);
        assert_eq!(pass.tally(), Tally { inserted: 3, updated: 1, unchanged: 1, failed: 0 });
    }

    #[test]
    fn many_deletions_at_once_are_held_unless_released() {
        assert_eq!(judge(100, 50, false), Verdict::Delete);
        assert_eq!(judge(101, 200, false), Verdict::Hold);
        assert_eq!(judge(300, 1_000, false), Verdict::Delete);
        assert_eq!(judge(301, 1_000, false), Verdict::Hold);
        assert_eq!(judge(1_000, 1_000, true), Verdict::Delete);
    }
}
