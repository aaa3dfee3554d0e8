//! What a simulated source holds in a pass: a function of the config and the pass.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::connectors::RecordError;
use crate::connectors::simulator::config::Config;
use crate::record::{Document, Fingerprint, RawRecord};

const WORDS: [&str; 16] = [
    "amber", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "island", "jasper", "kelp", "lagoon",
    "meadow", "nectar", "orchard", "pebble",
];

/// The records of an object in one pass.
pub(super) struct World<'a> {
    config: &'a Config,
    /// The first record that is there.
    first: u64,
    /// The one after the last.
    end: u64,
    /// The pass in which a record last changed; none is the pass that made it.
    changed: HashMap<u64, u64>,
}

/// Name of an object.
pub(super) fn name_of(number: u64) -> String {
    format!("object-{number:03}")
}

/// Number of an object.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("object-")?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

impl<'a> World<'a> {
    /// What there is in a pass. Between two passes the oldest records go, new ones
    /// come, and those that stay change in turn.
    pub(super) fn new(config: &'a Config, pass: u64) -> Self {
        let [inserts, updates, deletes] = config.changes();
        let (mut first, mut end, mut changed) = (0, config.records(), HashMap::new());
        let mut turn = 0_u64;
        for pass in 1..=pass {
            first = (first + deletes).min(end);
            let there = end - first;
            for number in 0..updates.min(there) {
                changed.insert(first + (turn + number) % there, pass);
            }
            turn += updates;
            end += inserts;
        }
        changed.retain(|record, _| *record >= first);
        Self { config, first, end, changed }
    }

    /// How many records.
    pub(super) fn records(&self) -> u64 {
        self.end - self.first
    }

    /// The numbers of the records, in order.
    pub(super) fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.end
    }

    /// A record of an object.
    pub(super) fn record(&self, object: u64, number: u64) -> RawRecord {
        let version = self.changed.get(&number).copied().unwrap_or(0);
        let text = text(self.config, object, number, version);
        let payload = json!({"object": object, "number": number, "version": version, "text": text}).to_string();
        RawRecord {
            source_key: key(number),
            fingerprint: Fingerprint::of(payload.as_bytes()),
            payload: Bytes::from(payload),
        }
    }
}

/// Key of a record.
pub(super) fn key(number: u64) -> String {
    number.to_string()
}

/// The document of a record.
pub(super) fn document(record: &RawRecord) -> Result<Document, RecordError> {
    let undecodable = || RecordError { code: "undecodable", message: "the record cannot be decoded".to_owned() };
    let value: Value = serde_json::from_slice(&record.payload).map_err(|_| undecodable())?;
    let whole = |name: &str| value[name].as_u64().ok_or_else(undecodable);
    let (object, number, version) = (whole("object")?, whole("number")?, whole("version")?);
    let metadata = Map::from_iter([
        ("object".to_owned(), json!(object)),
        ("number".to_owned(), json!(number)),
        ("version".to_owned(), json!(version)),
    ]);
    Ok(Document {
        title: format!("Record {number} of {}, version {version}", name_of(object)),
        body: value["text"].as_str().unwrap_or_default().to_owned(),
        kind: "row".to_owned(),
        metadata,
        ..Document::default()
    })
}

/// Words that the seed, the record and its version decide.
fn text(config: &Config, object: u64, number: u64, version: u64) -> String {
    let length = usize::try_from(config.record_bytes()).unwrap_or(usize::MAX);
    let mut state = mixed(config.seed() ^ mixed(object ^ mixed(number ^ mixed(version))));
    let mut text = String::with_capacity(length + 8);
    while text.len() < length {
        state = mixed(state);
        text.push_str(WORDS[(state % WORDS.len() as u64) as usize]);
        text.push(' ');
    }
    text.truncate(length);
    text
}

/// One step of SplitMix64.
fn mixed(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(value: Value) -> Config {
        serde_json::from_value(value).expect("a config")
    }

    fn records(config: &Config, pass: u64) -> HashMap<String, Fingerprint> {
        let world = World::new(config, pass);
        let record = |number| world.record(0, number);
        world.numbers().map(record).map(|record| (record.source_key, record.fingerprint)).collect()
    }

    #[test]
    fn a_pass_differs_from_the_one_before_by_what_the_config_says() {
        let config = config(json!({"records": 50, "inserts": 3, "updates": 4, "deletes": 2}));
        for pass in 0..30 {
            let (before, after) = (records(&config, pass), records(&config, pass + 1));
            assert_eq!(after.keys().filter(|key| !before.contains_key(*key)).count(), 3, "{pass}");
            assert_eq!(before.keys().filter(|key| !after.contains_key(*key)).count(), 2, "{pass}");
            let changed = |key: &&String| before.get(*key).is_some_and(|fingerprint| after[*key] != *fingerprint);
            assert_eq!(after.keys().filter(changed).count(), 4, "{pass}");
            assert_eq!(after, records(&config, pass + 1), "{pass}");
        }
    }

    #[test]
    fn the_seed_decides_the_content_and_the_size_is_kept() {
        let of = |seed: u64| records(&config(json!({"seed": seed, "records": 1})), 0);
        assert_ne!(of(1), of(2));
        let config = config(json!({"recordBytes": 1_000}));
        let record = World::new(&config, 0).record(3, 7);
        let document = document(&record).expect("it is one of ours");
        assert_eq!((document.body.len(), document.title.as_str()), (1_000, "Record 7 of object-003, version 0"));
    }

    #[test]
    fn a_name_is_of_one_object() {
        assert_eq!((number_of("object-007"), number_of("object-7"), number_of("x")), (Some(7), None, None));
    }
}
