//! The staged report of a connection test.

use std::time::Duration;

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageKind {
    /// Name to addresses, and the addresses against the policy.
    Resolve,
    /// A connection to an address.
    Connect,
    /// TLS and the server's certificate.
    Tls,
    /// The credentials.
    Login,
    /// The right to read an object.
    Permission,
    /// One row or file of an object.
    Read,
    /// What following changes needs.
    Follow,
}

/// How a stage went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It worked.
    Ok,
    /// It did not.
    Failed,
    /// It was not tried.
    Skipped,
}

/// One stage of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What was tried.
    pub kind: StageKind,
    /// How it went.
    pub outcome: Outcome,
    /// Object concerned, for `Permission` and `Read`.
    pub object: Option<String>,
    /// Time that it took.
    pub took: Duration,
    /// Machine-readable cause of a failure, or reason to skip.
    pub code: Option<&'static str>,
    /// One line that says what to do. Holds nothing that a source sent.
    pub hint: Option<String>,
}

/// The stages in the order in which they were tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The stages.
    pub stages: Vec<Stage>,
}

impl Report {
    /// Notes a stage that worked.
    pub fn ok(&mut self, kind: StageKind, object: Option<&str>, took: Duration) {
        self.push(kind, Outcome::Ok, object, took, None, None);
    }

    /// Notes a stage that worked, with something to know about it.
    pub fn ok_with(&mut self, kind: StageKind, took: Duration, code: &'static str, hint: &str) {
        self.push(kind, Outcome::Ok, None, took, Some(code), Some(hint));
    }

    /// Notes a stage that failed, and what to do about it.
    pub fn failed(&mut self, kind: StageKind, object: Option<&str>, took: Duration, code: &'static str, hint: &str) {
        self.push(kind, Outcome::Failed, object, took, Some(code), Some(hint));
    }

    /// Notes what was not tried since something is missing that can be done
    /// without.
    pub fn skipped_with(&mut self, kind: StageKind, took: Duration, code: &'static str, hint: &str) {
        self.push(kind, Outcome::Skipped, None, took, Some(code), Some(hint));
    }

    /// Notes a stage that was not tried.
    pub fn skipped(&mut self, kind: StageKind, code: &'static str) {
        self.push(kind, Outcome::Skipped, None, Duration::ZERO, Some(code), None);
    }

    /// True when no stage failed.
    pub fn passed(&self) -> bool {
        self.first_failure().is_none()
    }

    /// The first stage that failed.
    pub fn first_failure(&self) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.outcome == Outcome::Failed)
    }

    fn push(
        &mut self,
        kind: StageKind,
        outcome: Outcome,
        object: Option<&str>,
        took: Duration,
        code: Option<&'static str>,
        hint: Option<&str>,
    ) {
        self.stages.push(Stage {
            kind,
            outcome,
            object: object.map(str::to_owned),
            took,
            code,
            hint: hint.map(str::to_owned),
        });
    }
}
