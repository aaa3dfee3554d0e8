//! What Tantivy alone takes for documents that are already made: the bound that a
//! first sync is measured against. Run by `benches/run tantivy`, or
//!
//! ```text
//! cargo bench --bench tantivy_alone -- documents.jsonl
//! ```
//!
//! where each line is `{"title": "", "body": "", "metadata": {}}`. Reading the file
//! is not in the time. The index is made in the folder that it is run in, in a
//! folder of its own that is removed again.

use std::io::{BufRead, BufReader};
use std::time::Instant;

use serde_json::Value;
use tantivy::schema::{FAST, STORED, Schema, TEXT, TantivyDocument};
use tantivy::{Index, IndexWriter};

/// As many threads, and as much memory for each, as the server's writer has.
const THREADS: usize = 2;
const BYTES: usize = 32_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds arguments of its own.
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let Some(file) = file else {
        println!("give the file of documents; `benches/run tantivy` makes one");
        return Ok(());
    };
    let mut schema = Schema::builder();
    let title = schema.add_text_field("title", TEXT | STORED);
    let body = schema.add_text_field("body", TEXT | STORED);
    let metadata = schema.add_json_field("metadata", STORED | FAST);
    let key = schema.add_u64_field("key", FAST);
    let schema = schema.build();

    let mut documents = Vec::new();
    for (number, line) in BufReader::new(std::fs::File::open(file)?).lines().enumerate() {
        let Value::Object(mut made) = serde_json::from_str(&line?)? else { return Err("a line is no object".into()) };
        let mut document = TantivyDocument::default();
        document.add_u64(key, number as u64);
        document.add_text(title, made["title"].as_str().unwrap_or_default());
        document.add_text(body, made["body"].as_str().unwrap_or_default());
        if let Some(Value::Object(members)) = made.remove("metadata") {
            document.add_object(metadata, members.into_iter().map(|(name, value)| (name, value.into())).collect());
        }
        documents.push(document);
    }

    let folder = tempfile::tempdir_in(".")?;
    let index = Index::create_in_dir(folder.path(), schema)?;
    let count = documents.len();
    let started = Instant::now();
    let mut writer: IndexWriter = index.writer_with_num_threads(THREADS, THREADS * BYTES)?;
    for document in documents {
        writer.add_document(document)?;
    }
    writer.commit()?;
    let seconds = started.elapsed().as_secs_f64();
    let found = index.reader()?.searcher().num_docs();
    assert_eq!(found, count as u64, "every document is searchable");
    println!("documents: {count}");
    println!("seconds: {seconds:.3}");
    Ok(())
}
