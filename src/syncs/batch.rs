//! What to do with each record, and what may be deleted. Pure: no I/O, no time.

use crate::connectors::reading::{Reached, Rest};
use crate::index::manifest::Manifest;
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

/// One object while it is read: what the index has of it, and what was met.
pub struct ObjectPass {
    manifest: Manifest,
    /// One bit an entry of the manifest.
    met: Vec<u64>,
    /// Entries of the manifest that were met.
    met_known: u64,
    /// Records met that the manifest does not have.
    met_new: u64,
    before: Tally,
    tally: Tally,
}

/// What an object came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// All attempts together.
    pub tally: Tally,
    /// Records that the source has, as far as this pass can tell.
    pub there: Option<u64>,
    /// Documents that the index should have once the absent are gone.
    pub indexed: u64,
    /// What is proved gone at the source.
    pub absent: Vec<Key>,
}

impl ObjectPass {
    /// Begins with what the index has. `before` is what an earlier attempt of the
    /// same sync counted for this object: its inserts and updates will be met
    /// again as unchanged, and must not be counted twice.
    pub fn new(manifest: Manifest, before: Tally) -> Self {
        let met = vec![0; manifest.len().div_ceil(64)];
        Self { manifest, met, met_known: 0, met_new: 0, before, tally: Tally::default() }
    }

    /// Decides for a record. Each key comes once a pass; should a source break
    /// its word, what came last is what counts.
    pub fn decide(&mut self, key: Key, fingerprint: Fingerprint) -> Decision {
        let Some(position) = self.manifest.position(key) else {
            self.met_new += 1;
            return Decision::Insert;
        };
        if self.meet(position) && self.manifest.entry(position).1 == fingerprint {
            self.tally.unchanged += 1;
            return Decision::Keep;
        }
        Decision::Update
    }

