//! Documents that were tampered with: each parser gives text or a word for why not.
//! In the service it runs in another process, so that what is worse than a panic
//! costs one document; here it would end the test.

mod fuzz {
    use std::io::{Cursor, Read, Write};

    use proptest::prelude::*;
    use proptest::test_runner::TestCaseError;

    use crate::connectors::documents::formats::{self, TEXT_BYTES};
    use crate::tests::{corpus, fuzz, tampered};

    fn parsed(extension: &'static str, folder: &str) {
        fuzz(extension, tampered(corpus(folder)), |bytes| parses(extension, bytes));
    }

    /// The same of the parts of an archive: one is tampered with, and packed again
    /// so that it is found whole.
    fn parsed_in(extension: &'static str, folder: &str) {
        let archives: Vec<_> = corpus(folder).iter().map(|bytes| parts(bytes)).collect();
        for archive in archives {
            let known = archive.iter().map(|(_, bytes)| bytes.clone()).collect();
            let choice = (any::<prop::sample::Index>(), tampered(known));
            fuzz(extension, choice, |(place, bytes)| {
                let mut archive = archive.clone();
                place.get_mut(&mut archive).1 = bytes;
                parses(extension, packed(&archive))
            });
        }
    }

    fn parts(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
        let mut archive = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
        let number = archive.len();
        let part = |index| {
            let mut part = archive.by_index(index).unwrap();
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes).unwrap();
            (part.name().unwrap().into_owned(), bytes)
        };
        (0..number).map(part).collect()
    }

    fn packed(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (name, bytes) in parts {
            writer.start_file(name.as_str(), options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn parses(extension: &str, bytes: Vec<u8>) -> Result<(), TestCaseError> {
        let path = format!("a.{extension}");
        // Parsers recurse, and have this stack in the service too.
        let thread = std::thread::Builder::new().stack_size(64 << 20);
        let parser = thread.spawn(move || formats::content(&path, &bytes)).unwrap();
        match parser.join() {
            Ok(Ok(content)) => prop_assert!(content.body.len() <= TEXT_BYTES && !content.media_type.is_empty()),
            Ok(Err(error)) => prop_assert!(["unparsable", "encrypted", "too_large"].contains(&error.code)),
            // A panic is taken for a damaged file there too.
            Err(_) => {}
        }
        Ok(())
    }

    #[test]
    fn pdf() {
        parsed("pdf", "tests/corpus/pdf");
    }

    #[test]
    fn docx() {
        parsed("docx", "tests/corpus/docx");
    }

    #[test]
    fn parts_of_docx() {
        parsed_in("docx", "tests/corpus/docx");
    }

    #[test]
    fn xlsx() {
        parsed("xlsx", "tests/corpus/xlsx");
    }

    #[test]
    fn parts_of_xlsx() {
        parsed_in("xlsx", "tests/corpus/xlsx");
    }

    #[test]
    fn pptx() {
        parsed("pptx", "tests/corpus/pptx");
    }

    #[test]
    fn parts_of_pptx() {
        parsed_in("pptx", "tests/corpus/pptx");
    }

    #[test]
    fn opendocument() {
        parsed("odt", "tests/corpus/opendocument");
    }

    #[test]
    fn parts_of_opendocument() {
        parsed_in("odt", "tests/corpus/opendocument");
    }

    #[test]
    fn epub() {
        parsed("epub", "tests/corpus/epub");
    }

    #[test]
    fn parts_of_epub() {
        parsed_in("epub", "tests/corpus/epub");
    }

    #[test]
    fn rtf() {
        parsed("rtf", "tests/corpus/rtf");
    }

    #[test]
    fn xls() {
        parsed("xls", "tests/corpus/xls");
    }

    #[test]
    fn parquet() {
        parsed("parquet", "tests/corpus/parquet");
    }

    #[test]
    fn avro() {
        parsed("avro", "tests/corpus/avro");
    }

    #[test]
    fn calendars() {
        parsed("ics", "tests/corpus/calendar");
    }

    #[test]
    fn cards() {
        parsed("vcf", "tests/corpus/cards");
    }

    #[test]
    fn archives() {
        parsed("zip", "tests/corpus/archive");
    }

    #[test]
    fn xml() {
        parsed("xml", "tests/corpus/xml");
    }

    #[test]
    fn notebooks() {
        parsed("ipynb", "tests/corpus/notebook");
    }

    #[test]
    fn subtitles() {
        parsed("vtt", "tests/corpus/subtitles");
    }

    #[test]
    fn html() {
        parsed("html", "tests/corpus/html");
    }

    #[test]
    fn csv() {
        parsed("csv", "tests/corpus/text");
    }

    #[test]
    fn json() {
        parsed("json", "tests/corpus/json");
    }

    #[test]
    fn json_lines() {
        parsed("jsonl", "tests/corpus/json");
    }

    #[test]
    fn mail() {
        parsed("eml", "tests/corpus/eml");
    }

    #[test]
    fn mailboxes() {
        parsed("mbox", "tests/corpus/mbox");
    }

    #[test]
    fn text() {
        parsed("md", "tests/corpus/text");
    }
}
