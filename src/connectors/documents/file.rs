//! The document of a file: what it holds, and what is known of it beside that.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::connectors::RecordError;
use crate::connectors::documents::formats::{self, Content};
use crate::connectors::rows::template::Template;
use crate::record::Document;

/// What is known of a file beside its content.
pub(in crate::connectors) struct File<'a> {
    /// Path within the connection, with `/`.
    pub(in crate::connectors) path: &'a str,
    pub(in crate::connectors) size: u64,
    /// Microseconds since 1970 UTC.
    pub(in crate::connectors) modified_at: Option<i64>,
}

impl File<'_> {
    /// The document; its address by the template, from the metadata.
    pub(in crate::connectors) fn document(
        &self,
        content: Content,
        url_template: Option<&str>,
    ) -> Result<Document, RecordError> {
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        let metadata = self.metadata(name, &content);
        let url = match Template::compile_optional("urlTemplate", url_template) {
            Ok(Some(template)) => Some(template.render(&Value::Object(metadata.clone()))?),
            Ok(None) => None,
            Err(error) => return Err(RecordError { code: "template_failed", message: error.reason }),
        };
        Ok(Document {
            title: content.title.filter(|title| !title.is_empty()).unwrap_or_else(|| name.to_owned()),
            body: content.body,
            url: url.filter(|url| !url.is_empty()),
            kind: "file".to_owned(),
            created_at: content.created_at,
            // What a document says itself outlives copies of its file.
            updated_at: content.updated_at.or(self.modified_at),
            metadata,
        })
    }

    fn metadata(&self, name: &str, content: &Content) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("path".to_owned(), self.path.into());
        metadata.insert("name".to_owned(), name.into());
        metadata.insert("extension".to_owned(), formats::extension(self.path).into());
        metadata.insert("size".to_owned(), self.size.into());
        metadata.insert("mediaType".to_owned(), content.media_type.as_ref().into());
        if let Some(time) = self.modified_at.and_then(DateTime::<Utc>::from_timestamp_micros) {
            metadata.insert("modifiedAt".to_owned(), time.to_rfc3339_opts(SecondsFormat::Secs, true).into());
        }
        if let Some(language) = &content.language {
            metadata.insert("language".to_owned(), language.as_ref().into());
        }
        metadata.insert("extracted".to_owned(), content.extracted.into());
        // What the file says of itself takes no place of what is known of it.
        for (name, value) in &content.metadata {
            metadata.entry(name.clone()).or_insert_with(|| value.clone());
        }
        if content.truncated {
            metadata.insert("truncated".to_owned(), true.into());
        }
        metadata
    }
}
