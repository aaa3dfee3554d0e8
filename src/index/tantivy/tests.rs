//! Tests of the index on Tantivy.
