//! Where a crash may strike, and the wrong orders that a crash would expose: for
//! the crash suite alone. A release build has none of it.
//!
//! `TRIBUTARY_TEST_FAILPOINT=name:n` kills the process when it comes to that point
//! for the nth time, `TRIBUTARY_TEST_MUTANT=name` switches a wrong order on, and
//! `TRIBUTARY_TEST_CHECKPOINT_MS=n` sets how often a sync writes a checkpoint. They
//! come through the environment, since the suite runs the real binary.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The points, each between two steps whose order matters.
pub const POINTS: &[&str] = &[
    // Start of a server.
    "start.store_opened",
    "start.leases_expired",
    "start.leftovers_gone",
    // A request with an idempotency key.
    "request.begun",
    "request.acted",
    // A job's row.
    "job.inserted",
    "job.enqueued",
    "job.taken",
    "job.finishing",
    "job.marks_put",
    "job.finished",
    "job.reaped",
    // A pass.
    "pass.begun",
    "pass.started",
    "object.started",
    "batch.decoded",
    "batch.applied",
    "batch.settled",
    "object.completed",
    "progress.written",
    "checkpoint.settled",
    "checkpoint.between",
    "checkpoint.written",
    "pass.read",
    "deletions.applied",
    "deletions.held",
    "deletions.done",
    "hold.lifted",
    "pass.compared",
    "marks.made",
    // The index.
    "index.opened",
    "index.set_aside",
    "index.writer_opened",
    "index.committing",
    "index.committed",
    "clear.counted",
    "clear.deleting",
    "clear.committed",
    // Clears and deletes.
    "removal.cleared",
    "removal.hold_lifted",
    "removal.row_gone",
    "delete.marked",
    "delete.row_gone",
    "collection.connections_gone",
    "collection.row_gone",
    "collection.index_gone",
    // Changes.
    "config.replaced",
];

/// The wrong orders.
pub const MUTANTS: &[&str] = &[
    "checkpoint_before_index",
    "checkpoint_with_progress",
    "position_before_batch",
    "finished_though_absent",
    "finish_before_commit",
    "mark_without_digest",
    "pending_unknown",
    "insert_for_update",
    "unfinished_proves_absence",
    "clear_uncommitted",
    "row_before_documents",
    "key_after_effect",
];

/// Comes to a point; does not return where the process is to die there.
#[cfg(debug_assertions)]
pub fn reach(point: &'static str) {
    // The one state outside a server: it is about the process, and ends it.
    static AIM: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();
    debug_assert!(POINTS.contains(&point), "the point `{point}` is not listed");
    let aim = AIM.get_or_init(|| {
        let given = std::env::var("TRIBUTARY_TEST_FAILPOINT").ok()?;
        let (name, times) = given.split_once(':').unwrap_or((&given, "1"));
        Some((name.to_owned(), AtomicU32::new(times.parse().ok()?)))
    });
    if let Some((name, left)) = aim
        && name == point
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Whether a wrong order is switched on.
#[cfg(debug_assertions)]
pub fn mutant(name: &'static str) -> bool {
    static GIVEN: OnceLock<Option<String>> = OnceLock::new();
    debug_assert!(MUTANTS.contains(&name), "the mutant `{name}` is not listed");
    GIVEN.get_or_init(|| std::env::var("TRIBUTARY_TEST_MUTANT").ok()).as_deref() == Some(name)
}

/// How often a sync writes a checkpoint, unless the suite is in a hurry.
#[cfg(debug_assertions)]
pub fn checkpoint_every(usual: Duration) -> Duration {
    let given = std::env::var("TRIBUTARY_TEST_CHECKPOINT_MS").ok().and_then(|given| given.parse().ok());
    given.map_or(usual, Duration::from_millis)
}

/// Comes to a point.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_point: &'static str) {}

/// Whether a wrong order is switched on: never.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn mutant(_name: &'static str) -> bool {
    false
}

/// How often a sync writes a checkpoint.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn checkpoint_every(usual: Duration) -> Duration {
    usual
}
