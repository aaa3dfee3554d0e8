//! What a stream of changes has said and is not told yet: which rows, not what they
//! are. Bounded.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Rows, and transactions, that are told up to one place, at most.
pub(in crate::connectors) const MOST_ROWS: usize = 20_000;
/// Bytes of their keys.
pub(in crate::connectors) const MOST_KEY_BYTES: usize = 8 * 1024 * 1024;
/// Longest key, all its columns together: an index of a server takes no longer ones,
/// unless they can be packed well.
pub(in crate::connectors) const LONGEST_KEY: usize = 4096;

/// Texts of the columns of a key, in the order of the table's key.
pub(in crate::connectors) type RowKey = Vec<String>;

/// What happened, in the order of the commits. `T` names a transaction, `P` a place up
/// to which the stream was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connectors) enum Event<T, P> {
    /// What follows was done by this transaction.
    Transaction(T),
    /// A row of a table came, changed or went.
    Row { table: usize, key: RowKey },
    /// A table lost all rows.
    Emptied { table: usize },
    /// A table changed in a way that the stream cannot tell.
    Untold,
    /// Everything before is told; microseconds since 1970 at which it was committed, if
    /// it was a commit.
    Reached { place: P, at_micros: Option<i64> },
}

/// What the stream has said and is not told yet.
#[derive(Debug)]
pub(in crate::connectors) struct Gathered<T, P> {
    /// The transaction that is under way in the stream.
    current: T,
    pub(in crate::connectors) transactions: BTreeSet<T>,
    pub(in crate::connectors) rows: BTreeMap<usize, HashSet<RowKey>>,
    key_bytes: usize,
    pub(in crate::connectors) emptied: BTreeSet<usize>,
    pub(in crate::connectors) untold: bool,
    pub(in crate::connectors) reached: Option<P>,
    pub(in crate::connectors) committed_at: Option<i64>,
    /// The last event was the end of a transaction.
    pub(in crate::connectors) is_whole: bool,
}

impl<T: Default, P> Default for Gathered<T, P> {
    fn default() -> Self {
        Self {
            current: T::default(),
            transactions: BTreeSet::new(),
            rows: BTreeMap::new(),
            key_bytes: 0,
            emptied: BTreeSet::new(),
            untold: false,
            reached: None,
            committed_at: None,
            is_whole: false,
        }
    }
}

impl<T: Clone + Default + Ord, P: Ord> Gathered<T, P> {
    /// Takes the next event.
    pub(in crate::connectors) fn take(&mut self, event: Event<T, P>) {
        self.is_whole = false;
        match event {
            Event::Transaction(id) => self.current = id,
            Event::Row { table, key } => {
                self.is_of_current();
                let length: usize = key.iter().map(String::len).sum();
                if self.rows.entry(table).or_default().insert(key) {
                    self.key_bytes += length;
                }
            }
            Event::Emptied { table } => {
                self.is_of_current();
                self.rows.remove(&table);
                self.emptied.insert(table);
            }
            Event::Untold => self.untold = true,
            Event::Reached { place, at_micros } => {
                self.is_whole = true;
                if self.reached.as_ref().is_none_or(|reached| place > *reached) {
                    self.reached = Some(place);
                }
                self.committed_at = at_micros.or(self.committed_at);
            }
        }
    }

    fn is_of_current(&mut self) {
        if !self.transactions.contains(&self.current) {
            self.transactions.insert(self.current.clone());
        }
    }

    pub(in crate::connectors) fn has_changes(&self) -> bool {
        !self.rows.is_empty() || !self.emptied.is_empty() || self.untold
    }

    pub(in crate::connectors) fn is_full(&self) -> bool {
        self.rows.values().map(HashSet::len).sum::<usize>() >= MOST_ROWS
            || self.transactions.len() >= MOST_ROWS
            || self.key_bytes >= MOST_KEY_BYTES
    }

    /// What there is; the transaction goes on.
    pub(in crate::connectors) fn cut(&mut self) -> Self {
        let next = Self { current: self.current.clone(), ..Self::default() };
        std::mem::replace(self, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Some = Gathered<u32, u64>;

    fn row(key: &str) -> Event<u32, u64> {
        Event::Row { table: 0, key: vec![key.to_owned()] }
    }

    #[test]
    fn what_a_table_lost_when_it_was_emptied_is_not_read() {
        let mut gathered = Some::default();
        let reached = Event::Reached { place: 9, at_micros: Option::Some(1) };
        for event in [Event::Transaction(7), row("1"), Event::Emptied { table: 0 }, row("2"), reached] {
            gathered.take(event);
        }
        assert!(gathered.has_changes() && gathered.is_whole);
        assert_eq!(gathered.rows[&0], HashSet::from([vec!["2".to_owned()]]));
        assert_eq!(gathered.transactions, BTreeSet::from([7]));
    }

    #[test]
    fn a_transaction_that_is_cut_goes_on_under_its_own_id() {
        let mut gathered = Some::default();
        gathered.take(Event::Transaction(7));
        (0..MOST_ROWS).for_each(|number| gathered.take(row(&number.to_string())));
        assert!(gathered.is_full());
        assert_eq!(gathered.cut().transactions, BTreeSet::from([7]));
        gathered.take(row("more"));
        assert_eq!(gathered.transactions, BTreeSet::from([7]));
        assert!(!gathered.is_whole && gathered.reached.is_none());
    }

    #[test]
    fn keys_that_are_long_and_transactions_without_rows_have_an_end_too() {
        let mut gathered = Some::default();
        let long = "x".repeat(4096);
        for number in 0..MOST_KEY_BYTES / 4096 {
            gathered.take(row(&format!("{long}{number}")));
        }
        assert!(gathered.is_full());
        assert!(gathered.cut().is_full() && !gathered.is_full());
        for id in 0..MOST_ROWS as u32 {
            gathered.take(Event::Transaction(id));
            gathered.take(Event::Emptied { table: 0 });
        }
        assert!(gathered.is_full());
    }

    #[test]
    fn a_sign_of_life_alone_changes_nothing_and_no_place_goes_back() {
        let mut gathered = Some::default();
        for place in [9, 8] {
            gathered.take(Event::Reached { place, at_micros: None });
        }
        assert!(!gathered.has_changes());
        assert_eq!(gathered.reached, Option::Some(9));
    }
}
