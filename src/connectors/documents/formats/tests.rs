//! Documents that were tampered with: each parser gives text or a word for why not.
//! In the service it runs in another process, so that what is worse than a panic
//! costs one document; here it would end the test.

mod fuzz {
    use proptest::prelude::*;

    use crate::connectors::documents::formats::{self, TEXT_BYTES};
    use crate::tests::{corpus, fuzz, tampered};

    fn parsed(extension: &'static str, folder: &str) {
        let path = format!("a.{extension}");
        fuzz(extension, tampered(corpus(folder)), |bytes| {
            let path = path.clone();
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
        });
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
    fn xlsx() {
        parsed("xlsx", "tests/corpus/xlsx");
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
