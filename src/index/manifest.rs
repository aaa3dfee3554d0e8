//! What the index holds of one object: key and fingerprint of each record, 32
//! bytes each and a little over, ordered by key.

use xxhash_rust::xxh3::xxh3_128;

use crate::record::{Fingerprint, Key};

/// Entries that share a bucket, on average.
const BUCKET: usize = 8;

/// Keys and fingerprints of one object's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Ordered by key, each key once.
    entries: Vec<(Key, Fingerprint)>,
    /// Where the entries begin whose keys share their first bits. Keys are
    /// hashes, so each bucket has a handful.
    starts: Vec<u32>,
    bits: u32,
}

/// What a manifest hashes to, whatever its order. Equal digests mean that the
/// index holds the same records with the same content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many records.
    pub records: u64,
    sum: u128,
}

impl Manifest {
    /// A manifest of these entries, in any order. At most 2^32 - 1; where a key
    /// comes twice, either stays.
    pub fn new(mut entries: Vec<(Key, Fingerprint)>) -> Self {
        entries.sort_unstable_by_key(|(key, _)| *key);
        entries.dedup_by_key(|(key, _)| *key);
        entries.shrink_to_fit();
        let bits = (entries.len() / BUCKET).next_power_of_two().trailing_zeros();
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for (key, _) in &entries {
            starts[bucket(*key, bits) + 1] += 1;
        }
        for position in 1..starts.len() {
            starts[position] += starts[position - 1];
        }
        Self { entries, starts, bits }
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Position of a key.
    pub fn position(&self, key: Key) -> Option<usize> {
        if self.entries.is_empty() {
            return None;
        }
        let bucket = bucket(key, self.bits);
        let (from, to) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        self.entries[from..to].iter().position(|(known, _)| *known == key).map(|offset| from + offset)
    }

    /// The entry at a position.
    pub fn entry(&self, position: usize) -> (Key, Fingerprint) {
        self.entries[position]
    }

    /// Fingerprint of a key.
    #[cfg(test)]
    pub(crate) fn get(&self, key: Key) -> Option<Fingerprint> {
        self.position(key).map(|position| self.entries[position].1)
    }

    /// All keys, ordered.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries.iter().map(|(key, _)| *key)
    }

    /// The digest of it.
    #[cfg(test)]
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        self.entries.iter().for_each(|(key, fingerprint)| digest.add(*key, *fingerprint));
        digest
    }
}

fn bucket(key: Key, bits: u32) -> usize {
    if bits == 0 { 0 } else { (key.0 >> (128 - bits)) as usize }
}

impl Digest {
    /// Adds a record; each key once.
    pub fn add(&mut self, key: Key, fingerprint: Fingerprint) {
        let mut entry = [0; 32];
        entry[..16].copy_from_slice(&key.0.to_le_bytes());
        entry[16..].copy_from_slice(&fingerprint.0.to_le_bytes());
        self.records += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(&entry));
    }

    /// The hash as text, to be kept.
    pub fn text(&self) -> String {
        format!("{:032x}", self.sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: u64) -> Vec<(Key, Fingerprint)> {
        let entry = |number: u64| {
            (Key(xxh3_128(&number.to_le_bytes())), Fingerprint(xxh3_128(&(number + 1_000_000).to_le_bytes())))
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn every_key_is_found_and_no_other() {
        for count in [0, 1, 2, 7, 8, 9, 1_000, 70_000] {
            let all = entries(count);
            let manifest = Manifest::new(all.clone());
            assert_eq!(manifest.len() as u64, count);
            for (key, fingerprint) in &all {
                assert_eq!(manifest.get(*key), Some(*fingerprint));
            }
            for (key, _) in entries(count + 100).split_off(count as usize) {
                assert_eq!(manifest.position(key), None);
            }
        }
    }

    #[test]
    fn the_smallest_and_largest_keys_have_a_place() {
        let mut all = entries(1_000);
        all.extend([(Key(0), Fingerprint(1)), (Key(u128::MAX), Fingerprint(2))]);
        let manifest = Manifest::new(all);
        assert_eq!(manifest.get(Key(0)), Some(Fingerprint(1)));
        assert_eq!(manifest.get(Key(u128::MAX)), Some(Fingerprint(2)));
    }

    #[test]
    fn a_digest_knows_content_and_not_order() {
        let mut all = entries(100);
        let digest = Manifest::new(all.clone()).digest();
        all.reverse();
        assert_eq!(Manifest::new(all.clone()).digest(), digest);
        all[7].1 = Fingerprint(0);
        let other = Manifest::new(all.clone()).digest();
        assert_eq!(other.records, digest.records);
        assert_ne!(other, digest);
        all.pop();
        assert_eq!(Manifest::new(all).digest().records, 99);
    }
}
