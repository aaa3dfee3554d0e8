//! The comments of the protos: the descriptions of the document.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor};

/// Comments by file and place in it.
#[derive(Debug)]
pub(super) struct Comments(HashMap<(String, Vec<i32>), String>);

impl Comments {
    /// Reads them from the source information of the descriptors.
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.files() {
            let Some(info) = &file.file_descriptor_proto().source_code_info else { continue };
            for location in &info.location {
                if let Some(comment) = location.leading_comments.as_deref() {
                    comments.insert((file.name().to_owned(), location.path.clone()), paragraphs(comment));
                }
            }
        }
        Self(comments)
    }

    /// The comment at a place; empty if there is none.
    pub(super) fn get(&self, file: &FileDescriptor, path: &[i32]) -> String {
        self.0.get(&(file.name().to_owned(), path.to_vec())).cloned().unwrap_or_default()
    }

    /// The comment of a field.
    pub(super) fn field(&self, field: &FieldDescriptor) -> String {
        self.get(&field.parent_file(), field.path())
    }
}

/// Lines joined to paragraphs.
fn paragraphs(comment: &str) -> String {
    let lines: Vec<&str> = comment.lines().map(str::trim).collect();
    let paragraphs: Vec<String> = lines.split(|line| line.is_empty()).map(|lines| lines.join(" ")).collect();
    paragraphs.into_iter().filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The first sentence, without its stop.
pub(super) fn summary(comment: &str) -> String {
    let first = comment.split("\n\n").next().unwrap_or_default();
    let end = first.find(". ").unwrap_or(first.len());
    first[..end].trim_end_matches('.').to_owned()
}
