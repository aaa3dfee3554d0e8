//! The only way out: resolve, check against the address policy, connect.

/// Opens every socket to a user's host.
pub struct Dialer {}
