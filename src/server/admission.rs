//! How many connections there may be, in all and from one peer, so that nobody
//! takes the descriptors of everybody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::Peer;

/// Counts connections; shared by all listeners of a server. Cheap to clone.
#[derive(Clone)]
pub struct Admission {
    most: usize,
    most_a_peer: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_peer: HashMap<IpAddr, usize>,
}

/// Why a connection is not taken; a word for the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full(pub &'static str);

impl Admission {
    /// At most so many in all, and so many from one peer.
    pub fn new(most: usize, most_a_peer: usize) -> Self {
        Self { most, most_a_peer, open: Arc::default() }
    }

    /// Takes one more, until what is returned is dropped.
    pub fn admit(&self, address: IpAddr) -> Result<Admitted, Full> {
        let peer = Peer(address).network();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.most {
            return Err(Full("all"));
        }
        let of_peer = open.by_peer.get(&peer).copied().unwrap_or_default();
        if of_peer >= self.most_a_peer {
            return Err(Full("peer"));
        }
        open.all += 1;
        open.by_peer.insert(peer, of_peer + 1);
        Ok(Admitted { peer, open: self.open.clone() })
    }
}

/// A connection that was taken.
pub struct Admitted {
    peer: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(count) = open.by_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
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
        let admission = Admission::new(3, 2);
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
        let admission = Admission::new(9, 1);
        let _first = admission.admit("2001:db8::1".parse().unwrap()).ok().unwrap();
        assert!(admission.admit("2001:db8::2:0:0:1".parse().unwrap()).is_err());
        assert!(admission.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
        let _mapped = admission.admit("::ffff:192.0.2.1".parse().unwrap()).ok().unwrap();
        assert!(admission.admit("192.0.2.1".parse().unwrap()).is_err());
    }
}
