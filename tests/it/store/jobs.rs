//! The life of a job.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, json};
use tributary::ids::{KeyId, SyncId};
use tributary::store::connections::DeletionHold;
use tributary::store::idempotency::{Begun, Completion};
use tributary::store::queue::{CancelError, Commit, EnqueueError, FinishOutcome, LeaseError, NewSync};
use tributary::store::syncs::{Counters, JobKind, LogLine, State, SyncErrorRow};
use tributary::store::{Store, Visible};

use super::bench::{ALL, Bench, LEASE, connection, finish, new_sync, run, succeeded, taken};

on_both! {
    fifty_racing_enqueues_give_one_job
    an_edit_and_a_run_never_both_win
    a_job_goes_through_its_life
    errors_beyond_a_thousand_are_counted_and_not_kept
    an_item_that_fails_again_in_a_later_attempt_is_listed_once
    kept_progress_is_thinned_evenly
    an_expired_lease_is_taken_over_and_the_old_worker_cannot_write
    a_job_is_poisoned_after_five_crashes
    a_job_handed_back_is_taken_again_at_once
    a_waiting_job_is_not_taken_before_its_time
    cancelling_ends_a_job_that_nobody_holds_and_asks_one_that_is_held
    an_ended_job_never_changes
    racing_workers_take_each_job_once
    the_last_sync_is_the_one_that_ended_last
    a_run_and_its_answer_are_kept_together
}

#[test]
fn ended_states_change_no_more_and_active_ones_only_along_the_table() {
    use State::{Cancelled, Cancelling, Failed, Pending, Running, Succeeded, Waiting};
    let allowed = [
        (Pending, vec![Running, Cancelled]),
        (Waiting, vec![Running, Cancelled]),
        (Running, vec![Pending, Waiting, Cancelling, Succeeded, Failed, Cancelled]),
        (Cancelling, vec![Succeeded, Failed, Cancelled]),
        (Succeeded, vec![]),
        (Failed, vec![]),
        (Cancelled, vec![]),
    ];
    for (from, to) in allowed {
        for next in State::ALL {
            assert_eq!(from.can_become(next), to.contains(&next), "{from:?} -> {next:?}");
        }
        assert_eq!(from.is_terminal(), to.is_empty());
    }
}

