//! Reports and objects as lines and as JSON.

use serde_json::{Value, json};

use crate::cli::say;
use crate::connectors::{ObjectKind, SourceObject};
use crate::report::{Outcome, Report, Stage, StageKind};

fn stage_name(kind: StageKind) -> &'static str {
    match kind {
        StageKind::Resolve => "resolve",
        StageKind::Connect => "connect",
        StageKind::Tls => "tls",
        StageKind::Login => "login",
        StageKind::Permission => "permission",
        StageKind::Read => "read",
        StageKind::Follow => "follow",
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    }
}

/// One line a stage.
pub(super) fn report(report: &Report) {
    for Stage { kind, outcome, object, took, code, hint } in &report.stages {
        let object = object.as_deref().map(|object| format!(" {object}")).unwrap_or_default();
        let code = code.map(|code| format!("  {code}")).unwrap_or_default();
        let hint = hint.as_deref().map(|hint| format!(": {hint}")).unwrap_or_default();
        let line = format!("{:<7} {}{object}  {} ms", outcome_name(*outcome), stage_name(*kind), took.as_millis());
        say(format_args!("{line}{code}{hint}"));
    }
}

/// The same for machines.
pub(super) fn report_as_json(report: &Report) -> Value {
    let stage = |Stage { kind, outcome, object, took, code, hint }: &Stage| {
        json!({
            "kind": stage_name(*kind),
            "outcome": outcome_name(*outcome),
            "object": object,
            "elapsedMs": took.as_millis() as u64,
            "code": code,
            "hint": hint,
        })
    };
    json!({ "passed": report.passed(), "stages": report.stages.iter().map(stage).collect::<Vec<_>>() })
}

fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "table",
        ObjectKind::Folder => "folder",
        ObjectKind::File => "file",
    }
}

/// One line an object; a star says that the config selects it.
pub(super) fn object(object: &SourceObject) {
    let SourceObject { path, kind, has_children, selected, estimated_items } = object;
    let mark = if *selected { '*' } else { ' ' };
    let deeper = if *has_children { "/" } else { "" };
    let items = estimated_items.map(|items| format!("  about {items}")).unwrap_or_default();
    say(format_args!("{mark} {:<6} {path}{deeper}{items}", kind_name(*kind)));
}

/// The same for machines.
pub(super) fn object_as_json(object: &SourceObject) -> Value {
    let SourceObject { path, kind, has_children, selected, estimated_items } = object;
    json!({
        "path": path,
        "kind": kind_name(*kind),
        "hasChildren": has_children,
        "selected": selected,
        "estimatedItems": estimated_items,
    })
}
