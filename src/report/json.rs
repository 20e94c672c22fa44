//! What every JSON document has in common.

use serde::{Serialize, Serializer};
use std::fmt::Display;

/// Raised when a key changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// The keys that every document begins with.
#[derive(Clone, Debug, Serialize)]
pub struct Document<T> {
    schema_version: u32,
    command: &'static str,
    archive: String,
    catalog_updated: Option<String>,
    #[serde(flatten)]
    answer: T,
}

impl<T: Serialize> Document<T> {
    /// A document with the answer of `command` about `archive`.
    pub fn new(command: &'static str, archive: &str, answer: T) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            command,
            archive: archive.to_owned(),
            catalog_updated: None,
            answer,
        }
    }

    /// The same of an answer from the catalog alone, which was last brought up to date then.
    #[must_use]
    pub fn as_of(self, updated: Option<String>) -> Self {
        Self { catalog_updated: updated, ..self }
    }

    /// The text of the document, with a line feed at its end.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// Serializes as the text that it displays as, `null` if there is none.
pub fn optional_text<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Serializes as the text that it displays as.
pub fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
