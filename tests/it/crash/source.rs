//! The sources: a database on the tests' PostgreSQL, a SQLite file and a folder,
//! and what an exact index of each has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::support::postgres::{self, Database};

/// What an object has: one text a record, in order.
pub type Contents = BTreeMap<String, Vec<String>>;

/// Folders of files.
const FOLDERS: [&str; 3] = [".", "a", "b"];

/// The three sources of a world.
pub struct Sources {
    /// The database server's part.
    pub database: Database,
    /// A client of it.
    pub client: tokio_postgres::Client,
    folder: PathBuf,
    sqlite: rusqlite::Connection,
    /// Columns of the SQLite tables that are left out.
    pub without_number: bool,
    next: u32,
}

impl Sources {
    /// Sources below a folder, with something in them.
    pub async fn new(folder: &Path, database: Database, rows: u32) -> Self {
        let client = database.connect().await;
        std::fs::create_dir_all(folder.join("files")).expect("a folder");
        let sqlite = rusqlite::Connection::open(folder.join("notes.db")).expect("a database file");
        let few = rows / 4;
        client
            .batch_execute(&format!(
                "CREATE TABLE keyed (id int PRIMARY KEY, name text, n int);
                 INSERT INTO keyed SELECT i, 'name ' || i, 0 FROM generate_series(1, {rows}) i;
                 CREATE TABLE pair (a int, b int, name text, n int, PRIMARY KEY (a, b));
                 INSERT INTO pair SELECT i, i % 7, 'pair ' || i, 0 FROM generate_series(1, {few}) i;
                 CREATE TABLE bare (name text, n int);
                 INSERT INTO bare SELECT 'bare ' || i / 2, 0 FROM generate_series(1, {few}) i;"
            ))
            .await
            .expect("the statements are right");
        sqlite
            .execute_batch(&format!(
                "PRAGMA synchronous = OFF;
                 CREATE TABLE notes (id INTEGER PRIMARY KEY, name TEXT, n INTEGER);
                 CREATE TABLE loose (name TEXT, n INTEGER);
                 WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {few})
                 INSERT INTO notes SELECT i, 'note ' || i, 0 FROM s;
                 INSERT INTO loose SELECT 'loose ' || id, 0 FROM notes WHERE id % 4 = 0;"
            ))
            .expect("the statements are right");
        let mut sources =
            Self { database, client, folder: folder.to_owned(), sqlite, without_number: false, next: 1_000_000 };
        for (number, folder) in (0..60).zip(FOLDERS.iter().cycle()) {
            sources.write(folder, number, "first");
        }
        sources
    }

    fn path(&self, folder: &str, number: u32) -> PathBuf {
        self.folder.join("files").join(folder).join(format!("{number}.txt"))
    }

    fn write(&mut self, folder: &str, number: u32, text: &str) {
        let path = self.path(folder, number);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
        std::fs::write(path, format!("File {number}: {text}")).expect("it can be written");
    }

    /// Body of the request that makes the connection.
    pub fn connection(&self, kind: &str, collection: &str) -> Value {
        let (config, credentials) = match kind {
            "postgresql" => (
                json!({}),
                json!({
                    "host": "127.0.0.1", "port": self.database.port, "database": self.database.name,
                    "username": postgres::USER, "password": postgres::PASSWORD,
                }),
            ),
            "sqlite" => (self.sqlite_config(), json!({})),
            "files" => (json!({"path": self.folder.join("files")}), json!({})),
            other => panic!("there is no `{other}`"),
        };
        json!({
            "collectionId": collection, "sourceShortName": kind, "name": kind, "config": config,
            "credentials": credentials,
        })
    }

    /// Config of the SQLite connection.
    pub fn sqlite_config(&self) -> Value {
        let excluded: &[&str] = if self.without_number { &["n"] } else { &[] };
        json!({"path": self.folder.join("notes.db"), "excludeColumns": excluded})
    }

    /// Statements on the PostgreSQL database.
    pub async fn execute(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    /// Statements on the SQLite file.
    pub fn execute_sqlite(&self, statements: &str) {
        self.sqlite.execute_batch(statements).expect("the statements are right");
    }

    /// Changes some of the objects at random, and says which.
    pub async fn change(&mut self, random: &mut StdRng) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for object in ["public.keyed", "public.pair", "public.bare", "notes", "loose", ".", "a", "b"] {
            if random.random_bool(0.5) {
                self.change_object(object, random).await;
                changed.insert(object.to_owned());
            }
        }
        changed
    }

    async fn change_object(&mut self, object: &str, random: &mut StdRng) {
        let new = self.next;
        self.next += 100;
        let (part, stamp) = (random.random_range(0..30), random.random_range(1..1_000_000));
        match object {
            "public.keyed" => {
                let mut statements = format!(
                    "UPDATE keyed SET n = {stamp} WHERE id % 30 = {part};
                     DELETE FROM keyed WHERE id % 61 = {part};
                     INSERT INTO keyed SELECT {new} + i, 'new ' || i, {stamp} FROM generate_series(1, 40) i;"
                );
                if random.random_bool(0.3) {
                    // As far as a transaction id tells, all of it is new.
                    statements.push_str("VACUUM FULL keyed;");
                }
                for statement in statements.split_inclusive(';') {
                    self.execute(statement).await;
                }
            }
            "public.pair" => {
                self.execute(&format!(
                    "UPDATE pair SET name = 'pair {stamp}' WHERE a % 30 = {part};
                     UPDATE pair SET a = a + {new} WHERE a % 97 = {part}
                         AND NOT EXISTS (SELECT FROM pair AS other WHERE (other.a, other.b) = (pair.a + {new}, pair.b));
                     DELETE FROM pair WHERE a % 53 = {part};
                     INSERT INTO pair SELECT {new} + 50 + i, i, 'pair', {stamp} FROM generate_series(1, 9) i
                         ON CONFLICT DO NOTHING;"
                ))
                .await;
            }
            "public.bare" => {
                // Below the brake: the table has less than the connection may lose.
                let emptied = if random.random_bool(0.3) { "TRUNCATE bare;" } else { "" };
                self.execute(&format!(
                    "UPDATE bare SET n = {stamp} WHERE ctid IN (SELECT ctid FROM bare LIMIT 9);
                     {emptied} INSERT INTO bare SELECT 'bare ' || i / 3, {stamp} % 5 FROM generate_series(1, 25) i;"
                ))
                .await;
            }
            "notes" | "loose" => self.execute_sqlite(&format!(
                "UPDATE {object} SET n = {stamp} WHERE rowid % 30 = {part};
                 DELETE FROM {object} WHERE rowid % 41 = {part};
                 INSERT INTO {object} (name, n) VALUES ('new {new}', {stamp}), ('new {new}', 1), (NULL, 2);"
            )),
            folder => {
                let numbers: Vec<u32> = self.files(folder);
                for number in numbers {
                    if number % 15 == part % 15 {
                        self.write(folder, number, &format!("changed to {stamp}"));
                    } else if number % 29 == part % 29 {
                        std::fs::remove_file(self.path(folder, number)).expect("it is there");
                    }
                }
                self.write(folder, new, "new");
                self.write(folder, new + 1, "new");
            }
        }
    }

    fn files(&self, folder: &str) -> Vec<u32> {
        let mut numbers: Vec<u32> = std::fs::read_dir(self.folder.join("files").join(folder))
            .expect("it is there")
            .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.strip_suffix(".txt")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }

    /// What an exact index of a source has.
    pub async fn expected(&self, kind: &str) -> Contents {
        match kind {
            "postgresql" => {
                let mut contents = Contents::new();
                for table in ["keyed", "pair", "bare"] {
                    let rows = self.client.query(&format!("SELECT to_jsonb(t)::text FROM {table} t"), &[]).await;
                    let rows = rows.expect("the table is there");
                    let rows = rows.iter().map(|row| text_of(&serde_json::from_str(row.get(0)).expect("JSON")));
                    contents.insert(format!("public.{table}"), rows.collect());
                }
                sorted(contents)
            }
            "sqlite" => sorted(["notes", "loose"].map(|table| (table.to_owned(), self.rows(table))).into()),
            "files" => {
                let read = |folder: &&str| {
                    let path = |number| self.path(folder, number);
                    let read = |number| std::fs::read_to_string(path(number)).expect("it is there");
                    ((*folder).to_owned(), self.files(folder).into_iter().map(read).collect())
                };
                sorted(FOLDERS.iter().map(read).collect())
            }
            other => panic!("there is no `{other}`"),
        }
    }

    fn rows(&self, table: &str) -> Vec<String> {
        let key = if table == "notes" { "id" } else { "NULL" };
        let mut statement = self.sqlite.prepare(&format!("SELECT {key}, name, n FROM {table}")).expect("the table");
        let row = |row: &rusqlite::Row<'_>| {
            let (id, name, n): (Option<i64>, Option<String>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let mut value = json!({"name": name});
            if let Some(id) = id {
                value["id"] = json!(id);
            }
            if !self.without_number {
                value["n"] = json!(n);
            }
            Ok(text_of(&value))
        };
        statement.query_map([], row).expect("rows").map(|text| text.expect("a row")).collect()
    }
}

