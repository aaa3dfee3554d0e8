//! Answers of servers, good and bad.

use super::*;

const ANSWER: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:"><D:href>/dav/docs/</D:href><D:propstat><D:prop>
  <lp1:resourcetype><D:collection/></lp1:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
<D:response><D:href>/dav/docs/a%20b%26c.txt</D:href><D:propstat><D:prop><lp1:resourcetype/>
  <lp1:getcontentlength>12</lp1:getcontentlength><lp1:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</lp1:getlastmodified>
  <lp1:getetag>W/"c-5"</lp1:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
  <D:propstat><D:prop><x/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>
<D:response><D:href>http://h.example/dav/docs/%C3%BCber/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/>
  </D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
</D:multistatus>"#;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn read(answer: &str) -> Result<Page, Malformed> {
    page(answer.as_bytes(), &address("http://h.example/dav/"), &address("http://h.example/dav/docs/"))
}

#[test]
fn files_and_folders_are_read_and_the_folder_itself_is_not_one() {
    let stamp = Stamp { size: 12, modified_at: Some(784_111_777_000_000), version: "\"c-5\"".to_owned() };
    let wanted = [Entry::File("docs/a b&c.txt".to_owned(), stamp), Entry::Folder("docs/über".to_owned())];
    assert_eq!(read(ANSWER).unwrap().entries, wanted);
}

#[test]
fn what_is_elsewhere_or_no_listing_is_an_error() {
    for odd in [
        ANSWER.replace("http://h.example/dav", "http://other.example/dav"),
        ANSWER.replace("/dav/docs/a%20b", "/elsewhere/a%20b"),
        ANSWER.replace("/dav/docs/a%20b", "/dav/docs/../../etc/a%20b"),
        "<html></html>".to_owned(),
        ANSWER[..ANSWER.len() - 10].to_owned(),
    ] {
        assert_eq!(read(&odd).err(), Some(Malformed), "{odd}");
    }
}

#[test]
fn what_is_said_not_to_be_so_is_not_believed() {
    let answer = ANSWER.replace(
        "<lp1:getetag>W/\"c-5\"</lp1:getetag></D:prop><D:status>HTTP/1.1 200 OK",
        "</D:prop><D:status>HTTP/1.1 404 No",
    );
    // It is there, and what it is was not told.
    assert_eq!(read(&answer).unwrap().entries[0], Entry::Folder("docs/a b&c.txt".to_owned()));
}

mod fuzz {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{fuzz, tampered};

    #[test]
    fn webdav_listing() {
        let (root, folder) = (address("http://h.example/dav/"), address("http://h.example/dav/docs/"));
        fuzz("webdav_listing", tampered(vec![ANSWER.as_bytes().to_vec()]), |bytes| {
            if let Ok(page) = page(&bytes, &root, &folder) {
                prop_assert!(page.entries.len() <= bytes.len());
            }
            Ok(())
        });
    }
}
