//! Where a crash may strike an upgrade: for the crash suite alone. A release build
//! has none of it.
//!
//! `TRIBUTARY_TEST_MIGRATION_CRASH=n` ends the process, without any farewell, when it
//! comes to the nth step: the beginning or end of a statement.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU32, Ordering};

/// Comes to a step; does not return where the process is to die there.
#[cfg(debug_assertions)]
pub(crate) fn reach() {
    // About the process, and ends it.
    static LEFT: OnceLock<Option<AtomicU32>> = OnceLock::new();
    let left = LEFT.get_or_init(|| {
        let given = std::env::var("TRIBUTARY_TEST_MIGRATION_CRASH").ok()?;
        given.parse().ok().map(AtomicU32::new)
    });
    if let Some(left) = left
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// Comes to a step.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn reach() {}
