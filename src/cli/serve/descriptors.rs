//! Open files: each connection is one, and what a shell allows for by default is less
//! than a server with thousands of streams needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes as many as may be had without asking anybody. Where that fails, connections
/// beyond the limit wait to be accepted, and the log says so.
pub(super) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
