//! The model: what each call does and answers, and what is there afterwards.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::Union;
use proptest_state_machine::ReferenceStateMachine;

use super::source::{Change, Effect, Rows, Source, Table};

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Makes the connection.
    Create,
    /// Runs a sync to its end; or, held, to the gate, where it stays.
    Run { held: bool },
    /// Opens the gate and waits for the end of the sync that stands there.
    Release,
    /// Cancels the last sync.
    Cancel,
    /// Suspends or resumes the schedule.
    Pause(bool),
    /// Replaces the credentials.
    Credentials { good: bool },
    /// Replaces the config.
    Config { narrow: bool },
    /// Tests the connection.
    Test,
    /// Clears the connection's data.
    Clear,
    /// Removes the connection.
    Delete { data: bool },
    /// Changes the source.
    Change(Table, Change),
    /// Stops the server in good order and starts it again.
    Restart,
}

/// How a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Well.
    Ok,
    /// With 409 and the sync that is on its way.
    Busy,
    /// With this status and word.
    Refused(u16, &'static str),
}

/// What is known of the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Untested,
    Ok,
    Failed,
}

/// How the last test or sync ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    None,
    Succeeded,
    Failed,
}

/// How a sync ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The word.
    pub status: &'static str,
    /// Items read, inserted, updated, deleted and unchanged, where they are known.
    pub counters: Option<[u64; 5]>,
}

/// A document: its connection, table and row.
pub type Key = (usize, Table, i64);

/// What the index may hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// What is surely there.
    pub must: BTreeSet<Key>,
    /// What can be there, in these versions.
    pub may: BTreeMap<Key, BTreeSet<i64>>,
}

impl Documents {
    /// What is known for sure of a connection: its rows and their versions.
    fn exact(&self, connection: usize) -> Option<BTreeMap<(Table, i64), i64>> {
        let known = |(key, versions): (&Key, &BTreeSet<i64>)| {
            let is_sure = self.must.contains(key) && versions.len() == 1;
            is_sure.then(|| ((key.1, key.2), *versions.first().unwrap()))
        };
        self.may.iter().filter(|(key, _)| key.0 == connection).map(known).collect()
    }

    fn forget(&mut self, connection: usize) {
        self.must.retain(|key| key.0 != connection);
        self.may.retain(|key, _| key.0 != connection);
    }
}

/// A sync that stands at the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it has read.
    snapshot: BTreeMap<Table, Rows>,
    /// What the index had, as far as that was known.
    before: Option<BTreeMap<(Table, i64), i64>>,
    /// Workers that have taken it.
    pub attempt: u64,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The nth of this case.
    pub number: usize,
    /// Its config leaves a table out.
    pub narrow: bool,
    /// The source takes its credentials.
    pub good: bool,
    /// Its schedule is suspended.
    pub paused: bool,
    /// What is known of the credentials.
    pub login: Login,
    /// How the last test or sync ended.
    pub outcome: Outcome,
    /// Its active sync.
    pub held: Option<Held>,
    /// Its syncs that have ended, oldest first.
    pub ended: Vec<Ended>,
    /// The config that its documents were made with, where all were with one.
    indexed_narrow: Option<bool>,
}

impl Connection {
    fn new(number: usize) -> Self {
        Self {
            number,
            narrow: false,
            good: true,
            paused: false,
            login: Login::Untested,
            outcome: Outcome::None,
            held: None,
            ended: Vec::new(),
            indexed_narrow: None,
        }
    }

    /// deleting > syncing > needs_attention > error > paused > connected > pending.
    pub fn status(&self) -> &'static str {
        match self {
            Self { held: Some(_), .. } => "syncing",
            Self { login: Login::Failed, .. } => "needs_attention",
            Self { outcome: Outcome::Failed, .. } => "error",
            Self { paused: true, .. } => "paused",
            Self { outcome: Outcome::Succeeded, .. } => "connected",
            _ => "pending",
        }
    }

    fn tables(&self) -> &'static [Table] {
        if self.narrow { &[Table::A, Table::Gate] } else { &[Table::A, Table::B, Table::Gate] }
    }

    fn is_forgetful(&mut self) {
        (self.login, self.outcome) = (Login::Untested, Outcome::None);
    }
}

