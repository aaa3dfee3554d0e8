//! Refusals, counted: who asks a thousand times a second gets one event a minute,
//! and a thousand who ask get a bounded number.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::ids::AuditEventId;
use crate::store::audit::{Actor, NewEvent, Refusals, Resources};

/// Events a minute with one outcome: for those who were not let in, and as many
/// for those who lack a right. What is beyond is counted in one more.
const MOST: usize = 32;
/// Events that wait for a store that is away: those of two minutes at full flood.
/// What is beyond is not counted.
const MOST_WAITING: usize = 4 * (MOST + 1);

struct Counted {
    id: AuditEventId,
    unwritten: i64,
}

/// The refusals of the current minute, and what is not written yet of the one
/// before.
#[derive(Default)]
pub(super) struct Refused {
    minute: u64,
    counted: HashMap<(NewEvent, String), Counted>,
    past: Vec<Refusals>,
}

impl Refused {
    /// Counts one.
    pub(super) fn count(&mut self, event: NewEvent, outcome: &str, minute: u64) {
        self.turn(minute);
        let key = (event, outcome.to_owned());
        if let Some(counted) = self.counted.get_mut(&key) {
            counted.unwritten += 1;
            return;
        }
        let alike = self.counted.keys().filter(|(_, other)| *other == key.1).count();
        let key = if alike < MOST { key } else { (others(), key.1) };
        let counted = self.counted.entry(key);
        counted.or_insert_with(|| Counted { id: AuditEventId::mint(), unwritten: 0 }).unwritten += 1;
    }

    /// What is to be written now.
    pub(super) fn due(&mut self, minute: u64) -> Vec<Refusals> {
        self.turn(minute);
        let mut due = std::mem::take(&mut self.past);
        due.extend(unwritten(&mut self.counted));
        due
    }

    /// Takes back what could not be written.
    pub(super) fn again(&mut self, due: Vec<Refusals>) {
        for refusals in due {
            if let Some(past) = self.past.iter_mut().find(|past| past.id == refusals.id) {
                past.times += refusals.times;
            } else if self.past.len() < MOST_WAITING {
                self.past.push(refusals);
            }
        }
    }

    /// Begins another minute.
    fn turn(&mut self, minute: u64) {
        if minute != self.minute {
            self.minute = minute;
            let left = unwritten(&mut self.counted);
            self.counted.clear();
            self.again(left);
        }
    }
}

fn unwritten(counted: &mut HashMap<(NewEvent, String), Counted>) -> Vec<Refusals> {
    let due = counted.iter_mut().filter(|(_, counted)| counted.unwritten > 0);
    due.map(|((event, outcome), counted)| Refusals {
        id: counted.id.clone(),
        event: event.clone(),
        outcome: outcome.clone(),
        times: std::mem::take(&mut counted.unwritten),
    })
    .collect()
}

/// Stands for all that are beyond the most.
pub(super) fn others() -> NewEvent {
    NewEvent { actor: Actor::Nobody, peer: None, method: String::new(), request_id: None, about: Resources::default() }
}

/// What stands for the address of somebody who was not let in: by IPv6 one caller
/// has a network of addresses.
pub(super) fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) if address.is_loopback() => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(peer: &str) -> NewEvent {
        NewEvent { peer: Some(peer.to_owned()), ..others() }
    }

    fn total(due: &[Refusals]) -> i64 {
        due.iter().map(|refusals| refusals.times).sum()
    }

    #[test]
    fn the_same_refusal_is_one_event_a_minute() {
        let mut refused = Refused::default();
        (0..1_000).for_each(|_| refused.count(entry("192.0.2.1"), "UNAUTHORIZED", 7));
        let first = refused.due(7);
        assert_eq!((first.len(), first[0].times), (1, 1_000));
        assert!(refused.due(7).is_empty());
        refused.count(entry("192.0.2.1"), "UNAUTHORIZED", 7);
        let more = refused.due(7);
        assert_eq!((more[0].id.clone(), more[0].times), (first[0].id.clone(), 1));
        refused.count(entry("192.0.2.1"), "UNAUTHORIZED", 8);
        assert_ne!(refused.due(8)[0].id, first[0].id);
    }

    #[test]
    fn many_peers_are_a_bounded_number_of_events_and_all_are_counted() {
        let mut refused = Refused::default();
        (0..100_000).for_each(|number| refused.count(entry(&format!("peer {number}")), "UNAUTHORIZED", 7));
        let right = NewEvent { actor: Actor::Subject("a".to_owned()), ..others() };
        refused.count(right.clone(), "FORBIDDEN", 7);
        let due = refused.due(7);
        assert_eq!((due.len(), total(&due)), (MOST + 2, 100_001));
        assert!(due.iter().any(|refusals| refusals.event == right), "one flood does not hide the other");
    }

    #[test]
    fn what_was_not_written_is_written_later_once() {
        let mut refused = Refused::default();
        refused.count(entry("192.0.2.1"), "UNAUTHORIZED", 7);
        let due = refused.due(7);
        refused.again(due);
        refused.count(entry("192.0.2.1"), "UNAUTHORIZED", 7);
        refused.count(entry("192.0.2.1"), "UNAUTHORIZED", 8);
        let due = refused.due(8);
        assert_eq!((due.len(), total(&due)), (2, 3));
        assert!(refused.due(8).is_empty());
    }

    #[test]
    fn a_network_stands_for_its_addresses() {
        for (address, wanted) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("::1", "::1"),
        ] {
            assert_eq!(network(address.parse().expect("an address")), wanted);
        }
    }
}
