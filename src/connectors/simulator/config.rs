//! What a simulated source has, how it changes, and what goes wrong when.

use serde::Deserialize;

use crate::connectors::numbers::optional_whole;
use crate::connectors::{Field, FieldType};
use crate::error::Violation;

const MOST_OBJECTS: u64 = 999;
const MOST_RECORDS: u64 = 10_000_000;
const MOST_BYTES: u64 = 1024 * 1024;
const MOST_CHANGES: u64 = 1_000_000;
const LONGEST_DELAY: u64 = 60_000;
const LONGEST_WAIT: u64 = 3_600;
const MOST_FAULTS: usize = 100;

/// Settings of a connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    #[serde(deserialize_with = "optional_whole")]
    seed: Option<u64>,
    #[serde(deserialize_with = "optional_whole")]
    objects: Option<u64>,
    #[serde(deserialize_with = "optional_whole")]
    records: Option<u64>,
    #[serde(deserialize_with = "optional_whole")]
    record_bytes: Option<u64>,
    #[serde(deserialize_with = "optional_whole")]
    inserts: Option<u64>,
    #[serde(deserialize_with = "optional_whole")]
    updates: Option<u64>,
    #[serde(deserialize_with = "optional_whole")]
    deletes: Option<u64>,
    #[serde(deserialize_with = "optional_whole")]
    record_delay_ms: Option<u64>,
    faults: Vec<Fault>,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    #[serde(default, deserialize_with = "optional_whole")]
    pass: Option<u64>,
    #[serde(default, deserialize_with = "optional_whole")]
    object: Option<u64>,
    #[serde(default, deserialize_with = "optional_whole")]
    after: Option<u64>,
    #[serde(default, deserialize_with = "optional_whole")]
    seconds: Option<u64>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultKind {
    /// The login is refused.
    LoginRefused,
    /// The list of objects cannot be read.
    ListingFailed,
    /// The list of objects is empty.
    EmptyListing,
    /// An object cannot be read on.
    ObjectFailed,
    /// One record cannot be read.
    RecordFailed,
    /// The connection is cut in an object.
    Cut,
    /// An object seems to end early.
    Lost,
    /// The source asks for patience, and goes on.
    Wait,
    /// The source asks for patience, and ends.
    Throttled,
}

impl FaultKind {
    const WORDS: &'static [&'static str] = &[
        "login_refused",
        "listing_failed",
        "empty_listing",
        "object_failed",
        "record_failed",
        "cut",
        "lost",
        "wait",
        "throttled",
    ];
}

impl Fault {
    /// Records of the object before it.
    pub(super) fn after(&self) -> u64 {
        self.after.unwrap_or(0)
    }

    /// Seconds that are waited.
    pub(super) fn seconds(&self) -> u64 {
        self.seconds.unwrap_or(1)
    }
}

impl Config {
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }

    pub(super) fn objects(&self) -> u64 {
        self.objects.unwrap_or(1)
    }

    /// Records of each object at first.
    pub(super) fn records(&self) -> u64 {
        self.records.unwrap_or(100)
    }

    pub(super) fn record_bytes(&self) -> u64 {
        self.record_bytes.unwrap_or(200)
    }

    /// Inserts, updates and deletes of each object between two passes.
    pub(super) fn changes(&self) -> [u64; 3] {
        [self.inserts, self.updates, self.deletes].map(|count| count.unwrap_or(0))
    }

    pub(super) fn record_delay_ms(&self) -> u64 {
        self.record_delay_ms.unwrap_or(0)
    }

    /// The first fault of a kind in a pass, of this object if one is meant.
    pub(super) fn fault(&self, pass: u64, kind: FaultKind, object: Option<u64>) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.kind == kind && fault.strikes(pass, object))
    }

    /// The faults of an object in a pass.
    pub(super) fn faults_of(&self, pass: u64, object: u64) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |fault| fault.strikes(pass, Some(object)))
    }

    /// The same for the same settings only.
    pub(super) fn identity(&self) -> String {
        format!("{self:?}")
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let [inserts, updates, deletes] = self.changes();
        for (name, value, most) in [
            ("objects", self.objects(), MOST_OBJECTS),
            ("records", self.records(), MOST_RECORDS),
            ("recordBytes", self.record_bytes(), MOST_BYTES),
            ("inserts", inserts, MOST_CHANGES),
            ("updates", updates, MOST_CHANGES),
            ("deletes", deletes, MOST_CHANGES),
            ("recordDelayMs", self.record_delay_ms(), LONGEST_DELAY),
        ] {
            if value > most {
                let field = format!("config.{name}");
                violations.push(Violation::new(field, "OUT_OF_RANGE", format!("must be at most {most}")));
            }
        }
        if self.faults.len() > MOST_FAULTS {
            let description = format!("must have at most {MOST_FAULTS} items");
            violations.push(Violation::new("config.faults", "TOO_MANY", description));
        }
        for (position, fault) in self.faults.iter().enumerate() {
            if fault.seconds() > LONGEST_WAIT {
                let field = format!("config.faults[{position}].seconds");
                violations.push(Violation::new(field, "OUT_OF_RANGE", format!("must be at most {LONGEST_WAIT}")));
            }
        }
        violations
    }
}

impl Fault {
    fn strikes(&self, pass: u64, object: Option<u64>) -> bool {
        let is_object = |object| self.object.unwrap_or(0) == object;
        self.pass.is_none_or(|wanted| wanted == pass) && object.is_none_or(is_object)
    }
}

pub(super) fn fields() -> Vec<Field> {
    let field = |name, kind, title, description, default: Option<u64>| Field {
        name,
        kind,
        required: false,
        title,
        description,
        default: default.map(Into::into),
    };
    let number = |name, title, description, default| field(name, FieldType::Number, title, description, default);
    let mut kind = field("kind", FieldType::Enum(FaultKind::WORDS), "Kind", "What goes wrong", None);
    kind.required = true;
    let fault = vec![
        kind,
        number("pass", "Pass", "The reading that it strikes, from 0; every one when not given", None),
        number("object", "Object", "Number of the object that it strikes, from 0; the first when not given", None),
        number("after", "After", "Records of the object before it strikes; none when not given", None),
        number("seconds", "Seconds", "How long the source asks to wait; 1 when not given", None),
    ];
    vec![
        number("seed", "Seed", "Decides the content of the records", Some(1)),
        number("objects", "Objects", "How many objects there are, at most 999", Some(1)),
        number("records", "Records", "How many records each object has at first", Some(100)),
        number("recordBytes", "Record size", "Bytes of text of each record", Some(200)),
        number("inserts", "Inserts", "Records of each object that are new in each pass", Some(0)),
        number("updates", "Updates", "Records of each object that change in each pass", Some(0)),
        number("deletes", "Deletes", "Records of each object that go in each pass, the oldest first", Some(0)),
        number("recordDelayMs", "Delay", "Milliseconds before each record", Some(0)),
        field("faults", FieldType::ObjectList(fault), "Faults", "What goes wrong, and when", None),
    ]
}