/// The state of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The source.
    pub source: Source,
    /// What the last change did to it.
    pub effect: Effect,
    /// The connection, if there is one.
    pub connection: Option<Connection>,
    /// Connections made so far.
    made: usize,
    /// What is searchable.
    pub documents: Documents,
    /// How the last call is answered.
    pub answer: Answer,
}

impl Model {
    fn held(&self) -> Option<&Held> {
        self.connection.as_ref().and_then(|connection| connection.held.as_ref())
    }

    /// The sync reads to the gate: what it read can be in the index from now on.
    fn read(&mut self, attempt: u64) {
        let Some(connection) = &mut self.connection else { return };
        let number = connection.number;
        let before = self.documents.exact(number);
        let earlier = connection.held.take().map(|held| held.snapshot).unwrap_or_default();
        let mut snapshot = BTreeMap::new();
        for table in connection.tables() {
            // An object that was read to its end is not read again, unless
            // something of it is gone, which only a whole reading proves.
            let lacks = |rows: &Rows| {
                let mut documents = self.documents.must.iter().filter(|key| key.0 == number && key.1 == *table);
                documents.any(|key| !rows.contains_key(&key.2))
            };
            let rows = match earlier.get(table) {
                Some(rows) if *table != Table::Gate && !lacks(rows) => rows.clone(),
                _ => self.source.rows(*table).clone(),
            };
            if *table != Table::Gate {
                for (id, version) in &rows {
                    self.documents.may.entry((number, *table, *id)).or_default().insert(*version);
                }
            }
            snapshot.insert(*table, rows);
        }
        connection.held = Some(Held { snapshot, before, attempt });
    }

    /// The sync that stands at the gate ends well: the index is what it read.
    fn succeed(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let Some(Held { snapshot, before, attempt }) = connection.held.take() else { return };
        let number = connection.number;
        let rows: BTreeMap<(Table, i64), i64> = snapshot
            .iter()
            .flat_map(|(table, rows)| rows.iter().map(|(id, version)| ((*table, *id), *version)))
            .collect();
        let same_config = connection.indexed_narrow == Some(connection.narrow);
        let is_known =
            |before: &BTreeMap<_, _>| attempt == 1 && (before.is_empty() || connection.indexed_narrow.is_some());
        let counters = before.filter(is_known).map(|before| {
            let known = |key: &&(Table, i64)| before.contains_key(*key);
            let unchanged = |key: &&(Table, i64)| same_config && before.get(*key) == rows.get(*key);
            let inserted = rows.keys().filter(|key| !known(key)).count();
            let unchanged = rows.keys().filter(unchanged).count();
            let deleted = before.keys().filter(|key| !rows.contains_key(key)).count();
            [rows.len(), inserted, rows.len() - inserted - unchanged, deleted, unchanged].map(|count| count as u64)
        });
        self.documents.forget(number);
        for ((table, id), version) in rows {
            self.documents.must.insert((number, table, id));
            self.documents.may.insert((number, table, id), BTreeSet::from([version]));
        }
        (connection.login, connection.outcome) = (Login::Ok, Outcome::Succeeded);
        connection.indexed_narrow = Some(connection.narrow);
        connection.ended.push(Ended { status: "succeeded", counters });
    }
}

/// The model as a machine.
pub struct Machine;