async fn fifty_racing_enqueues_give_one_job(bench: Bench) {
    let id = connection(&bench.store).await.id;
    let racers: Vec<_> = (0..50)
        .map(|_| {
            let (store, new) = (bench.store.clone(), new_sync(&id, JobKind::Sync));
            tokio::spawn(async move { store.enqueue(&new).await })
        })
        .collect();
    let (mut won, mut busy) = (Vec::new(), Vec::new());
    for racer in racers {
        match racer.await.expect("no panic") {
            Ok(job) => won.push(job.id),
            Err(EnqueueError::Busy { id, .. }) => busy.push(id),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((won.len(), busy.len()), (1, 49));
    assert!(busy.iter().all(|id| *id == won[0]));
}

async fn an_edit_and_a_run_never_both_win(bench: Bench) {
    for _ in 0..10 {
        let id = connection(&bench.store).await.id;
        let (editor, runner, new) = (bench.store.clone(), bench.store.clone(), new_sync(&id, JobKind::Sync));
        let edit = async { editor.replace_config(&id, None, Map::new(), None).await };
        let (edited, started) = tokio::join!(edit, runner.enqueue(&new));
        let started = started.expect("nothing stands against a run");
        let expected = if edited.is_ok() { 2 } else { 1 };
        assert_eq!(started.config_version, expected, "a job runs under the config that it was started with");
        let kept = bench.store.connection(&id).await.expect("it answers").expect("a connection");
        assert_eq!(kept.config_version, expected);
    }
}

async fn a_job_goes_through_its_life(bench: Bench) {
    let store = &bench.store;
    let connection = connection(store).await;
    let job = run(store, &connection.id).await;
    assert_eq!((job.state, job.sequence, job.attempt), (State::Pending, 1, 0));
    let other_kinds = [JobKind::Clear, JobKind::Purge];
    assert!(store.take("worker", &other_kinds, LEASE).await.expect("it answers").is_none());
    assert_eq!((&job.collection, job.config_version), (&connection.collection, 1));
    let held = taken(store, LEASE).await;
    assert_eq!((held.sync.state, held.sync.attempt, held.sync.owner.as_deref()), (State::Running, 1, Some("worker")));
    assert!(store.take("another", ALL, LEASE).await.expect("it answers").is_none());
    let commit = Commit {
        counters: Counters { read: 10, inserted: 9, failed: 1, ..Counters::default() },
        progress: json!({"objects": ["orders"]}),
        brief: json!({}),
        checkpoint: Some(json!({"key": 10})),
        errors: vec![failed_item(1)],
        log: vec![LogLine { level: "warning".into(), message: "one item failed".into() }],
    };
    let renewed = store.commit(&held, &commit).await.expect("it holds");
    assert!(!renewed.cancel_requested && renewed.sequence == 4);
    assert_eq!(store.renew(&held, LEASE).await.expect("it holds").sequence, 4);
    let smaller = Commit { counters: Counters { read: 2, ..Counters::default() }, ..Commit::default() };
    store.commit(&held, &smaller).await.expect("it holds");
    let now = store.sync(&job.id).await.expect("it answers").expect("the job");
    assert_eq!((now.counters.read, now.checkpoint.clone()), (10, json!({"key": 10})));
    let warnings = json!([{"code": "items_failed"}]);
    let outcome = FinishOutcome::Succeeded { warnings: warnings.clone() };
    let ended = store.finish(held, finish(outcome)).await.expect("it ends");
    assert_eq!((ended.state, ended.warnings.clone(), ended.owner.clone()), (State::Succeeded, warnings, None));
    assert!(ended.finished_at.is_some() && ended.sequence == 6);
    assert_eq!(store.sync(&job.id).await.expect("it answers"), Some(ended));
    let errors = store.sync_errors(&job.id, 0, 10).await.expect("errors");
    assert_eq!(errors.iter().map(|kept| kept.error.clone()).collect::<Vec<_>>(), [failed_item(1)]);
    assert_eq!(store.sync_log(&job.id, 2).await.expect("lines").len(), 1);
    assert!(store.sync_log(&job.id, 3).await.expect("lines").is_empty());
    assert!(store.active_job(&connection.id).await.expect("it answers").is_none());
}

fn failed_item(number: i64) -> SyncErrorRow {
    SyncErrorRow {
        object: "orders".into(),
        key: number.to_string(),
        stage: "decode".into(),
        code: "invalid_utf8".into(),
        message: "not UTF-8".into(),
    }
}

async fn errors_beyond_a_thousand_are_counted_and_not_kept(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    for batch in 0..3 {
        let errors = (0..400).map(|item| failed_item(batch * 400 + item)).collect();
        let counters = Counters { read: 400 * (batch + 1), failed: 400 * (batch + 1), ..Counters::default() };
        store.commit(&held, &Commit { counters, errors, ..Commit::default() }).await.expect("it holds");
    }
    let kept = store.sync_errors(&job.id, 0, 5_000).await.expect("errors");
    assert_eq!((kept.len(), kept[999].number, kept[999].error.key.as_str()), (1_000, 1_000, "999"));
    assert_eq!(store.sync_errors(&job.id, 990, 5).await.expect("errors").len(), 5);
    let counters = store.sync(&job.id).await.expect("it answers").expect("the job").counters;
    assert_eq!((counters.read, counters.failed), (1_200, 1_200));
    drop(held);
}

async fn an_item_that_fails_again_in_a_later_attempt_is_listed_once(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let old = taken(store, Duration::ZERO).await;
    let commit = Commit { errors: vec![failed_item(1), failed_item(2)], ..Commit::default() };
    store.commit(&old, &commit).await.expect("it holds");
    store.reap(5).await.expect("it answers");
    let new = taken(store, LEASE).await;
    let commit = Commit { errors: vec![failed_item(1), failed_item(2), failed_item(3)], ..Commit::default() };
    store.commit(&new, &commit).await.expect("it holds");
    let kept = store.sync_errors(&job.id, 0, 10).await.expect("errors");
    assert_eq!(kept.iter().map(|kept| kept.error.clone()).collect::<Vec<_>>(), [1, 2, 3].map(failed_item));
    drop(new);
}

async fn kept_progress_is_thinned_evenly(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    for read in 0..900 {
        let commit = Commit { counters: Counters { read, ..Counters::default() }, ..Commit::default() };
        store.commit(&held, &commit).await.expect("it holds");
    }
    let kept = store.kept_progress(&job.id, 0).await.expect("progress");
    let read: Vec<i64> = kept.iter().map(|kept| kept.counters.read).collect();
    assert_eq!(read, (0..900).step_by(4).collect::<Vec<_>>());
    assert!(kept.windows(2).all(|pair| pair[0].sequence < pair[1].sequence && pair[0].at <= pair[1].at));
    let after = kept[100].sequence;
    assert_eq!(store.kept_progress(&job.id, after).await.expect("progress"), kept[101..]);
    drop(held);
}

async fn an_expired_lease_is_taken_over_and_the_old_worker_cannot_write(bench: Bench) {
    let store = &bench.store;
    run(store, &connection(store).await.id).await;
    let old = taken(store, Duration::ZERO).await;
    assert_eq!(store.reap(5).await.expect("it answers"), std::slice::from_ref(&old.sync.id));
    assert!(store.reap(5).await.expect("it answers").is_empty());
    let new = store.take("another", ALL, LEASE).await.expect("it answers").expect("it is due");
    assert!(new.fence() > old.fence());
    assert_eq!((new.sync.attempt, new.sync.crashes), (2, 1));
    let before = store.sync(&new.sync.id).await.expect("it answers");
    assert!(matches!(store.renew(&old, LEASE).await, Err(LeaseError::Lost)));
    let commit = Commit { errors: vec![failed_item(1)], ..Commit::default() };
    assert!(matches!(store.commit(&old, &commit).await, Err(LeaseError::Lost)));
    let hold = DeletionHold { items: 4, indexed_items: 5, sync: old.sync.id.clone(), created_at: 0 };
    assert!(matches!(store.set_hold(&old, Some(&hold)).await, Err(LeaseError::Lost)));
    let held = store.connection(&old.sync.connection).await.expect("it answers").and_then(|found| found.hold);
    assert_eq!(held, None);
    assert!(matches!(store.finish(old, succeeded()).await, Err(LeaseError::Lost)));
    assert_eq!(store.sync(&new.sync.id).await.expect("it answers"), before);
    store.commit(&new, &commit).await.expect("the new one writes");
    store.finish(new, succeeded()).await.expect("and ends");
}

async fn a_job_is_poisoned_after_five_crashes(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    for _ in 0..5 {
        drop(taken(store, Duration::ZERO).await);
        store.reap(5).await.expect("it answers");
    }
    let ended = store.sync(&job.id).await.expect("it answers").expect("the job");
    assert_eq!((ended.state, ended.crashes), (State::Failed, 5));
    assert_eq!(ended.error_reason.as_deref(), Some("POISONED"));
    assert!(store.take("worker", ALL, LEASE).await.expect("it answers").is_none());
}

async fn a_job_handed_back_is_taken_again_at_once(bench: Bench) {
    let store = &bench.store;
    run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    let left = store.finish(held, finish(FinishOutcome::HandBack)).await.expect("it is handed back");
    assert_eq!((left.state, left.crashes, left.owner), (State::Pending, 0, None));
    assert_eq!(taken(store, LEASE).await.sync.id, left.id);
}

async fn a_waiting_job_is_not_taken_before_its_time(bench: Bench) {
    let store = &bench.store;
    run(store, &connection(store).await.id).await;
    let held = taken(store, LEASE).await;
    let wait = |until_ms_from_now| finish(FinishOutcome::Waiting { until_ms_from_now, reason: "throttled".into() });
    let waiting = store.finish(held, wait(3_600_000)).await.expect("it waits");
    assert_eq!((waiting.state, waiting.waiting_reason.as_deref()), (State::Waiting, Some("throttled")));
    assert!(waiting.waiting_until > Some(store.now().await.expect("the time")));
    assert!(store.take("worker", ALL, LEASE).await.expect("it answers").is_none());
    bench.execute("UPDATE syncs SET due_at = 0").await;
    let held = taken(store, LEASE).await;
    assert_eq!((held.sync.waiting_until, held.sync.waiting_reason.clone()), (None, None));
    store.request_cancel(&waiting.id).await.expect("it is asked");
    let ended = store.finish(held, wait(1_000)).await.expect("it ends");
    assert_eq!(ended.state, State::Cancelled, "a job that was asked to stop does not wait");
}

async fn cancelling_ends_a_job_that_nobody_holds_and_asks_one_that_is_held(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    assert!(matches!(store.request_cancel(&SyncId::mint()).await, Err(CancelError::NotFound)));
    let pending = run(store, &id).await;
    for _ in 0..2 {
        assert_eq!(store.request_cancel(&pending.id).await.expect("it ends").state, State::Cancelled);
    }
    let job = run(store, &id).await;
    let held = taken(store, LEASE).await;
    for _ in 0..2 {
        assert_eq!(store.request_cancel(&job.id).await.expect("it is asked").state, State::Cancelling);
    }
    assert!(store.renew(&held, LEASE).await.expect("it holds").cancel_requested);
    assert!(store.commit(&held, &Commit::default()).await.expect("it holds").cancel_requested);
    let ended = store.finish(held, finish(FinishOutcome::Cancelled)).await.expect("it ends");
    assert_eq!(ended.state, State::Cancelled);
    run(store, &id).await;
    let abandoned = taken(store, Duration::ZERO).await;
    store.request_cancel(&abandoned.sync.id).await.expect("it is asked");
    store.reap(5).await.expect("it answers");
    let ended = store.sync(&abandoned.sync.id).await.expect("it answers").expect("the job");
    assert_eq!(ended.state, State::Cancelled);
}

async fn an_ended_job_never_changes(bench: Bench) {
    let store = &bench.store;
    let job = run(store, &connection(store).await.id).await;
    let held = taken(store, Duration::ZERO).await;
    let ended = store.finish(held, succeeded()).await.expect("it ends");
    assert!(matches!(store.request_cancel(&job.id).await, Err(CancelError::NotRunning)));
    assert!(store.reap(1).await.expect("it answers").is_empty());
    store.expire_leases_of_previous_run().await.expect("it answers");
    assert!(store.take("worker", ALL, LEASE).await.expect("it answers").is_none());
    assert_eq!(store.sync(&job.id).await.expect("it answers"), Some(ended));
}

async fn racing_workers_take_each_job_once(bench: Bench) {
    let mut jobs = BTreeSet::new();
    for _ in 0..8 {
        jobs.insert(run(&bench.store, &connection(&bench.store).await.id).await.id);
    }
    let workers: Vec<_> = (0..16)
        .map(|number| {
            let store = bench.store.clone();
            tokio::spawn(async move { store.take(&format!("worker {number}"), ALL, LEASE).await })
        })
        .collect();
    let mut found = Vec::new();
    for worker in workers {
        found.extend(worker.await.expect("no panic").expect("it answers").map(|held| held.sync.id));
    }
    // A worker that met only locked rows comes back with nothing; it looks again.
    while let Some(held) = bench.store.take("last", ALL, LEASE).await.expect("it answers") {
        found.push(held.sync.id);
    }
    assert_eq!(found.len(), jobs.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), jobs);
}

async fn the_last_sync_is_the_one_that_ended_last(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    let ids = [id.clone(), connection(store).await.id];
    assert!(store.last_sync(&ids).await.expect("it answers").is_empty());
    let mut last = None;
    for kind in [JobKind::Sync, JobKind::Sync, JobKind::Clear] {
        let job = store.enqueue(&new_sync(&id, kind)).await.expect("it is enqueued");
        let held = taken(store, LEASE).await;
        store.finish(held, succeeded()).await.expect("it ends");
        if kind == JobKind::Sync {
            last = Some(job.id);
        }
    }
    let active = run(store, &id).await;
    // Times may be equal within a millisecond; then the later id counts.
    let found = store.last_sync(&ids).await.expect("it answers");
    assert_eq!(found.len(), 1);
    assert!(found.get(&id).is_some_and(|sync| sync.kind == JobKind::Sync && sync.state == State::Succeeded));
    bench
        .execute(&format!("UPDATE syncs SET finished_at = finished_at + 9 WHERE id = '{}'", last.as_ref().unwrap()))
        .await;
    let found = store.last_sync(&ids).await.expect("it answers");
    assert_eq!(found.get(&id).map(|sync| sync.id.clone()), last);
    assert_eq!(store.active_jobs(&ids).await.expect("it answers").get(&id).map(|job| &job.id), Some(&active.id));
    let syncs = store.syncs(&Visible::All, Some(&id), &[], None, 10).await.expect("a page");
    assert_eq!(syncs.len(), 3, "a clear is no sync");
    let pending = store.syncs(&Visible::All, Some(&id), &[State::Pending], None, 10).await.expect("a page");
    assert_eq!(pending.len(), 1);
    let next = store.syncs(&Visible::All, Some(&id), &[], Some((syncs[0].created_at, syncs[0].id.clone())), 10).await;
    assert_eq!(next.expect("a page"), syncs[1..]);
}

async fn a_run_and_its_answer_are_kept_together(bench: Bench) {
    let store = &bench.store;
    let id = connection(store).await.id;
    let caller = KeyId::mint();
    let completion =
        Completion { caller: caller.clone(), method: "Run".into(), request_id: "r".into(), response: vec![1] };
    store.begin(&caller, "Run", "r", [1; 32]).await.expect("fresh");
    let new = NewSync { completes: Some(completion.clone()), ..new_sync(&id, JobKind::Sync) };
    store.enqueue(&new).await.expect("it is enqueued");
    assert_eq!(store.begin(&caller, "Run", "r", [1; 32]).await.expect("it answers"), Begun::Replay(vec![1]));
    store.begin(&caller, "Run", "s", [1; 32]).await.expect("fresh");
    let second = Completion { request_id: "s".into(), ..completion };
    let new = NewSync { completes: Some(second), ..new_sync(&id, JobKind::Sync) };
    assert!(matches!(store.enqueue(&new).await, Err(EnqueueError::Busy { .. })));
    assert_eq!(store.begin(&caller, "Run", "s", [1; 32]).await.expect("it answers"), Begun::InUse);
}

#[tokio::test]
async fn a_restarted_single_server_takes_up_its_jobs_at_once() {
    let bench = Bench::sqlite().await;
    let job = run(&bench.store, &connection(&bench.store).await.id).await;
    drop(taken(&bench.store, LEASE).await);
    let store = Store::open(&bench.url).await.expect("it opens");
    assert_eq!(store.expire_leases_of_previous_run().await.expect("it answers"), 1);
    assert_eq!(store.reap(5).await.expect("it answers"), std::slice::from_ref(&job.id));
    assert_eq!(taken(&store, LEASE).await.sync.id, job.id);
}
