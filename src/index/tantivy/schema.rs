//! Fields of an index. A record is one or more documents, its chunks; chunk 0 is
//! the head, which alone carries the fingerprint and what is only displayed.

use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, JsonObjectOptions, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RAW_TOKENIZER_NAME, RemoveLongFilter, TextAnalyzer, TokenizerManager,
};

use crate::index::tantivy::facts::FACTS;
use crate::index::tantivy::stems::WithStems;
use crate::index::tantivy::words::Words;

/// Name of the column that says which chunk a document is.
pub(crate) const CHUNK: &str = "chunk";
/// Name of the columns of the record's key.
pub(crate) const KEY: [&str; 2] = ["key_high", "key_low"];
/// Name of the columns of the record's fingerprint.
pub(crate) const FINGERPRINT: [&str; 2] = ["fingerprint_high", "fingerprint_low"];
/// Name of the column of the connection.
pub(crate) const CONNECTION: &str = "connection";
/// Name of the column of the kind.
pub(crate) const KIND: &str = "kind";

const TOKENIZER: &str = "words_and_stems";
const LONGEST_WORD: usize = 100;

/// Handles of the fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields {
    /// Key as 16 bytes: what deletes go by and lists are ordered by.
    pub(crate) record: Field,
    /// Connection and object of a head: what manifests and counts go by.
    pub(crate) head: Field,
    pub(crate) connection: Field,
    pub(crate) kind: Field,
    pub(crate) key: [Field; 2],
    pub(crate) fingerprint: [Field; 2],
    pub(crate) chunk: Field,
    /// Words as written, and behind them their stems; see `stems.rs`.
    pub(crate) title: Field,
    pub(crate) body: Field,
    /// What filters go by; see `facts.rs`.
    pub(crate) facts: Field,
    /// The rest of the record as JSON, on the head.
    pub(crate) stored: Field,
}

/// The schema and its handles.
pub(crate) fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let text = TextOptions::default().set_indexing_options(
        TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions),
    );
    let fields = Fields {
        record: builder.add_bytes_field("record", INDEXED),
        head: builder.add_text_field("head", STRING),
        connection: builder.add_text_field(CONNECTION, STRING.set_fast(RAW_TOKENIZER_NAME)),
        kind: builder.add_text_field(KIND, TextOptions::default().set_fast(RAW_TOKENIZER_NAME)),
        key: KEY.map(|name| builder.add_u64_field(name, FAST)),
        fingerprint: FINGERPRINT.map(|name| builder.add_u64_field(name, FAST)),
        chunk: builder.add_u64_field(CHUNK, FAST),
        title: builder.add_text_field("title", text.clone()),
        body: builder.add_text_field("body", text | STORED),
        facts: builder.add_json_field(FACTS, JsonObjectOptions::default().set_fast(RAW_TOKENIZER_NAME)),
        stored: builder.add_text_field("stored", STORED),
    };
    (builder.build(), fields)
}

/// How text becomes words.
pub(crate) fn tokenizers() -> TokenizerManager {
    let tokenizers = TokenizerManager::default();
    tokenizers.register(TOKENIZER, words_and_stems());
    tokenizers
}

/// Words as written, without case and accents.
pub(crate) fn words() -> TextAnalyzer {
    TextAnalyzer::builder(Words::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}

/// The same, each followed by its stem where it has one of its own.
pub(crate) fn words_and_stems() -> TextAnalyzer {
    TextAnalyzer::builder(Words::default())
        .filter(RemoveLongFilter::limit(LONGEST_WORD))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(WithStems)
        .build()
}
