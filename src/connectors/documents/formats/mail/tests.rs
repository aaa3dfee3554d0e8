//! Messages as they come, and as they should not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

fn parsed(raw: &str) -> Content {
    message(raw.replace('\n', "\r\n").as_bytes(), Attachments::Parsed, &Budget::default()).unwrap()
}

const PARTS: &str = "Message-ID: <1@example.org>
In-Reply-To: <0@example.org>
Date: Fri, 1 Mar 2024 12:00:00 +0200
From: =?utf-8?Q?Ada_Gr=C3=BC=C3=9F?= <ada@example.org>
To: team: Bo <bo@example.org>, cy@example.org;
Cc: \"D. E.\" <de@example.org>
Subject: =?iso-8859-1?Q?Gr=F6=DFe?= =?iso-8859-1?Q?_der?=
\tZelte
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-15
Content-Transfer-Encoding: quoted-printable

Zelt f=FCr 20 =A4
--inner
Content-Type: text/html

<p>Not <b>this</b></p>
--inner--
--outer
Content-Type: text/csv; name=\"sizes.csv\"
Content-Disposition: attachment; filename=\"sizes.csv\"
Content-Transfer-Encoding: base64

c2l6ZSxwcmljZQpzbWFsbCwxMgo=
--outer
Content-Type: application/octet-stream
Content-Disposition: attachment; filename*=utf-8''%2e%2e%2fpl%C3%A4ne.zip

PK not expanded
--outer
Content-Type: message/rfc822

From: eve@example.org
Subject: Inner

the forwarded text
--outer--
";

#[test]
fn a_message_has_its_people_its_text_and_its_attachments() {
    let content = parsed(PARTS);
    assert_eq!(content.title.as_deref(), Some("Größe der Zelte"));
    assert_eq!(content.created_at, Some(1_709_287_200_000_000));
    let body = &content.body;
    assert!(
        body.starts_with(
            "From: Ada Grüß <ada@example.org>\nTo: Bo <bo@example.org>, cy@example.org\nCc: D. E. <de@example.org>\n"
        ),
        "{body}"
    );
    for text in ["Zelt für 20 €", "sizes.csv\nsize: small, price: 12", "pläne.zip", "Inner", "the forwarded text"] {
        assert!(body.contains(text), "{text} is not in {body}");
    }
    assert!(!body.contains("Not this") && !body.contains("PK not") && !body.contains(".."), "{body}");
    assert_eq!(
        Value::Object(content.metadata),
        json!({
            "subject": "Größe der Zelte", "from": "ada@example.org", "fromName": "Ada Grüß",
            "to": ["bo@example.org", "cy@example.org"], "cc": ["de@example.org"], "date": "2024-03-01T10:00:00Z",
            "messageId": "1@example.org", "inReplyTo": "0@example.org",
            "attachments": ["sizes.csv", "pläne.zip", "message.eml"], "attachmentCount": 3,
        })
    );
}

#[test]
fn attachments_can_be_left_to_their_names() {
    let raw = PARTS.replace('\n', "\r\n");
    let content = message(raw.as_bytes(), Attachments::Named, &Budget::default()).unwrap();
    assert!(content.body.contains("sizes.csv") && !content.body.contains("small"), "{}", content.body);
    assert!(!content.body.contains("forwarded text"), "{}", content.body);
}

#[test]
fn a_page_is_read_where_there_is_no_text() {
    let content = parsed(
        "Subject: x\nContent-Type: text/html; charset=utf-8\n\n<html><body><p>Hello <b>you</b></p></body></html>\n",
    );
    assert!(content.body.contains("Hello you"), "{}", content.body);
    let empty = "Subject: x\nContent-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n \n\
        --b\nContent-Type: text/html\n\n<p>only here</p>\n--b--\n";
    assert!(parsed(empty).body.contains("only here"));
    let pictured = std::fs::read_to_string("tests/corpus/eml/page.eml").unwrap();
    assert_eq!(
        message(pictured.as_bytes(), Attachments::Parsed, &Budget::default()).unwrap().metadata.get("attachments"),
        None
    );
}

#[test]
fn charsets_of_the_east_are_read() {
    let raw = [
        &b"Subject: =?iso-2022-jp?B?GyRCPXA0PRsoQg==?=\r\nContent-Type: text/plain; charset=shift_jis\r\n\r\n"[..],
        b"\x83e\x83\x93\x83g",
    ]
    .concat();
    let content = message(&raw, Attachments::Parsed, &Budget::default()).unwrap();
    assert!(content.body.contains("テント"), "{}", content.body);
    assert!(!content.title.unwrap().contains('='));
}

#[test]
fn broken_messages_give_what_they_have() {
    for raw in [
        "Subject: alone\n",
        "Subject: alone\nContent-Type: multipart/mixed; boundary=b\n\nno boundary at all",
        "Subject: alone\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n",
        "Subject: alone\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n!!!! not base64 ====",
        "Subject: alone\nDate: the day after\nFrom: <<<>>>,,,;;\nTo: \"open",
        "Subject: alone\nContent-Type: ;;;\nContent-Transfer-Encoding: x\n\nbody",
    ] {
        assert_eq!(parsed(raw).title.as_deref(), Some("alone"), "{raw}");
    }
    assert_eq!(message(b"", Attachments::Parsed, &Budget::default()).unwrap_err().code, "unparsable");
    assert_eq!(parsed("Date: Thu, 99 Foo 2024 99:99:99 +9999\nSubject: x\n\nbody").created_at, None);
}

#[test]
fn a_mailbox_file_has_all_its_messages() {
    let raw = b"From a@x Fri Mar  1 10:00:00 2024\nSubject: First\n\none\n>From the start\n\nFrom b@x Sat Mar  2 10:00:00 2024\nSubject: Second\n\ntwo\n";
    let content = mailbox(raw, &Budget::default()).unwrap();
    for text in ["First", "one", "From the start", "Second", "two"] {
        assert!(content.body.contains(text), "{text} is not in {}", content.body);
    }
    assert_eq!(content.metadata["messages"], 2);
    assert_eq!(mailbox(b"no mailbox", &Budget::default()).unwrap_err().code, "unparsable");
}

#[test]
fn what_is_attached_is_bounded_in_number_depth_and_text() {
    let part = "--b\nContent-Type: text/plain; name=a.txt\nContent-Disposition: attachment\n\nsmall text\n";
    let many = format!("Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n{}--b--\n", part.repeat(5_000));
    let content = parsed(&many);
    assert_eq!(content.metadata["attachmentCount"], 5_000);
    assert_eq!(content.metadata["attachments"].as_array().unwrap().len(), MOST_ATTACHMENTS);
    assert_eq!(content.body.matches("small text").count(), MOST_ATTACHMENTS);

    let mut nested = "Subject: innermost\n\nthe innermost text\n".to_owned();
    for level in 0..10 {
        let encoded = STANDARD.encode(&nested);
        nested = format!(
            "Subject: level {level}\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/octet-stream; \
             name=inner.eml\nContent-Transfer-Encoding: base64\n\n{encoded}\n--b--\n"
        );
    }
    let content = parsed(&nested);
    assert!(content.body.contains("level 5") && !content.body.contains("innermost"), "{}", content.body);
}
