//! What a pass says while it goes on: how far each object is, which records failed,
//! and what people should know.

use super::Pass;
use crate::store::syncs::{LogLine, SyncErrorRow};
use crate::syncs::progress::Warning;

/// Error rows kept between two commits.
const PENDING_ERRORS: usize = 1_000;

impl Pass<'_> {
    /// Tells watchers how far an object is.
    pub(super) fn track(&mut self, object: &str) {
        if let Some(open) = self.open.get(object) {
            self.tracker.reached(object, open.pass.tally());
        }
    }

    /// A record that could not be taken in.
    pub(super) fn note_error(
        &mut self,
        object: &str,
        source_key: String,
        stage: &'static str,
        code: &str,
        message: String,
    ) {
        if self.errors.len() < PENDING_ERRORS {
            self.errors.push(SyncErrorRow {
                object: object.to_owned(),
                key: source_key,
                stage: stage.to_owned(),
                code: code.to_owned(),
                message,
            });
        }
    }

    /// A line for people.
    pub(super) fn say(&mut self, level: &str, message: String) {
        self.log.push(LogLine { level: level.to_owned(), message });
    }

    /// What a person should know at the end.
    pub(super) fn warn(&mut self, code: &str, message: String, object: Option<&str>, count: i64) {
        self.say(
            "warning",
            match object {
                Some(object) => format!("`{object}`: {message}"),
                None => message.clone(),
            },
        );
        self.warnings.push(Warning { code: code.to_owned(), message, object: object.map(str::to_owned), count });
    }
}
