//! How far a pass is: the document beside a sync's counters that watchers see,
//! and the checkpoint that a later attempt goes on from.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Most objects that the progress document lists; all are counted.
const LISTED_OBJECTS: usize = 1_000;
/// Most objects that the document lists in brief.
const BRIEF_OBJECTS: usize = 50;
/// The rate is that of this window, so that it follows what happens now.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// State of an object in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectState {
    /// Not begun.
    Pending,
    /// Being read.
    Reading,
    /// Read to its end.
    Complete,
    /// Could not be read to its end.
    Failed,
}

/// How far one object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectProgress {
    /// Path of the object.
    pub path: String,
    /// State.
    pub status: ObjectState,
    /// Items read so far.
    pub read: i64,
    /// Items that could not be taken in.
    pub failed: i64,
    /// Items that it has; an estimate until it is complete.
    pub estimate: Option<i64>,
}

/// The progress document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The objects of this pass, at most 1,000.
    pub objects: Vec<ObjectProgress>,
    /// Object being read now.
    pub current_object: Option<String>,
    /// Items of all objects, where each has an estimate or is complete.
    pub estimated_items: Option<i64>,
    /// 0 to 1; only grows.
    pub fraction: Option<f64>,
    /// Items read in a second, over the last seconds.
    pub items_per_second: f64,
    /// Milliseconds that workers have spent.
    pub elapsed_ms: i64,
}

impl Progress {
    /// The document with the objects that are being read, and so many more as
    /// have room: what is kept for who watches a sync once it has ended.
    pub fn brief(&self) -> Self {
        let mut objects = self.objects.clone();
        if objects.len() > BRIEF_OBJECTS {
            let ended_last = |object: &ObjectProgress| (object.status != ObjectState::Reading, -object.read);
            objects.sort_by_key(ended_last);
            objects.truncate(BRIEF_OBJECTS);
        }
        Self { objects, ..self.clone() }
    }
}

/// What a person should know of a sync that succeeded all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Machine-readable: `deletions_held`, `items_failed`, `count_mismatch`, ...
    pub code: String,
    /// For people, without row values.
    pub message: String,
    /// Object concerned, if one.
    pub object: Option<String>,
    /// How many items it concerns.
    pub count: i64,
}

/// What a pass has done with the records of one object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// New in the index.
    pub inserted: i64,
    /// Changed in the index.
    pub updated: i64,
    /// The same as before.
    pub unchanged: i64,
    /// Could not be taken in.
    pub failed: i64,
}

impl Tally {
    /// Records read from the source.
    pub fn read(&self) -> i64 {
        self.inserted + self.updated + self.unchanged + self.failed
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            inserted: self.inserted + other.inserted,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            failed: self.failed + other.failed,
        }
    }
}

/// Where a later attempt goes on. Written only after the index has committed
/// what it counts, so it is never ahead of the index.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// Objects that need no second reading: read to their end, nothing absent.
    pub finished: Vec<String>,
    /// Where objects may be gone on with of which the index had nothing when the
    /// sync began.
    pub positions: BTreeMap<String, serde_json::Value>,
    /// What was done, by object.
    pub tallies: BTreeMap<String, Tally>,
    /// Removed from the index.
    pub deleted: i64,
    /// Of these: put out of scope by the config.
    pub out_of_scope: i64,
    /// Bytes read from the source.
    pub bytes_read: i64,
    /// Records that the connection had when the first attempt began: the brake
    /// is measured against it.
    pub indexed_at_start: Option<u64>,
    /// Transient failures in a row.
    pub retries: u32,
}

/// Follows a pass and makes the progress document.
pub struct Tracker {
    objects: Vec<ObjectProgress>,
    /// Objects on their way; several can be at once.
    reading: BTreeSet<usize>,
    window: Vec<(Instant, i64)>,
    read: i64,
    fraction: f64,
    started: Instant,
    elapsed_before: i64,
}

impl Tracker {
    /// A pass that has taken `elapsed_before` milliseconds in earlier attempts.
    pub fn new(elapsed_before: i64, fraction_before: Option<f64>) -> Self {
        Self {
            objects: Vec::new(),
            reading: BTreeSet::new(),
            window: vec![(Instant::now(), 0)],
            read: 0,
            fraction: fraction_before.unwrap_or(0.0),
            started: Instant::now(),
            elapsed_before,
        }
    }

    /// The objects that will be read, with what they are estimated to have.
    pub fn expect(&mut self, objects: impl Iterator<Item = (String, Option<i64>)>) {
        self.objects = objects
            .map(|(path, estimate)| ObjectProgress { path, status: ObjectState::Pending, read: 0, failed: 0, estimate })
            .collect();
    }

    /// An object begins.
    pub fn started(&mut self, path: &str, estimate: Option<i64>) {
        let position = self.position(path);
        self.reading.insert(position);
        let object = &mut self.objects[position];
        object.status = ObjectState::Reading;
        object.estimate = estimate.or(object.estimate);
    }

