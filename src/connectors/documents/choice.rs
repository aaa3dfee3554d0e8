//! The settings that all sources of files share: which files, how large, and at
//! which address people find them.

use serde::Deserialize;

use super::selection::Selection;
use crate::connectors::numbers;
use crate::connectors::rows::template::Template;
use crate::connectors::{Field, FieldType};
use crate::error::Violation;

const DEFAULT_SIZE: u64 = 50 * 1024 * 1024;
/// A file is held in memory while it is decoded.
const LARGEST_SIZE: u64 = 1024 * 1024 * 1024;

/// Which files, and what becomes of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Choice {
    /// Globs of files to read; none means all.
    pub include: Vec<String>,
    /// Globs of files and folders to leave out.
    pub exclude: Vec<String>,
    /// Bytes above which only name and metadata of a file are taken.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub max_file_size: Option<u64>,
    /// Template of addresses.
    pub url_template: Option<String>,
}

impl Choice {
    /// Bytes above which only name and metadata are taken.
    pub(in crate::connectors) fn size_limit(&self) -> u64 {
        self.max_file_size.unwrap_or(DEFAULT_SIZE)
    }

    /// Which files and folders are taken.
    pub(in crate::connectors) fn selection(&self) -> Selection<'_> {
        Selection::of(&self.include, &self.exclude)
    }

    /// What is wrong with it.
    pub(in crate::connectors) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if self.size_limit() > LARGEST_SIZE {
            let description = format!("must be at most {LARGEST_SIZE}");
            violations.push(Violation::new("config.maxFileSize", "INVALID_VALUE", description));
        }
        if let Err(error) = Template::compile_optional("urlTemplate", self.url_template.as_deref()) {
            violations.push(Violation::new("config.urlTemplate", "INVALID_VALUE", error.reason));
        }
        violations
    }

    /// The fields of the config.
    pub(in crate::connectors) fn fields() -> Vec<Field> {
        let field =
            |name, kind, title, description| Field { name, kind, required: false, title, description, default: None };
        let mut fields = vec![
            field(
                "include",
                FieldType::StringList,
                "Files to read",
                "Globs such as *.pdf or guides/**/*.md; all files when empty. Hidden files and links are never read",
            ),
            field("exclude", FieldType::StringList, "Files to leave out", "Globs such as drafts/** or *.tmp"),
            field(
                "maxFileSize",
                FieldType::Number,
                "Largest file",
                "Bytes above which only the name and metadata of a file are taken",
            ),
            field(
                "urlTemplate",
                FieldType::String,
                "Address",
                "Template of the address, such as https://files.example/{{ path }}",
            ),
        ];
        fields[2].default = Some(DEFAULT_SIZE.into());
        fields
    }
}
