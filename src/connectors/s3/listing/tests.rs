//! Answers of servers, good and bad.

use super::*;

const ANSWER: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>b</Name><Prefix>docs/</Prefix><Delimiter>/</Delimiter><MaxKeys>1000</MaxKeys>
  <IsTruncated>true</IsTruncated><NextContinuationToken>1/x+y=</NextContinuationToken>
  <Contents><Key>docs/</Key><Size>0</Size><ETag>&quot;d&quot;</ETag></Contents>
  <Contents><Key>docs/a &amp; b.txt</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>
    <ETag>&quot;abc-2&quot;</ETag><Size>12</Size><Owner><ID>o</ID></Owner><StorageClass>STANDARD</StorageClass></Contents>
  <Contents><Key>docs/no-size</Key></Contents>
  <CommonPrefixes><Prefix>docs/guides/</Prefix></CommonPrefixes>
  <CommonPrefixes><Prefix>docs//</Prefix></CommonPrefixes>
</ListBucketResult>"#;

#[test]
fn files_folders_and_the_next_page_are_read() {
    let page = page(ANSWER.as_bytes(), "docs/").unwrap();
    assert_eq!(page.next.as_deref(), Some("1/x+y="));
    let stamp = Stamp { size: 12, modified_at: Some(1_767_323_045_678_000), version: "\"abc-2\"".to_owned() };
    assert_eq!(page.entries, [Entry::File("a & b.txt".to_owned(), stamp), Entry::Folder("guides".to_owned())]);
}

#[test]
fn an_answer_that_is_no_listing_is_an_error_and_never_an_empty_one() {
    for odd in [
        "<Error><Code>InternalError</Code></Error>",
        "<ListBucketResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "<html><body/></html>",
        "",
    ] {
        assert_eq!(page(odd.as_bytes(), "").err(), Some(Malformed), "{odd}");
    }
    assert_eq!(page(b"<ListBucketResult/>", "").unwrap().entries, []);
}

mod fuzz {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{fuzz, tampered};

    #[test]
    fn s3_listing() {
        fuzz("s3_listing", tampered(vec![ANSWER.as_bytes().to_vec()]), |bytes| {
            if let Ok(page) = page(&bytes, "docs/") {
                prop_assert!(page.entries.len() <= bytes.len());
            }
            Ok(())
        });
    }
}