    /// An object has come this far.
    pub fn reached(&mut self, path: &str, tally: Tally) {
        let position = self.position(path);
        let object = &mut self.objects[position];
        self.read += tally.read() - object.read;
        object.read = tally.read();
        object.failed = tally.failed;
        object.estimate = object.estimate.map(|estimate| estimate.max(object.read));
    }

    /// An object has ended.
    pub fn ended(&mut self, path: &str, status: ObjectState) {
        let position = self.position(path);
        let object = &mut self.objects[position];
        object.status = status;
        if status == ObjectState::Complete {
            object.estimate = Some(object.read);
        }
        self.reading.remove(&position);
    }

    /// The document as of now.
    pub fn snapshot(&mut self) -> Progress {
        let now = Instant::now();
        self.window.push((now, self.read));
        while self.window.len() > 2 && now.duration_since(self.window[1].0) > RATE_WINDOW {
            self.window.remove(0);
        }
        let (since, read) = self.window[0];
        let seconds = now.duration_since(since).as_secs_f64();
        let rate = if seconds > 0.0 { (self.read - read) as f64 / seconds } else { 0.0 };
        let estimated_items = self.estimated_items();
        if let Some(total) = estimated_items.filter(|total| *total > 0) {
            let read: i64 = self.objects.iter().map(|object| object.read).sum();
            self.fraction = self.fraction.max((read as f64 / total as f64).clamp(0.0, 1.0));
        }
        Progress {
            objects: self.objects.iter().take(LISTED_OBJECTS).cloned().collect(),
            current_object: self.reading.last().map(|latest| self.objects[*latest].path.clone()),
            estimated_items,
            fraction: estimated_items.map(|_| self.fraction),
            items_per_second: (rate * 10.0).round() / 10.0,
            elapsed_ms: self.elapsed_ms(),
        }
    }

    /// Milliseconds that workers have spent, earlier attempts included.
    pub fn elapsed_ms(&self) -> i64 {
        self.elapsed_before + i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn estimated_items(&self) -> Option<i64> {
        if self.objects.is_empty() {
            return None;
        }
        self.objects.iter().map(|object| object.estimate).sum()
    }

    fn position(&mut self, path: &str) -> usize {
        if let Some(reading) = self.reading.iter().find(|reading| self.objects[**reading].path == path) {
            return *reading;
        }
        if let Some(position) = self.objects.iter().position(|object| object.path == path) {
            return position;
        }
        self.objects.push(ObjectProgress {
            path: path.to_owned(),
            status: ObjectState::Pending,
            read: 0,
            failed: 0,
            estimate: None,
        });
        self.objects.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_grows_with_what_was_read_and_ends_at_one() {
        let mut tracker = Tracker::new(0, None);
        tracker.expect([("a".to_owned(), Some(10)), ("b".to_owned(), Some(10))].into_iter());
        assert_eq!(tracker.snapshot().fraction, Some(0.0));
        tracker.started("a", None);
        tracker.reached("a", Tally { inserted: 5, ..Tally::default() });
        assert_eq!(tracker.snapshot().fraction, Some(0.25));
        assert_eq!(tracker.snapshot().current_object.as_deref(), Some("a"));
        tracker.reached("a", Tally { inserted: 12, ..Tally::default() });
        tracker.ended("a", ObjectState::Complete);
        tracker.started("b", None);
        tracker.reached("b", Tally { unchanged: 8, ..Tally::default() });
        tracker.ended("b", ObjectState::Complete);
        let progress = tracker.snapshot();
        assert_eq!((progress.estimated_items, progress.fraction), (Some(20), Some(1.0)));
    }

    #[test]
    fn of_several_objects_on_their_way_the_one_begun_last_is_shown() {
        let mut tracker = Tracker::new(0, None);
        tracker.expect([("a".to_owned(), None), ("b".to_owned(), None)].into_iter());
        tracker.started("a", None);
        tracker.started("b", None);
        tracker.ended("a", ObjectState::Complete);
        assert_eq!(tracker.snapshot().current_object.as_deref(), Some("b"));
        tracker.ended("b", ObjectState::Complete);
        assert_eq!(tracker.snapshot().current_object, None);
    }

    #[test]
    fn in_brief_the_objects_that_are_being_read_are_listed() {
        let mut tracker = Tracker::new(0, None);
        tracker.expect((0..200).map(|number| (format!("o{number}"), Some(1))));
        tracker.started("o150", None);
        let progress = tracker.snapshot();
        let brief = progress.brief();
        assert_eq!((brief.objects.len(), brief.objects[0].path.as_str()), (50, "o150"));
        assert_eq!((brief.fraction, progress.objects.len()), (progress.fraction, 200));
    }

    #[test]
    fn without_an_estimate_of_each_object_there_is_no_total() {
        let mut tracker = Tracker::new(0, None);
        tracker.expect([("a".to_owned(), Some(10)), ("b".to_owned(), None)].into_iter());
        assert_eq!(tracker.snapshot().estimated_items, None);
    }
}