impl ReferenceStateMachine for Machine {
    type State = Model;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model {
            source: Source::new(),
            effect: Effect::Nothing,
            connection: None,
            made: 0,
            documents: Documents::default(),
            answer: Answer::Ok,
        })
        .boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Transition> {
        let table = prop_oneof![Just(Table::A), Just(Table::B)];
        let change = prop_oneof![
            (1..4u8).prop_map(Change::Insert),
            any::<u8>().prop_map(Change::Update),
            any::<u8>().prop_map(Change::Delete),
        ];
        let change = (table, change).prop_map(|(table, change)| Transition::Change(table, change)).boxed();
        let just = |transition: Transition| Just(transition).boxed();
        if model.connection.is_none() {
            return Union::new_weighted(vec![(6, just(Transition::Create)), (1, change)]).boxed();
        }
        let mut possible = vec![
            (5, change),
            (3, any::<bool>().prop_map(|held| Transition::Run { held }).boxed()),
            (1, any::<bool>().prop_map(Transition::Pause).boxed()),
            (2, any::<bool>().prop_map(|good| Transition::Credentials { good }).boxed()),
            (2, any::<bool>().prop_map(|narrow| Transition::Config { narrow }).boxed()),
            (1, just(Transition::Clear)),
            (1, any::<bool>().prop_map(|data| Transition::Delete { data }).boxed()),
            (1, just(Transition::Cancel)),
            (1, just(Transition::Restart)),
        ];
        if model.held().is_some() {
            possible.push((5, just(Transition::Release)));
            possible.push((2, just(Transition::Cancel)));
        } else {
            possible.push((1, just(Transition::Test)));
        }
        Union::new_weighted(possible).boxed()
    }

    fn preconditions(model: &Model, transition: &Transition) -> bool {
        let Some(connection) = &model.connection else {
            return matches!(transition, Transition::Create | Transition::Change(..));
        };
        match transition {
            Transition::Create => false,
            Transition::Release => connection.held.is_some(),
            // It would stand at the gate itself.
            Transition::Test => connection.held.is_none(),
            Transition::Cancel => connection.held.is_some() || !connection.ended.is_empty(),
            // Which rows the next attempt reads again follows from the index,
            // so that has to be known.
            Transition::Restart => connection.held.is_none() || is_known_enough(model),
            _ => true,
        }
    }

    fn apply(mut model: Model, transition: &Transition) -> Model {
        model.answer = Answer::Ok;
        match transition {
            Transition::Create => {
                model.connection = Some(Connection::new(model.made));
                model.made += 1;
            }
            Transition::Change(table, change) => model.effect = model.source.change(*table, *change),
            Transition::Restart => {
                if let Some(Held { attempt, .. }) = model.held().cloned() {
                    model.read(attempt + 1);
                }
            }
            _ => call(&mut model, transition),
        }
        model
    }
}

/// Documents that a cancelled sync may have left are no matter for the objects
/// that a next attempt reads again, as long as their rows are still there.
fn is_known_enough(model: &Model) -> bool {
    let Some(connection) = &model.connection else { return true };
    let Some(held) = &connection.held else { return true };
    let unsure =
        model.documents.may.keys().filter(|key| key.0 == connection.number && !model.documents.must.contains(*key));
    let mut gone = unsure.filter(|key| held.snapshot.get(&key.1).is_some_and(|rows| !rows.contains_key(&key.2)));
    gone.next().is_none()
}

/// A call for the connection.
fn call(model: &mut Model, transition: &Transition) {
    let Some(connection) = &mut model.connection else { return };
    let is_held = connection.held.is_some();
    let refused_while_busy = matches!(
        transition,
        Transition::Run { .. }
            | Transition::Credentials { .. }
            | Transition::Config { .. }
            | Transition::Clear
            | Transition::Delete { .. }
    );
    if is_held && refused_while_busy {
        model.answer = Answer::Busy;
        return;
    }
    match transition {
        Transition::Run { .. } if !connection.good => {
            (connection.login, connection.outcome) = (Login::Failed, Outcome::Failed);
            connection.ended.push(Ended { status: "failed", counters: Some([0; 5]) });
        }
        Transition::Run { held } => {
            model.read(1);
            if !held {
                model.succeed();
            }
        }
        Transition::Release => model.succeed(),
        Transition::Cancel if is_held => {
            connection.held = None;
            connection.indexed_narrow = None;
            connection.ended.push(Ended { status: "cancelled", counters: None });
        }
        Transition::Cancel => {
            let last = connection.ended.last().map(|ended| ended.status);
            if last != Some("cancelled") {
                model.answer = Answer::Refused(400, "sync_not_running");
            }
        }
        Transition::Pause(paused) => connection.paused = *paused,
        Transition::Credentials { good } => {
            connection.good = *good;
            connection.is_forgetful();
        }
        Transition::Config { narrow } => {
            connection.narrow = *narrow;
            connection.is_forgetful();
        }
        Transition::Test if connection.good => (connection.login, connection.outcome) = (Login::Ok, Outcome::Succeeded),
        Transition::Test => {
            (connection.login, connection.outcome) = (Login::Failed, Outcome::Failed);
            model.answer = Answer::Refused(400, "invalid_credentials");
        }
        Transition::Clear => {
            let number = connection.number;
            connection.indexed_narrow = None;
            model.documents.forget(number);
        }
        Transition::Delete { data } => {
            let number = connection.number;
            model.connection = None;
            if *data {
                model.documents.forget(number);
            }
        }
        Transition::Create | Transition::Change(..) | Transition::Restart => {}
    }
}