/// What the index has, in the same form.
pub fn indexed(kind: &str, items: &BTreeMap<String, Vec<Value>>) -> Contents {
    let text = |item: &Value| match kind {
        "files" => item["content"].as_str().expect("text").trim_end().to_owned(),
        _ => text_of(&item["metadata"]),
    };
    sorted(items.iter().map(|(object, items)| (object.clone(), items.iter().map(text).collect())).collect())
}

/// Empty objects say nothing.
fn sorted(mut contents: Contents) -> Contents {
    contents.values_mut().for_each(|records| records.sort_unstable());
    contents.retain(|_, records| !records.is_empty());
    contents
}

/// The members of a row, in an order of their own.
fn text_of(row: &Value) -> String {
    let mut members: Vec<String> =
        row.as_object().expect("an object").iter().map(|(name, value)| format!("{name}={value}")).collect();
    members.sort();
    members.join(" ")
}

/// Where two contents differ, but for some objects.
pub fn differences(expected: &Contents, indexed: &Contents, but_for: &BTreeSet<String>) -> Vec<String> {
    let objects: BTreeSet<&String> = expected.keys().chain(indexed.keys()).filter(|o| !but_for.contains(*o)).collect();
    let mut differences = Vec::new();
    for object in objects {
        let (mut missing, mut surplus) = (Vec::new(), indexed.get(object).cloned().unwrap_or_default());
        for record in expected.get(object).into_iter().flatten() {
            match surplus.binary_search(record) {
                Ok(position) => drop(surplus.remove(position)),
                Err(_) => missing.push(record),
            }
        }
        if !missing.is_empty() || !surplus.is_empty() {
            differences.push(format!(
                "`{object}` lacks {} ({:?}) and has {} too many ({:?})",
                missing.len(),
                missing.first(),
                surplus.len(),
                surplus.first()
            ));
        }
    }
    differences
}
