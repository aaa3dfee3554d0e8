//! Settings of a folder of documents.

use serde::Deserialize;

use crate::connectors::documents::choice::Choice;
use crate::connectors::{Field, FieldType};
use crate::error::Violation;

/// Settings of a connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// The folder.
    pub path: String,
    /// Which of its files.
    #[serde(flatten)]
    pub choice: Choice,
}

impl Config {
    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = self.choice.violations();
        if self.path.is_empty() {
            violations.push(Violation::new("config.path", "REQUIRED", "must name a folder"));
        }
        violations
    }
}

pub(super) fn fields() -> Vec<Field> {
    let mut fields = Choice::fields();
    fields.insert(
        0,
        Field {
            name: "path",
            kind: FieldType::String,
            required: true,
            title: "Folder",
            description: "Path of the folder, below a folder that the server may read",
            default: None,
        },
    );
    fields
}
