//! Documents made to break what parses them: each costs its own record.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::{Map, Value, json};
use tributary::connectors::Resources;
use tributary::connectors::documents::isolation::Parsers;
use tributary::connectors::erased::Session;
use tributary::connectors::reading::ReadRequest;
use tributary::egress::{Dialer, Policy, Timeouts};

use super::service::Service;
use crate::connectors::passes::{connector, pass};

fn zipped(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, content) in entries {
        writer.start_file(*name, options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn word(xml: &str) -> Vec<u8> {
    zipped(&[("word/document.xml", xml.as_bytes())])
}

/// A PDF of these objects, the first of which is its catalogue.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"%PDF-1.5\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(out.len());
        out.extend(format!("{} 0 obj\n", number + 1).bytes());
        out.extend(object);
        out.extend(b"\nendobj\n");
    }
    let table = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for place in places {
        out.extend(format!("{place:010} 00000 n \n").bytes());
    }
    let trailer = format!("trailer\n<</Size {}/Root 1 0 R>>\nstartxref\n{table}\n%%EOF", objects.len() + 1);
    out.extend(trailer.bytes());
    out
}

/// A stream that expands to this text, so many times.
pub(super) fn stream(text: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..times {
        encoder.write_all(text).unwrap();
    }
    let packed = encoder.finish().unwrap();
    [format!("<</Length {}/Filter/FlateDecode>>stream\n", packed.len()).as_bytes(), &packed, b"\nendstream"].concat()
}

/// Many pages, each with the same contents.
pub(super) fn pages(number: usize, contents: Vec<u8>) -> Vec<u8> {
    let kids: String = (0..number).map(|page| format!("{} 0 R ", page + 4)).collect();
    let mut objects = vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        format!("<</Type/Pages/Count {number}/Kids[{kids}]>>").into_bytes(),
        contents,
    ];
    objects.extend((0..number).map(|_| b"<</Type/Page/Parent 2 0 R/Contents 3 0 R/Resources<<>>>>".to_vec()));
    pdf(&objects)
}

