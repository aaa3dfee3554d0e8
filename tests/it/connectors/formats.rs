//! Each format of documents, through the folder source and its parsing processes.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use tributary::connectors::reading::ReadRequest;
use tributary::record::Document;

use super::passes::{Pass, open, pass};

struct Folder {
    root: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.root.path().join(name), content).unwrap();
    }

    /// A file of the corpus, under another name.
    fn copy(&self, file: &str, name: &str) {
        self.write(name, std::fs::read(corpus(file)).unwrap());
    }

    async fn pass(&self) -> Pass {
        let root = self.root.path().canonicalize().unwrap();
        let session = open("files", json!({ "path": root }), &root);
        let pass = pass(&session, ReadRequest::default()).await;
        assert!(matches!(pass.outcome, Some(Ok(()))), "{:?}", pass.outcome);
        pass
    }
}

fn corpus(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file)
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

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Marks the entries of a zip archive as encrypted, in both of their heads.
fn locked(mut archive: Vec<u8>) -> Vec<u8> {
    for (mark, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let places: Vec<_> = (0..archive.len() - 4).filter(|at| archive[*at..].starts_with(mark)).collect();
        places.into_iter().for_each(|at| archive[at + flags] |= 1);
    }
    archive
}

fn assert_has(document: &Document, title: &str, lines: &[&str]) {
    assert_eq!(document.title, title, "{}", document.body);
    let mut rest = document.body.as_str();
    for line in lines {
        let place = rest.find(line).unwrap_or_else(|| panic!("{title}: no {line:?}, in order, in:\n{}", document.body));
        rest = &rest[place + line.len()..];
    }
}

