//! How many connections there may be, in all and from one peer, so that nobody
//! takes the descriptors of everybody; and how fast one peer may open new ones, since
//! each costs us more than it costs the peer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::auth::Peer;

/// New connections that a peer may open at once before it is held to its pace.
const BURST: u32 = 500;
/// Peers without a connection that are remembered, beside one for each connection.
const REMEMBERED: usize = 1024;

/// What is admitted.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Connections in all.
    pub most: usize,
    /// Connections of one peer.
    pub most_a_peer: usize,
    /// New connections of one peer a second; what comes faster waits for its turn.
    /// None where all come by one proxy.
    pub new_a_peer: Option<u32>,
}

/// Counts connections; shared by all listeners of a server. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    allowance: Allowance,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, OfPeer>,
}

struct OfPeer {
    open: usize,
    /// When the connections so far would have come at an even pace.
    due: Instant,
}

/// Why a connection is not taken; a word for the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full(pub &'static str);

impl Admission {
    /// Admits so much.
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, open: Arc::default() }
    }

    /// Takes one more, until what is returned is dropped.
    pub fn admit(&self, address: IpAddr) -> Result<Admitted, Full> {
        self.admit_at(address, Instant::now())
    }

    fn admit_at(&self, address: IpAddr, now: Instant) -> Result<Admitted, Full> {
        let peer = Peer(address).network();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.allowance.most {
            return Err(Full("all"));
        }
        if open.by_peer.len() > 2 * open.all + REMEMBERED {
            open.by_peer.retain(|_, of_peer| of_peer.open > 0 || of_peer.due > now);
        }
        let of_peer = open.by_peer.entry(peer).or_insert(OfPeer { open: 0, due: now });
        if of_peer.open >= self.allowance.most_a_peer {
            return Err(Full("peer"));
        }
        of_peer.open += 1;
        let wait = match self.allowance.new_a_peer {
            Some(rate) => of_peer.paced(now, Duration::from_secs(1) / rate.max(1)),
            None => Duration::ZERO,
        };
        open.all += 1;
        Ok(Admitted { wait, peer, open: self.open.clone() })
    }
}

impl OfPeer {
    /// How long the next connection waits, at one in each interval.
    fn paced(&mut self, now: Instant, interval: Duration) -> Duration {
        self.due = self.due.max(now) + interval;
        self.due.saturating_duration_since(now + interval * BURST)
    }
}

/// A connection that was taken.
pub struct Admitted {
    /// How long it waits before anything is read from it.
    pub wait: Duration,
    peer: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(of_peer) = open.by_peer.get_mut(&self.peer) {
            of_peer.open -= 1;
            if of_peer.open == 0 && of_peer.due <= Instant::now() {
                open.by_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_its_share_and_all_have_theirs_and_both_come_back() {
        let admission = Admission::new(Allowance { most: 3, most_a_peer: 2, new_a_peer: None });
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let first = admission.admit(one).ok();
        let _second = admission.admit(one).ok().unwrap();
        assert_eq!(admission.admit(one).err(), Some(Full("peer")));
        let _third = admission.admit(other).ok().unwrap();
        assert_eq!(admission.admit(other).err(), Some(Full("all")));
        drop(first);
        assert!(admission.admit(one).is_ok());
    }

    #[test]
    fn a_machine_with_many_addresses_is_one_peer() {
        let admission = Admission::new(Allowance { most: 9, most_a_peer: 1, new_a_peer: None });
        let _first = admission.admit("2001:db8::1".parse().unwrap()).ok().unwrap();
        assert!(admission.admit("2001:db8::2:0:0:1".parse().unwrap()).is_err());
        assert!(admission.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
        let _mapped = admission.admit("::ffff:192.0.2.1".parse().unwrap()).ok().unwrap();
        assert!(admission.admit("192.0.2.1".parse().unwrap()).is_err());
    }

    #[test]
    fn who_opens_connections_too_fast_waits_and_nobody_else_does() {
        let admission = Admission::new(Allowance { most: 9, most_a_peer: 9, new_a_peer: Some(10) });
        let [flood, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        let now = Instant::now();
        let wait = |address, at| admission.admit_at(address, at).ok().unwrap().wait;
        for _ in 0..BURST {
            assert_eq!(wait(flood, now), Duration::ZERO);
        }
        let waits: Vec<u128> = (0..3).map(|_| wait(flood, now).as_millis()).collect();
        assert_eq!(waits, [100, 200, 300]);
        assert_eq!(wait(other, now), Duration::ZERO);
        assert_eq!(wait(flood, now + Duration::from_secs(1)), Duration::ZERO, "a second later its turn has come");
    }

    #[test]
    fn peers_that_are_gone_are_forgotten() {
        let admission = Admission::new(Allowance { most: 9, most_a_peer: 9, new_a_peer: Some(10) });
        let now = Instant::now();
        for number in 0..4 * REMEMBERED as u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(number));
            drop(admission.admit_at(address, now + Duration::from_secs(u64::from(number))));
        }
        assert!(admission.open.lock().unwrap().by_peer.len() <= REMEMBERED + 1);
    }
}