/// Name and content of files that mean harm. Each is small; what it would become
/// is not.
pub(super) fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let laughs = {
        let mut dtd = "<!DOCTYPE d [<!ENTITY a0 \"ha\">".to_owned();
        for level in 1..30 {
            dtd.push_str(&format!("<!ENTITY a{level} \"{}\">", format!("&a{};", level - 1).repeat(10)));
        }
        format!("<?xml version=\"1.0\"?>{dtd}]><w:document><w:p><w:t>&a29;</w:t></w:p></w:document>")
    };
    let outside = "<?xml version=\"1.0\"?><!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>\
                   <w:document><w:p><w:t>&x;</w:t></w:p></w:document>";
    let spaces = vec![b' '; 8 << 20];
    let mut lying = word("<w:document/>");
    let place = lying.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    lying[place + 20..place + 28].fill(0xff);
    let names: Vec<String> = (0..6_000).map(|number| format!("xl/{number}")).collect();
    let many = zipped(&names.iter().map(|name| (name.as_str(), &b""[..])).collect::<Vec<_>>());
    let members: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    let many_members = zipped(&members.iter().map(|name| (name.as_str(), &b"x"[..])).collect::<Vec<_>>());
    let bombs = again(&zipped(&[("a.txt", &spaces[..3 << 20])]), 100);
    let tag = "<div><span>".repeat(400_000);
    vec![
        ("bomb.docx", zipped(&[("word/document.xml", &spaces)])),
        ("bomb-inside.docx", zipped(&[("word/document.xml", &zipped(&[("x", &spaces)]))])),
        ("laughs.docx", word(&laughs)),
        ("outside.docx", word(outside)),
        ("deep.docx", word(&"<w:p><w:tc>".repeat(200_000))),
        ("attributes.docx", word(&format!("<w:p {}/>", "a=\"b\" ".repeat(200_000)))),
        ("unclosed.docx", word(&format!("<w:t>{}", "<![CDATA[".repeat(100_000)))),
        ("lying.docx", lying),
        (
            "paths.docx",
            zipped(&[
                ("../../../../tmp/tributary-was-here", b"x"),
                ("/tmp/tributary-was-here", b"x"),
                ("..\\..\\tributary-was-here", b"x"),
                ("word/../word/document.xml", b"<a/>"),
            ]),
        ),
        ("many.xlsx", many),
        ("bomb.xlsx", zipped(&[("xl/workbook.xml", b"<a/>"), ("xl/sharedStrings.xml", &spaces)])),
        ("tree-in-a-circle.pdf", pdf(&[b"<</Type/Catalog/Pages 2 0 R>>".to_vec(), b"<</Type/Pages/Count 1/Kids[2 0 R 2 0 R]>>".to_vec()])),
        ("contents-in-a-circle.pdf", pages(1, b"[3 0 R 3 0 R]".to_vec())),
        ("length-in-a-circle.pdf", pages(1, b"<</Length 3 0 R>>stream\nx\nendstream".to_vec())),
        ("deep.pdf", pages(1, [vec![b'['; 300_000], vec![b']'; 300_000]].concat())),
        ("bomb.pdf", pages(1, stream(&[b' '; 1 << 20], 40))),
        ("numbers.pdf", pages(1, stream(b"999999999999999999999 -0.00000001 1e400 ", 100_000))),
        ("xref.pdf", b"%PDF-1.5\nxref\n0 4294967295\n0000000000 65535 f \ntrailer\n<</Size 4294967295/Prev 9/Root 1 0 R>>\nstartxref\n9\n%%EOF".to_vec()),
        ("wide.html", tag.clone().into_bytes()),
        ("table.html", format!("<table>{}", "<tr><td colspan=999999999 rowspan=999999999>x".repeat(2_000)).into_bytes()),
        ("nested-tables.html", "<table><tr><td>".repeat(150).into_bytes()),
        ("many-attributes.html", format!("<a {}>", "x ".repeat(300_000)).into_bytes()),
        ("deep.json", "[".repeat(500_000).into_bytes()),
        ("wide.json", format!("[{}0]", "[],".repeat(500_000)).into_bytes()),
        ("keys.json", format!("{}1{}", "{\"k\":".repeat(120), "}".repeat(120)).into_bytes()),
        ("number.json", format!("[{}]", "9".repeat(1_000_000)).into_bytes()),
        ("wide.csv", format!("{}\n{}\n", "column,".repeat(100_000), "1,".repeat(100_000)).into_bytes()),
        ("quote.csv", format!("a,b\n\"{}", "x".repeat(1_000_000)).into_bytes()),
        ("bomb.zip", zipped(&[("a.txt", &spaces)])),
        ("bomb.tar.gz", gzipped(&tape("a.txt", 8 << 20, &spaces))),
        ("bomb.gz", gzipped(&spaces)),
        ("bomb.zst", zstandard(64 << 20)),
        ("many-bombs.zip", bombs),
        ("lying.tar", tape("a.txt", u64::MAX >> 2, b"x")),
        ("long-name.tar", tape("././@LongLink", 1 << 40, b"x")),
        ("in-itself.gz", gzipped(&gzipped(&gzipped(&gzipped(b"x"))))),
        ("places.zip", zipped(&[("../../../../tmp/tributary-was-here", b"x"), ("/tmp/tributary-was-here", b"x"), ("a\0b\x1b[2J", b"x")])),
        ("members.zip", many_members),
        ("laughs.xml", laughs.clone().into_bytes()),
        ("laughs.pptx", zipped(&[("ppt/presentation.xml", laughs.as_bytes())])),
        ("laughs.odt", odt(&laughs)),
        ("deep.odt", odt(&"<text:p><table:table-cell>".repeat(200_000))),
        ("deep.xml", "<a>".repeat(500_000).into_bytes()),
        ("attributes.xml", format!("<a {}/>", "x=\"y\" ".repeat(200_000)).into_bytes()),
        ("slides.pptx", zipped(&[("ppt/presentation.xml", format!("<p>{}</p>", "<p:sldId r:id=\"1\"/>".repeat(100_000)).as_bytes()),
            ("ppt/_rels/presentation.xml.rels", br#"<r><Relationship Id="1" Type="a/slide" Target="slide.xml"/></r>"#),
            ("ppt/slide.xml", format!("<a:p><a:t>{}</a:t></a:p>", "x".repeat(100_000)).as_bytes())])),
        ("circle.epub", zipped(&[("mimetype", b"application/epub+zip"), ("META-INF/container.xml", br#"<a><rootfile full-path="META-INF/container.xml"/></a>"#)])),
        ("deep.rtf", format!("{{\\rtf1 {}", "{".repeat(2_000_000)).into_bytes()),
        ("binary.rtf", b"{\\rtf1 \\bin4294967295 \\u-2147483648 \\uc99999 x".to_vec()),
        ("circle.xls", compound(&[0xffff_fffd, 1])),
        ("far.xls", far_cells()),
        ("length.parquet", [&b"PAR1"[..], &[0x15; 64], &0x7fff_ffff_u32.to_le_bytes(), b"PAR1"].concat()),
        ("deep.parquet", [b"PAR1", &[0x1c; 200_000][..], &200_000_u32.to_le_bytes(), b"PAR1"].concat()),
        ("blocks.avro", avro("{\"type\":\"array\",\"items\":\"null\"}", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
        ("circle.avro", avro("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}", b"")),
        ("long.avro", avro("\"string\"", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
        ("deep.avro", avro(&"{\"type\":\"array\",\"items\":".repeat(50_000), b"\x02")),
        ("open.ics", "BEGIN:VEVENT\r\n".repeat(100_000).into_bytes()),
        ("parameters.ics", format!("BEGIN:VCALENDAR\r\nX{}:y\r\n", ";A=b".repeat(300_000)).into_bytes()),
        ("folded.vcf", format!("BEGIN:VCARD\r\nFN:{}", "a\r\n ".repeat(500_000)).into_bytes()),
        ("outputs.ipynb", format!("{{\"cells\":[{}0]}}", "{\"source\":[\"x\"]},".repeat(100_000)).into_bytes()),
        ("surrogates.txt", [&b"\xff\xfe"[..], &b"\x00\xd8".repeat(100_000)].concat()),
        ("escape.md", b"# \x1b]0;title\x07\n\x1b[2J\n".to_vec()),
    ]
}

/// The first member of an archive so many times.
fn again(archive: &[u8], times: usize) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for number in 0..times {
        writer.raw_copy_file_rename(archive.by_index_raw(0).unwrap(), format!("{number}.txt")).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(spaces: usize) -> Vec<u8> {
    zstd::encode_all(&vec![b' '; spaces][..], 1).unwrap()
}

/// A tape archive with one member, of which the head says this length.
fn tape(name: &str, length: u64, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(length);
    if name.starts_with("././") {
        header.set_entry_type(tar::EntryType::GNULongName);
    }
    header.set_cksum();
    [header.as_bytes(), content].concat()
}

fn odt(xml: &str) -> Vec<u8> {
    let media_type = b"application/vnd.oasis.opendocument.text";
    zipped(&[("mimetype", media_type), ("content.xml", xml.as_bytes())])
}

/// A compound file of which one table says which sector follows which.
fn compound(follows: &[u32]) -> Vec<u8> {
    let mut file = vec![0; 512 * 4];
    file[..8].copy_from_slice(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1");
    file[30] = 9;
    file[48] = 1;
    file[68..72].fill(0xff);
    file[76..512].fill(0xff);
    file[76..80].fill(0);
    file[512..1024].fill(0xff);
    for (index, next) in follows.iter().enumerate() {
        file[512 + index * 4..516 + index * 4].copy_from_slice(&next.to_le_bytes());
    }
    file
}

/// A workbook with a cell in the first place of its sheet and one in the last.
fn far_cells() -> Vec<u8> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/xls/sales.xls");
    let mut file = std::fs::read(sample).unwrap();
    let label = file.windows(4).position(|window| window == [0xfd, 0, 10, 0]).expect("it has a cell with text");
    file[label + 4..label + 8].fill(0xff);
    file
}

/// A container of one row.
fn avro(schema: &str, block: &[u8]) -> Vec<u8> {
    let number = |number: usize| {
        let mut number = (number as u64) << 1;
        let mut bytes = Vec::new();
        while number > 0x7f {
            bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    };
    let mut file = b"Obj\x01\x02\x16avro.schema".to_vec();
    file.extend(number(schema.len()));
    file.extend(schema.bytes());
    file.push(0);
    file.extend([7; 16]);
    file.push(2);
    file.extend(number(block.len()));
    file.extend(block);
    file.extend([7; 16]);
    file
}

fn session(root: &Path, parsers: Parsers) -> Arc<dyn Session> {
    let connector = connector("files");
    let config: Map<String, Value> = json!({"path": root}).as_object().unwrap().clone();
    let config = connector.config(&config).expect("a valid config");
    let dialer = Arc::new(Dialer::new(Policy::default(), Timeouts::default()));
    let resources = Resources { dialer, file_roots: Arc::from([root.to_owned()]), parsers: Arc::new(parsers) };
    connector.open(Map::new(), config, resources).expect("a session")
}

fn parsers() -> Parsers {
    Parsers::by(env!("CARGO_BIN_EXE_tributary").into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_never_ends_costs_itself_and_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    // Each page expands to four megabytes of operators, of which nothing is text.
    std::fs::write(root.join("endless.pdf"), pages(2_000, stream(b"q Q 0 0 m 1 1 l S ", 200_000))).unwrap();
    for name in ["a.txt", "b.txt", "y.txt", "z.txt"] {
        std::fs::write(root.join(name), "fine").unwrap();
    }
    let began = Instant::now();
    let pass = pass(&session(&root, parsers().within(Duration::from_secs(4))), ReadRequest::default()).await;
    assert_eq!(pass.refusal(".", "endless.pdf"), "timed_out");
    for name in ["a.txt", "b.txt", "y.txt", "z.txt"] {
        assert_eq!(pass.document(".", name).body, "fine", "{name}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

/// What a parser does is not ours to choose, so here are programs that end at once,
/// are silent, or babble, and one that is not there.
#[tokio::test(flavor = "multi_thread")]
async fn a_parser_that_breaks_costs_the_documents_that_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("a.txt"), "fine").unwrap();
    std::fs::write(root.join("b.txt"), "fine").unwrap();
    for (program, code) in [
        ("/bin/true", "unparsable"),
        ("/bin/sh", "unparsable"),
        ("/usr/bin/yes", "unparsable"),
        ("/bin/grep", "timed_out"),
        ("/nonexistent/parser", "internal"),
    ] {
        let parsers = Parsers::by(program.into()).within(Duration::from_secs(2));
        let pass = pass(&session(&root, parsers), ReadRequest::default()).await;
        for name in ["a.txt", "b.txt"] {
            assert_eq!(pass.refusal(".", name), code, "{program}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_documents_cost_their_own_records_and_no_memory_of_the_service() {
    let service = Service::start().await;
    let files = service.files();
    for number in 0..300 {
        std::fs::write(files.join(format!("good-{number}.txt")), "a good document").unwrap();
    }
    let warm = service.connect_files("files", json!({"path": files, "include": ["good-*.txt"]})).await;
    let sync = service.run(&warm).await;
    service.until(&sync, &["succeeded"]).await;
    let before = service.measure();
    let mut hostile = hostile();
    hostile.extend(super::mail::files());
    for (name, content) in &hostile {
        assert!(content.len() < 8 << 20, "{name} is small");
        std::fs::write(files.join(name), content).unwrap();
    }
    let connection = service.connect_files("files", json!({"path": files})).await;
    let sync = service.run(&connection).await;
    let ended = service.until(&sync, &["succeeded", "failed", "waiting"]).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    let failed: usize = ended["progress"]["itemsFailed"].as_str().unwrap().parse().unwrap();
    let inserted: usize = ended["progress"]["itemsInserted"].as_str().unwrap().parse().unwrap();
    assert_eq!(failed + inserted, hostile.len() + 300, "{ended}");
    println!("{failed} of {} hostile documents refused; parsers rose to {} MiB", hostile.len(), service.parsers_peak());
    service.assert_rise(before, "hostile documents");
    assert!(!Path::new("/tmp/tributary-was-here").exists());
    service.assert_silent();
}

/// However many of them there are, nobody waits for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_of_documents_that_never_end_is_cancelled_within_seconds() {
    let service = Service::start().await;
    let endless = pages(2_000, stream(b"q Q 0 0 m 1 1 l S ", 200_000));
    for number in 0..40 {
        std::fs::write(service.files().join(format!("{number}.pdf")), &endless).unwrap();
    }
    let connection = service.connect_files("files", json!({"path": service.files()})).await;
    let sync = service.run(&connection).await;
    service.until(&sync, &["running"]).await;
    let begun = Instant::now();
    while service.parsers_peak() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is parsed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = Instant::now();
    service.call("POST", &format!("/api/v1/syncs/{sync}/cancel"), Some(json!({}))).await.ok();
    service.until(&sync, &["cancelled"]).await;
    println!("cancelled after {:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

/// How much the other process costs, for the record.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_documents_are_parsed_by_the_same_few_processes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for number in 0..2_000 {
        std::fs::write(root.join(format!("{number}.md")), format!("# Document {number}\n\n{}", "text ".repeat(400)))
            .unwrap();
    }
    let session = session(&root, parsers());
    let began = Instant::now();
    let pass = pass(&session, ReadRequest::default()).await;
    let took = began.elapsed();
    assert!(pass.documents.len() == 2_000 && pass.documents.values().all(Result::is_ok));
    println!("2000 documents in {took:?}: {:.0} a second", 2_000.0 / took.as_secs_f64());
}