const MARCH: i64 = 1_709_287_200_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn each_format_gives_its_title_text_and_times() {
    let folder = Folder::new();
    for (file, name) in [
        ("pptx/workshop.pptx", "a.pptx"),
        ("opendocument/care.odt", "a.odt"),
        ("opendocument/stock.ods", "a.ods"),
        ("opendocument/welcome.odp", "a.odp"),
        ("epub/guide.epub", "a.epub"),
        ("rtf/care.rtf", "a.rtf"),
        ("xls/sales.xls", "a.xls"),
        ("calendar/workshop.ics", "a.ics"),
        ("cards/people.vcf", "a.vcf"),
        ("xml/feed.xml", "a.xml"),
        ("xml/map.svg", "a.svg"),
        ("notebook/sales.ipynb", "a.ipynb"),
        ("subtitles/care.vtt", "a.vtt"),
    ] {
        folder.copy(file, name);
    }
    let pass = folder.pass().await;
    let document = |name: &str| pass.document(".", name);
    let slides = document("a.pptx");
    let shown = [
        "Tent care & repair",
        "Workshop notes",
        "Inserted in between",
        "Prices",
        "Pole | 6.50",
        "Mention the discount.",
    ];
    assert_has(slides, "Tent workshop", &shown);
    assert_eq!((slides.created_at, slides.updated_at), (Some(MARCH), Some(MARCH + 86_400_000_000)));
    assert_eq!(slides.metadata["author"], "Ada");
    assert_has(document("a.odt"), "Bicycle care", &["Chains", "Clean it weekly", "Or after rain.", "Oil | 4.20"]);
    assert_eq!(document("a.odt").created_at, Some(MARCH));
    assert_has(document("a.ods"), "a.ods", &["Stock\nTent | 3\nStove | 12\n"]);
    assert_has(document("a.odp"), "a.odp", &["Welcome"]);
    assert_has(document("a.epub"), "Field guide", &["First", "Poles & ropes.", "Second", "Pegs."]);
    assert_eq!(document("a.epub").updated_at, Some(MARCH + 86_400_000_000));
    let rich = ["Clean the burner every über week.\nПривет\n€12—15 each\nPump | 9.50\nOr later."];
    assert_has(document("a.rtf"), "Stove care", &rich);
    assert_has(document("a.xls"), "a.xls", &["Sales\nTents | 18400\nStoves | 61200.5\nGröße | ß\n2024-03-01"]);
    assert_has(
        document("a.ics"),
        "Workshops",
        &[
            "Tent, repair\nStart: 2024-03-01T10:00:00",
            "Location: Workshop",
            "Ada <ada@example.org>",
            "Bring\nthe poles",
            "Buy pegs",
        ],
    );
    assert_has(
        document("a.vcf"),
        "a.vcf",
        &["Ada Lovelace", "Tents, Repairs", "ada@example.org", "Berlin", "Likes, poles", "Grace"],
    );
    assert!(!document("a.vcf").body.contains("iVBOR"), "pictures are no text");
    assert_has(document("a.xml"), "News & more", &["One\nAll <b>new</b>\n"]);
    assert_has(document("a.svg"), "Map", &["Ten steps north"]);
    assert_has(document("a.ipynb"), "Sales", &["by month", "print(1)", "<Figure>"]);
    assert_has(document("a.vtt"), "a.vtt", &["Dry the tent.\n"]);
    for (key, document) in &pass.documents {
        let document = document.as_ref().unwrap();
        assert_eq!(document.metadata["extracted"], true, "{key:?}");
        assert_ne!(document.metadata["mediaType"], "application/octet-stream", "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_give_the_same_rows_whatever_packs_them() {
    let folder = Folder::new();
    for codec in ["none", "snappy", "zstd"] {
        folder.copy(&format!("parquet/stock-{codec}.parquet"), &format!("{codec}.parquet"));
    }
    folder.copy("parquet/nanoseconds.parquet", "nanoseconds.parquet");
    for codec in ["null", "deflate", "zstandard", "snappy"] {
        folder.copy(&format!("avro/stock-{codec}.avro"), &format!("{codec}.avro"));
    }
    let pass = folder.pass().await;
    let first = "name: Stove, price: 12.50, on: 2024-03-01, at: 2024-03-01T10:00:00Z, tags: a, tags: b, ";
    for (name, rest) in [
        ("none.parquet", "size.mm: 3.5\nname: Größe, price: -0.05, n: 7\n"),
        ("null.avro", "more.x: 1, more.y: 2.5, kind: B\nname: Tent"),
    ] {
        assert_has(pass.document(".", name), name, &[&format!("{first}{rest}")]);
    }
    assert_eq!(pass.document(".", "nanoseconds.parquet").body, "at: 2024-03-01T10:00:00Z\n");
    for name in ["snappy.parquet", "zstd.parquet"] {
        assert_eq!(pass.document(".", name).body, pass.document(".", "none.parquet").body, "{name}");
    }
    for name in ["deflate.avro", "zstandard.avro", "snappy.avro"] {
        assert_eq!(pass.document(".", name).body, pass.document(".", "null.avro").body, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_one_document_with_their_members() {
    let folder = Folder::new();
    for (file, name) in [
        ("archive/parts.zip", "parts.zip"),
        ("archive/parts.tar", "parts.tar"),
        ("archive/parts.tar.gz", "parts.tgz"),
        ("archive/parts.tar.zst", "parts.tar.zst"),
        ("archive/note.txt.gz", "note.txt.gz"),
    ] {
        folder.copy(file, name);
    }
    let inner = zipped(&[("three.zip", &zipped(&[("four.txt", b"too deep")]))]);
    folder.write("nested.zip", zipped(&[("two.zip", &inner)]));
    folder.write("locked.zip", locked(zipped(&[("secret.txt", b"hidden")])));
    let pass = folder.pass().await;
    for name in ["parts.zip", "parts.tar", "parts.tgz", "parts.tar.zst"] {
        let lines = [
            "readme.md\n# Parts\n\nAll poles.\n",
            "docs/list.csv\nname: Pole, price: 6.50\n",
            "logo.png\n",
            "more.zip\ninner.txt\ndeep down\n",
        ];
        assert_has(pass.document(".", name), name, &lines);
    }
    let tape = &pass.document(".", "parts.tgz").body;
    assert!(tape.contains("/long.txt\nlong name\n") && !tape.contains("passwd"), "{tape}");
    assert_eq!(pass.document(".", "note.txt.gz").body, "compressed words");
    let nested = &pass.document(".", "nested.zip").body;
    assert!(nested.contains("two.zip\nthree.zip\n") && !nested.contains("too deep"), "{nested}");
    assert_eq!(pass.refusal(".", "locked.zip"), "encrypted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_is_is_told_by_its_bytes() {
    let folder = Folder::new();
    folder.copy("pptx/workshop.pptx", "slides.bin");
    folder.copy("rtf/care.rtf", "care.doc");
    folder.copy("xls/sales.xls", "sales.xlsx");
    folder.copy("opendocument/care.odt", "care.docx");
    folder.copy("parquet/stock-none.parquet", "stock.txt");
    folder.write("page.xls", "<html><body><table><tr><td>one<td>two</table></body></html>");
    folder.write("page", "<!DOCTYPE html><title>T</title><p>text</p>");
    folder.write("plain.pptx", "no slides");
    folder.write("picture.docx", b"\x89PNG\r\n\x1a\n\0\0");
    folder.write("cut.gz", &gzipped(b"a text that is cut before its end")[..20]);
    let pass = folder.pass().await;
    assert_has(pass.document(".", "slides.bin"), "Tent workshop", &["Prices"]);
    assert_has(pass.document(".", "care.doc"), "Stove care", &["burner"]);
    assert_has(pass.document(".", "sales.xlsx"), "sales.xlsx", &["Tents | 18400"]);
    assert_has(pass.document(".", "care.docx"), "Bicycle care", &["Chains"]);
    assert_has(pass.document(".", "stock.txt"), "stock.txt", &["name: Stove"]);
    assert_has(pass.document(".", "page.xls"), "page.xls", &["one"]);
    assert_has(pass.document(".", "page"), "T", &["text"]);
    for name in ["plain.pptx", "picture.docx", "cut.gz"] {
        assert_eq!(pass.refusal(".", name), "unparsable", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn word_documents_give_notes_comments_headers_and_times() {
    let folder = Folder::new();
    let paragraph = |text: &str| format!("<w:p><w:r><w:t>{text}</w:t></w:r></w:p>");
    let part = |name: &str, inner: String| format!("<w:{name}>{inner}</w:{name}>").into_bytes();
    let box_of = |text: &str| {
        format!(
            "<w:p><mc:AlternateContent><mc:Choice><w:t>{text}</w:t></mc:Choice><mc:Fallback><w:t>{text}</w:t></mc:Fallback></mc:AlternateContent></w:p>"
        )
    };
    folder.write(
        "a.docx",
        zipped(&[
            ("_rels/.rels", br#"<Relationships><Relationship Id="1" Type="x/officeDocument" Target="/word/main.xml"/></Relationships>"#),
            ("word/main.xml", &part("document", format!("{}{}", paragraph("The body"), box_of("In a box")))),
            ("word/footnotes.xml", &part("footnotes", paragraph("A footnote"))),
            ("word/comments.xml", format!("<w:comments><w:comment w:author=\"Ada\">{}</w:comment></w:comments>", paragraph("Really?")).as_bytes()),
            ("word/header1.xml", &part("hdr", paragraph("The header"))),
            ("word/header2.xml", &part("hdr", paragraph("The header"))),
            ("word/footer1.xml", &part("ftr", paragraph("The footer"))),
            ("docProps/core.xml", b"<c><title>Named</title><created>2024-03-01T10:00:00Z</created></c>"),
        ]),
    );
    let pass = folder.pass().await;
    let document = pass.document(".", "a.docx");
    assert_eq!(document.title, "Named");
    assert_eq!(document.body, "The body\nIn a box\nA footnote\nAda: Really?\nThe header\nThe footer\n");
    assert_eq!(document.created_at, Some(MARCH));
}
