//! The sample that `tributary demo` syncs: the database and the documents of a
//! made-up shop for bicycles and camping gear, Fenwick Outdoor. Writing it twice
//! gives the same bytes.

mod generate;
mod words;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Searches that find something worth seeing.
pub const EXAMPLE_QUERIES: &[&str] = &[
    "waterproof two-person tent",
    "how to repair a puncture",
    "return a faulty product",
    "warm sleeping bag for winter",
    "zip of the tent is broken",
];

/// The documents, by their path in the folder.
const DOCUMENTS: &[(&str, &[u8])] = &[
    ("company/about.md", include_bytes!("../demo/documents/company/about.md")),
    ("company/meeting-notes-spring.md", include_bytes!("../demo/documents/company/meeting-notes-spring.md")),
    ("company/onboarding.md", include_bytes!("../demo/documents/company/onboarding.md")),
    ("company/workshop-safety.txt", include_bytes!("../demo/documents/company/workshop-safety.txt")),
    ("guides/bicycle-fitting.pdf", include_bytes!("../demo/documents/guides/bicycle-fitting.pdf")),
    ("guides/campfire-cooking.md", include_bytes!("../demo/documents/guides/campfire-cooking.md")),
    ("guides/chain-care.html", include_bytes!("../demo/documents/guides/chain-care.html")),
    ("guides/choosing-a-tent.md", include_bytes!("../demo/documents/guides/choosing-a-tent.md")),
    ("guides/first-bicycle-tour.md", include_bytes!("../demo/documents/guides/first-bicycle-tour.md")),
    ("guides/puncture-repair.html", include_bytes!("../demo/documents/guides/puncture-repair.html")),
    ("guides/sleeping-warm.md", include_bytes!("../demo/documents/guides/sleeping-warm.md")),
    ("guides/tent-repair-manual.docx", include_bytes!("../demo/documents/guides/tent-repair-manual.docx")),
    ("guides/waterproof-jackets.md", include_bytes!("../demo/documents/guides/waterproof-jackets.md")),
    ("guides/winter-commuting.txt", include_bytes!("../demo/documents/guides/winter-commuting.txt")),
    ("policies/privacy.html", include_bytes!("../demo/documents/policies/privacy.html")),
    ("policies/rental-terms.txt", include_bytes!("../demo/documents/policies/rental-terms.txt")),
    ("policies/returns.md", include_bytes!("../demo/documents/policies/returns.md")),
    ("policies/shipping.txt", include_bytes!("../demo/documents/policies/shipping.txt")),
    ("policies/warranty.md", include_bytes!("../demo/documents/policies/warranty.md")),
    ("products/bundle.json", include_bytes!("../demo/documents/products/bundle.json")),
    ("products/discontinued.jsonl", include_bytes!("../demo/documents/products/discontinued.jsonl")),
    ("products/size-chart.csv", include_bytes!("../demo/documents/products/size-chart.csv")),
    ("products/tent-comparison.csv", include_bytes!("../demo/documents/products/tent-comparison.csv")),
    ("reports/sales-2024.xlsx", include_bytes!("../demo/documents/reports/sales-2024.xlsx")),
    ("reports/stock_check.py", include_bytes!("../demo/documents/reports/stock_check.py")),
    ("reports/trail-cleanup.txt", include_bytes!("../demo/documents/reports/trail-cleanup.txt")),
];

/// Why the sample could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or folder.
    #[error("cannot write {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The database.
    #[error("cannot make the sample database")]
    Database(#[source] rusqlite::Error),
}

/// Writes the sample database, a SQLite file of about 4,000 rows in seven tables.
/// A file that already has these bytes is left alone.
pub fn write_database(path: &Path) -> Result<(), DemoError> {
    let draft = path.with_extension("draft");
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| DemoError::File { path, cause }
    };
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&draft)(error)),
        _ => {}
    }
    generate::database(&draft).map_err(DemoError::Database)?;
    let bytes = fs::read(&draft).map_err(at(&draft))?;
    if fs::read(path).is_ok_and(|present| present == bytes) {
        fs::remove_file(&draft).map_err(at(&draft))
    } else {
        fs::rename(&draft, path).map_err(at(path))
    }
}

/// Writes the sample documents below a folder, which is made when it is not there.
/// A file that already has its bytes is left alone.
pub fn write_documents(folder: &Path) -> Result<(), DemoError> {
    for (name, bytes) in DOCUMENTS {
        let path = folder.join(name);
        let write = || {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            if fs::read(&path).is_ok_and(|present| present == *bytes) { Ok(()) } else { fs::write(&path, bytes) }
        };
        write().map_err(|cause| DemoError::File { path: path.clone(), cause })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_the_database_twice_gives_the_same_bytes_and_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first.db"), folder.path().join("second.db"));
        write_database(&first).unwrap();
        write_database(&second).unwrap();
        assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
        let written = fs::metadata(&first).unwrap().modified().unwrap();
        write_database(&first).unwrap();
        assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_sample_has_a_few_thousand_related_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        write_database(&path).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let tables = ["suppliers", "products", "customers", "orders", "order_items", "support_tickets", "reviews"];
        let rows: i64 = tables.iter().map(|table| count(&format!("SELECT count(*) FROM {table}"))).sum();
        assert!((3_500..=4_500).contains(&rows), "{rows}");
        assert_eq!(count("SELECT count(*) FROM pragma_foreign_key_check"), 0);
        let tents = "SELECT count(*) FROM products WHERE description LIKE '%waterproof two-person tent%'";
        assert!((1..=6).contains(&count(tents)));
    }

    #[test]
    fn the_documents_are_written_and_left_alone_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        write_documents(folder.path()).unwrap();
        let tent = folder.path().join("guides/choosing-a-tent.md");
        let written = fs::metadata(&tent).unwrap().modified().unwrap();
        write_documents(folder.path()).unwrap();
        assert_eq!(fs::metadata(&tent).unwrap().modified().unwrap(), written);
        assert!(DOCUMENTS.len() >= 25);
    }
}