    /// A record that is there as the index has it.
    pub fn present(&mut self, key: Key) {
        if self.manifest.position(key).is_some_and(|position| self.meet(position)) {
            self.tally.unchanged += 1;
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
    pub fn failed(&mut self) {
        self.tally.failed += 1;
    }

    /// A record that could not even be read: it is there, so it is not absent.
    pub fn unreadable(&mut self, key: Key) {
        self.tally.failed += 1;
        match self.manifest.position(key) {
            Some(position) => drop(self.meet(position)),
            None => self.met_new += 1,
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

    /// What has become of the object so far.
    pub fn reached(&self) -> Reached {
        Reached { known: self.manifest.len() as u64, new: self.met_new }
    }

    /// The object has ended without error, with this known of what was not met.
    pub fn end(mut self, rest: Rest) -> Ended {
        let known = self.manifest.len() as u64;
        let unmet = known - self.met_known;
        let (there, absent) = match rest {
            Rest::Gone | Rest::Listed => (Some(self.met_known + self.met_new), self.unmet()),
            Rest::Unmoved => {
                self.tally.unchanged += i64::try_from(unmet).unwrap_or(i64::MAX);
                (Some(known + self.met_new), Vec::new())
            }
            Rest::Unknown => (None, Vec::new()),
        };
        let inserted = u64::try_from(self.tally.inserted).unwrap_or(0);
        Ended { tally: self.tally(), there, indexed: known + inserted - absent.len() as u64, absent }
    }

    /// Notes that an entry was met; false if it was before.
    fn meet(&mut self, position: usize) -> bool {
        // Branches rather than adds the comparison up: in that form, rustc 1.95 with
        // optimisations counts nothing at all, and a pass would believe that it met
        // no record.
        let is_first = self.met[position / 64] & (1 << (position % 64)) == 0;
        if is_first {
            self.met[position / 64] |= 1 << (position % 64);
            self.met_known += 1;
        }
        is_first
    }

    fn unmet(&self) -> Vec<Key> {
        let is_unmet = |position: &usize| self.met[position / 64] & (1 << (position % 64)) == 0;
        let positions = (0..self.manifest.len()).filter(is_unmet);
        positions.map(|position| self.manifest.entry(position).0).collect()
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

/// The brake where the source lists no object at all: an outage that looks like
/// an empty source is likelier than one that lost everything it had.
pub fn judge_empty_listing(absent: u64, released: bool) -> Verdict {
    if absent > 0 && !released { Verdict::Hold } else { Verdict::Delete }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(entries: &[(u128, u128)]) -> Manifest {
        Manifest::new(entries.iter().map(|(key, fingerprint)| (Key(*key), Fingerprint(*fingerprint))).collect())
    }

    fn tally(inserted: i64, updated: i64, unchanged: i64, failed: i64) -> Tally {
        Tally { inserted, updated, unchanged, failed }
    }

    #[test]
    fn a_record_is_new_changed_or_the_same_and_the_rest_is_absent() {
        let mut pass = ObjectPass::new(manifest(&[(1, 10), (2, 20), (3, 30)]), Tally::default());
        assert_eq!(pass.decide(Key(1), Fingerprint(10)), Decision::Keep);
        assert_eq!(pass.decide(Key(2), Fingerprint(21)), Decision::Update);
        pass.applied(Decision::Update);
        assert_eq!(pass.decide(Key(4), Fingerprint(40)), Decision::Insert);
        pass.applied(Decision::Insert);
        assert_eq!(pass.tally(), tally(1, 1, 1, 0));
        assert_eq!(pass.reached(), Reached { known: 3, new: 1 });
        let expected = Ended { tally: tally(1, 1, 1, 0), there: Some(3), indexed: 3, absent: vec![Key(3)] };
        assert_eq!(pass.end(Rest::Gone), expected);
    }

    #[test]
    fn what_was_not_met_may_be_known_to_be_there_or_not_be_known() {
        let begun = || {
            let mut pass = ObjectPass::new(manifest(&[(1, 10), (2, 20), (3, 30)]), Tally::default());
            assert_eq!(pass.decide(Key(4), Fingerprint(40)), Decision::Insert);
            pass.applied(Decision::Insert);
            pass.present(Key(2));
            pass
        };
        let unmoved = Ended { tally: tally(1, 0, 3, 0), there: Some(4), indexed: 4, absent: vec![] };
        assert_eq!(begun().end(Rest::Unmoved), unmoved);
        let unknown = Ended { tally: tally(1, 0, 1, 0), there: None, indexed: 4, absent: vec![] };
        assert_eq!(begun().end(Rest::Unknown), unknown);
    }

    #[test]
    fn what_fails_is_not_absent() {
        let mut pass = ObjectPass::new(manifest(&[(1, 10), (2, 20)]), Tally::default());
        assert_eq!(pass.decide(Key(1), Fingerprint(11)), Decision::Update);
        pass.failed();
        pass.unreadable(Key(2));
        pass.unreadable(Key(3));
        let expected = Ended { tally: tally(0, 0, 0, 3), there: Some(3), indexed: 2, absent: vec![] };
        assert_eq!(pass.end(Rest::Gone), expected);
    }

    #[test]
    fn a_second_attempt_does_not_count_twice() {
        let mut pass = ObjectPass::new(manifest(&[(1, 1), (2, 2), (3, 3), (4, 4)]), tally(2, 1, 3, 1));
        for key in 1..=4 {
            assert_eq!(pass.decide(Key(key), Fingerprint(key)), Decision::Keep);
        }
        assert_eq!(pass.decide(Key(5), Fingerprint(5)), Decision::Insert);
        pass.applied(Decision::Insert);
        assert_eq!(pass.tally(), tally(3, 1, 1, 0));
    }

    #[test]
    fn a_key_that_comes_twice_is_put_again() {
        let mut pass = ObjectPass::new(manifest(&[(1, 10)]), Tally::default());
        assert_eq!(pass.decide(Key(1), Fingerprint(10)), Decision::Keep);
        assert_eq!(pass.decide(Key(1), Fingerprint(10)), Decision::Update);
    }

    #[test]
    fn many_deletions_at_once_are_held_unless_released() {
        assert_eq!(judge(100, 50, false), Verdict::Delete);
        assert_eq!(judge(101, 200, false), Verdict::Hold);
        assert_eq!(judge(300, 1_000, false), Verdict::Delete);
        assert_eq!(judge(301, 1_000, false), Verdict::Hold);
        assert_eq!(judge(1_000, 1_000, true), Verdict::Delete);
        assert_eq!(judge_empty_listing(0, false), Verdict::Delete);
        assert_eq!(judge_empty_listing(1, false), Verdict::Hold);
        assert_eq!(judge_empty_listing(1, true), Verdict::Delete);
    }
}
