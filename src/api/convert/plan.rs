//! What a sync would do.

use crate::proto::v1;
use crate::syncs::plan::{Plan, PlannedChange, PlannedItem, PlannedObject};

/// Most objects that an answer lists; all are counted.
const LISTED_OBJECTS: usize = 1_000;

/// A plan.
pub fn planned(plan: Plan) -> v1::PlanSyncResponse {
    let (tally, to_delete, out_of_scope) = (plan.tally(), plan.to_delete(), plan.out_of_scope());
    let Plan { objects, samples, complete, would_hold } = plan;
    v1::PlanSyncResponse {
        items_to_insert: tally.inserted,
        items_to_update: tally.updated,
        items_to_delete: count(to_delete),
        items_unchanged: tally.unchanged,
        complete,
        deletions_would_be_held: would_hold,
        items_out_of_scope: count(out_of_scope),
        items_failing: tally.failed,
        objects: objects.into_iter().take(LISTED_OBJECTS).map(object).collect(),
        samples: samples.into_iter().map(item).collect(),
    }
}

fn object(object: PlannedObject) -> v1::PlannedObject {
    let PlannedObject { path, tally, to_delete, out_of_scope, complete } = object;
    v1::PlannedObject {
        path: path.to_string(),
        items_to_insert: tally.inserted,
        items_to_update: tally.updated,
        items_to_delete: count(to_delete),
        items_unchanged: tally.unchanged,
        items_failing: tally.failed,
        complete,
        out_of_scope,
    }
}

fn item(item: PlannedItem) -> v1::PlannedItem {
    use v1::planned_item::Change;
    let PlannedItem { change, object, source_key, title, changed_fields } = item;
    let change = match change {
        PlannedChange::Insert => Change::Insert,
        PlannedChange::Update => Change::Update,
        PlannedChange::Delete => Change::Delete,
    };
    v1::PlannedItem { change: change.into(), object, source_key, title, changed_fields }
}

fn count(items: u64) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}
