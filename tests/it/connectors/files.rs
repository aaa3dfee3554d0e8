//! The folder source on real files of every type.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tributary::connectors::reading::{Message, Output, ReadRequest};
use tributary::connectors::{ObjectKind, ObjectPage};
use tributary::report::Report;

use super::passes::{Pass, connector, open, pass};

struct Folder {
    _folder: tempfile::TempDir,
    root: PathBuf,
    docs: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let docs = root.join("docs");
        std::fs::create_dir(&docs).unwrap();
        Self { _folder: folder, root, docs }
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.docs.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    async fn pass(&self, config: Value) -> Pass {
        let mut whole = json!({ "path": "docs" });
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let session = open("files", whole, &self.root);
        let pass = pass(&session, ReadRequest::default()).await;
        assert!(matches!(pass.outcome, Some(Ok(()))), "{:?}", pass.outcome);
        pass
    }
}

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[tokio::test]
async fn the_sample_documents_give_their_titles_and_texts() {
    let folder = Folder::new();
    tributary::demo_data::write_documents(&folder.docs).unwrap();
    let pass = folder.pass(json!({})).await;
    let objects: Vec<_> = pass.objects.iter().map(|(object, _)| object.as_str()).collect();
    assert_eq!(objects, [".", "company", "guides", "policies", "products", "reports"]);
    for (path, title, text, media_type) in [
        ("guides/choosing-a-tent.md", "Choosing a tent", "waterproof two-person tent", "text/markdown"),
        ("company/onboarding.md", "Welcome, new colleague", "charging cabinet", "text/markdown"),
        ("guides/puncture-repair.html", "How to repair a puncture", "bucket of water", "text/html"),
        ("guides/bicycle-fitting.pdf", "Bicycle fitting guide", "saddle height", "application/pdf"),
        (
            "guides/tent-repair-manual.docx",
            "Tent repair manual",
            "Pole segment 8.5 mm | Larkspur 2, Wren Solo | 6.50",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (
            "reports/sales-2024.xlsx",
            "sales-2024.xlsx",
            "Tents | 18400 | 61200",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ),
        ("products/tent-comparison.csv", "tent-comparison.csv", "tent: Larkspur 2, persons: 2", "text/csv"),
        ("products/discontinued.jsonl", "discontinued.jsonl", "replaced by: Wren Solo", "application/x-ndjson"),
        ("products/bundle.json", "Weekend bundle for two", "discount percent: 12", "application/json"),
        ("policies/shipping.txt", "shipping.txt", "Orders before 14:00", "text/plain"),
    ] {
        let document = pass.document(path.split('/').next().unwrap(), path);
        assert_eq!(document.title, title, "{path}");
        assert!(document.body.contains(text), "{path}: {}", document.body);
        assert_eq!(document.metadata["mediaType"], media_type, "{path}");
        assert_eq!(document.metadata["extracted"], true, "{path}");
        assert_eq!(document.kind, "file");
        assert!(document.updated_at.is_some() && document.url.is_none());
    }
    assert!(pass.documents.values().all(Result::is_ok));
    assert_eq!(pass.document("reports", "reports/stock_check.py").metadata["language"], "python");
    assert!(!pass.document("guides", "guides/tent-repair-manual.docx").body.contains("&amp;"));
}

#[tokio::test]
async fn unknown_types_are_sniffed_and_binary_has_only_its_name() {
    let folder = Folder::new();
    folder.write("notes", "Größe, plain");
    folder.write("old.txt", b"Gr\xf6\xdfe");
    folder.write("wide.dat", b"\xff\xfeh\0i\0");
    folder.write("photo.bin", b"\x89PNG\0\0\0");
    folder.write("empty.txt", "");
    folder.write("big.txt", "x".repeat(2_000));
    folder.write(".hidden/secret.txt", "no");
    folder.write(".env", "no");
    let pass = folder.pass(json!({ "maxFileSize": 1_000, "urlTemplate": "https://files.example/{{ path }}" })).await;
    assert_eq!(pass.keys("."), ["big.txt", "empty.txt", "notes", "old.txt", "photo.bin", "wide.dat"]);
    assert_eq!(pass.objects.len(), 1, "hidden folders are no objects");
    assert_eq!(pass.document(".", "notes").body, "Größe, plain");
    assert_eq!(pass.document(".", "old.txt").body, "Größe");
    assert_eq!(pass.document(".", "wide.dat").body, "hi");
    assert_eq!(pass.document(".", "notes").url.as_deref(), Some("https://files.example/notes"));
    for name in ["photo.bin", "big.txt"] {
        let document = pass.document(".", name);
        assert_eq!((document.title.as_str(), document.body.as_str()), (name, ""));
        assert_eq!(document.metadata["extracted"], false);
    }
}

#[tokio::test]
async fn a_changed_file_changes_its_fingerprint_and_a_deleted_one_is_not_yielded() {
    let folder = Folder::new();
    folder.write("a/one.txt", "1");
    folder.write("a/b/two.txt", "2");
    folder.write("a/b/three.txt", "3");
    let before = folder.pass(json!({})).await;
    assert_eq!(before.complete["a"], Some(3));
    folder.write("a/one.txt", "1");
    folder.write("a/b/two.txt", "changed");
    std::fs::remove_file(folder.docs.join("a/b/three.txt")).unwrap();
    let after = folder.pass(json!({})).await;
    let print = |pass: &Pass, key: &str| pass.records["a"][key].fingerprint;
    assert_eq!(print(&before, "a/one.txt"), print(&after, "a/one.txt"));
    assert_ne!(print(&before, "a/b/two.txt"), print(&after, "a/b/two.txt"));
    assert_eq!(after.keys("a"), ["a/b/two.txt", "a/one.txt"]);
    assert_eq!(after.complete["a"], Some(2));
}

#[tokio::test]
async fn a_file_that_changes_between_reading_and_decoding_is_not_taken_for_the_old_one() {
    let folder = Folder::new();
    folder.write("one.txt", "before");
    let session = open("files", json!({ "path": "docs" }), &folder.root);
    let (output, mut messages) = tributary::connectors::reading::Output::channel(16);
    session.read(ReadRequest::default(), output).await.unwrap();
    folder.write("one.txt", "after!");
    let mut refused = None;
    while let Some(message) = messages.recv().await {
        if let tributary::connectors::reading::Message::Batch(batch) = message {
            refused = session.decode(&batch.object, &*batch.shape, &batch.records[0]).err();
        }
    }
    assert_eq!(refused.expect("it is not decoded").code, "changed");
}

#[tokio::test]
async fn globs_choose_files_and_whole_folders() {
    let folder = Folder::new();
    for path in ["a/one.md", "a/two.txt", "b/deep/three.md", "drafts/four.md", "five.md"] {
        folder.write(path, "text");
    }
    let config = json!({ "include": ["*.md"], "exclude": ["drafts/**", "five.*"] });
    let chosen = folder.pass(config.clone()).await;
    assert_eq!(chosen.objects.iter().map(|(object, _)| object.as_str()).collect::<Vec<_>>(), [".", "a", "b"]);
    assert_eq!(chosen.documents.len(), 2);
    assert_eq!(chosen.keys("b"), ["b/deep/three.md"]);
    assert!(!connector("files").selects(config.as_object().unwrap(), "drafts"));
    let narrow = folder.pass(json!({ "include": ["b/**"] })).await;
    assert_eq!(narrow.objects.iter().map(|(object, _)| object.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_not_followed_and_pipes_are_not_opened() {
    let folder = Folder::new();
    folder.write("in/one.txt", "1");
    std::fs::create_dir(folder.root.join("outside")).unwrap();
    std::fs::write(folder.root.join("outside/secret.txt"), "s").unwrap();
    std::os::unix::fs::symlink(folder.root.join("outside"), folder.docs.join("out")).unwrap();
    std::os::unix::fs::symlink(folder.root.join("outside/secret.txt"), folder.docs.join("in/secret.txt")).unwrap();
    std::os::unix::fs::symlink(&folder.docs, folder.docs.join("in/loop")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.docs.join("in/pipe.txt")).status().unwrap();
    assert!(made.success());
    let pass = folder.pass(json!({})).await;
    assert_eq!(pass.documents.len(), 1);
    assert_eq!(pass.keys("in"), ["in/one.txt"]);
}

#[tokio::test]
async fn a_folder_that_was_not_read_to_its_end_proves_no_deletes() {
    let folder = Folder::new();
    folder.write("deep/one.txt", "1");
    folder.write(&format!("deep/{}two.txt", "d/".repeat(70)), "2");
    folder.write("flat/three.txt", "3");
    let pass = folder.pass(json!({})).await;
    assert_eq!(pass.failed.get("deep"), Some(&"unreadable"));
    assert_eq!(pass.keys("deep"), ["deep/one.txt"], "what can be read is read");
    assert_eq!(pass.complete.get("flat"), Some(&Some(1)));
    assert!(!pass.complete.contains_key("deep"));
}

/// As when a share is unmounted: what was listed is gone all at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_goes_away_while_it_is_read_proves_no_deletes() {
    let folder = Folder::new();
    for path in ["a/one.txt", "b/two.txt", "c/d/three.txt"] {
        folder.write(path, "text");
    }
    let session = open("files", json!({ "path": "docs" }), &folder.root);
    let (output, mut messages) = Output::channel(1);
    let reading = tokio::spawn(async move { session.read(ReadRequest::default(), output).await });
    let mut ended = Vec::new();
    while let Some(message) = messages.recv().await {
        match message {
            // The reader comes no further than the second message from here.
            Message::Objects(objects) => {
                assert_eq!(objects.len(), 4);
                std::fs::rename(&folder.docs, folder.root.join("elsewhere")).unwrap();
            }
            Message::Complete { object, .. } => ended.push((object, true)),
            Message::Failed { object, .. } => ended.push((object, false)),
            _ => {}
        }
    }
    drop(reading.await.unwrap());
    let complete: Vec<_> = ended.iter().filter(|(object, complete)| *complete && **object != *".").collect();
    assert!(complete.is_empty() && ended.len() == 4, "{ended:?}");
}

#[tokio::test]
async fn folders_outside_the_roots_are_refused() {
    let folder = Folder::new();
    for (path, code) in [("../outside", "invalid_path"), ("/etc", "outside_roots"), ("none", "not_found")] {
        let session = open("files", json!({ "path": path }), &folder.docs);
        let mut report = Report::default();
        assert!(session.check(&mut report).await.is_err(), "{path}");
        assert_eq!(report.first_failure().unwrap().code, Some(code), "{path}");
        let reading = pass(&session, ReadRequest::default()).await;
        assert!(reading.outcome.unwrap().is_err() && reading.objects.is_empty(), "{path}");
        assert!(session.discover(None, ObjectPage { after: None, limit: 10 }).await.is_err(), "{path}");
    }
    let session = open("files", json!({ "path": "docs" }), &folder.root);
    assert!(session.discover(Some("../.."), ObjectPage { after: None, limit: 10 }).await.is_err());
}

#[tokio::test]
async fn folders_are_discovered_level_by_level() {
    let folder = Folder::new();
    for path in ["a/one.md", "a/b/two.md", "c.txt"] {
        folder.write(path, "text");
    }
    let session = open("files", json!({ "path": "docs", "include": ["*.md"] }), &folder.root);
    let page = ObjectPage { after: None, limit: 10 };
    let top = session.discover(None, page).await.unwrap();
    let seen: Vec<_> = top.iter().map(|object| (object.path.as_str(), object.kind, object.selected)).collect();
    assert_eq!(seen, [("a", ObjectKind::Folder, true), ("c.txt", ObjectKind::File, false)]);
    let below = session.discover(Some("a"), page).await.unwrap();
    assert_eq!(below.iter().map(|object| object.path.as_str()).collect::<Vec<_>>(), ["a/b", "a/one.md"]);
    let mut report = Report::default();
    session.check(&mut report).await.unwrap();
    assert!(report.passed());
}

fn worksheet(cells: &str) -> Vec<u8> {
    let book = r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>"#;
    let links = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
    let package = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
    let sheet = format!(
        r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{cells}</sheetData></worksheet>"#
    );
    zipped(&[
        ("_rels/.rels", package.as_bytes()),
        ("xl/workbook.xml", book.as_bytes()),
        ("xl/_rels/workbook.xml.rels", links.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
    ])
}

#[tokio::test]
async fn broken_encrypted_and_hostile_files_cost_their_own_record_only() {
    let folder = Folder::new();
    let bomb = vec![b' '; 300 * 1024 * 1024 / 8];
    let compound = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/documents/guides/bicycle-fitting.pdf");
    let pdf = std::fs::read(sample).unwrap();
    let nested = format!("%PDF-1.4\n1 0 obj\n{}\nendobj\n", "[".repeat(200_000));
    folder.write("broken.pdf", "%PDF-1.4 and then nothing of use");
    folder.write("cut.pdf", &pdf[..pdf.len() / 3]);
    folder.write("nested.pdf", nested);
    folder.write("broken.docx", "PK no zip");
    folder.write("empty.docx", zipped(&[("other.xml", b"<a/>")]));
    folder.write("bomb.docx", zipped(&[("word/document.xml", &bomb)]));
    folder.write("bomb.xlsx", zipped(&[("xl/workbook.xml", b"<a/>"), ("xl/media/x", &bomb)]));
    folder.write("locked.docx", compound);
    folder.write("locked.xlsx", compound);
    folder.write(
        "sparse.xlsx",
        worksheet(r#"<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>"#),
    );
    folder.write("deep.json", "[".repeat(100_000));
    folder.write("good.txt", "fine");
    let pass = folder.pass(json!({})).await;
    for (name, code) in [
        ("broken.pdf", "unparsable"),
        ("broken.docx", "unparsable"),
        ("empty.docx", "unparsable"),
        ("bomb.docx", "too_large"),
        ("bomb.xlsx", "too_large"),
        ("locked.docx", "encrypted"),
        ("locked.xlsx", "encrypted"),
        ("nested.pdf", "unparsable"),
        ("cut.pdf", "unparsable"),
    ] {
        assert_eq!(pass.refusal(".", name), code, "{name}");
    }
    assert_eq!(pass.document(".", "sparse.xlsx").body, "S\n1\n2\n");
    assert!(pass.document(".", "deep.json").body.starts_with("[[["));
    assert_eq!(pass.document(".", "good.txt").body, "fine");
    assert_eq!(pass.complete["."], Some(12));
}

#[tokio::test]
async fn a_pdf_with_a_password_is_said_to_be_encrypted() {
    use lopdf::{EncryptionState, EncryptionVersion, Object, Permissions, StringFormat};
    let folder = Folder::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/documents/guides/bicycle-fitting.pdf");
    let mut document = lopdf::Document::load(sample).unwrap();
    let id = || Object::String(b"0123456789abcdef".to_vec(), StringFormat::Literal);
    document.trailer.set("ID", Object::Array(vec![id(), id()]));
    let version = EncryptionVersion::V2 {
        document: &document,
        owner_password: "owner",
        user_password: "user",
        key_length: 128,
        permissions: Permissions::all(),
    };
    let state = EncryptionState::try_from(version).unwrap();
    document.encrypt(&state).unwrap();
    document.save(folder.docs.join("locked.pdf")).unwrap();
    let pass = folder.pass(json!({})).await;
    assert_eq!(pass.refusal(".", "locked.pdf"), "encrypted");
}
