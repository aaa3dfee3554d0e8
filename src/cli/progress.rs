//! How far a command is: a bar on a terminal, a line now and then elsewhere, JSON
//! lines for machines. All on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
}

/// How far it is.
pub(crate) struct Progress {
    what: &'static str,
    json: bool,
    bar: ProgressBar,
    written_at: Option<Instant>,
    last: Option<(u64, u64)>,
}

impl Progress {
    /// Of what is being done, as one says it after a number: `wrapped anew`.
    pub(crate) fn new(what: &'static str, unit: Unit, json: bool) -> Self {
        let template = match unit {
            Unit::Count => "{prefix} [{bar:30}] {human_pos}/{human_len} {per_sec} eta {eta}",
            Unit::Bytes => "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} eta {eta}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let is_plain = json || !std::io::stderr().is_terminal();
        let bar = if is_plain { ProgressBar::hidden() } else { ProgressBar::no_length() };
        let bar = bar.with_style(style.progress_chars("=> ")).with_prefix(what);
        Self { what, json, bar, written_at: None, last: None }
    }

    /// So much is done.
    pub(crate) fn tell(&mut self, done: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(done);
        self.last = Some((done, total));
        let is_due = self.written_at.is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if self.bar.is_hidden() && is_due {
            self.written_at = Some(Instant::now());
            self.write(done, total);
        }
    }

    /// No more will come.
    pub(crate) fn end(&mut self) {
        self.bar.finish_and_clear();
        if let Some((done, total)) = self.last.filter(|_| self.bar.is_hidden()) {
            self.write(done, total);
        }
    }

    fn write(&self, done: u64, total: u64) {
        if self.json {
            eprintln!("{}", json!({ "event": "progress", "done": done, "total": total }));
        } else {
            eprintln!("{done} of {total} {}", self.what);
        }
    }
}
