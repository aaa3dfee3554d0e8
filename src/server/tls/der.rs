//! The few facts of a certificate (RFC 5280) that the TLS library keeps to itself:
//! when it ends, and what its holder is called. Nothing here decides whether a
//! certificate is believed.

use chrono::NaiveDateTime;

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Elements one after another.
struct Elements<'der>(&'der [u8]);

impl<'der> Iterator for Elements<'der> {
    type Item = (u8, &'der [u8]);

    /// The next element's tag and content; nothing where the encoding is broken.
    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

/// The parts of a certificate that we read.
struct Facts<'der> {
    validity: &'der [u8],
    subject: &'der [u8],
    extensions: Option<&'der [u8]>,
}

fn facts(certificate: &[u8]) -> Option<Facts<'_>> {
    let (_, whole) = Elements(certificate).next().filter(|(tag, _)| *tag == SEQUENCE)?;
    let (_, signed) = Elements(whole).next().filter(|(tag, _)| *tag == SEQUENCE)?;
    let mut parts = Elements(signed).skip_while(|(tag, _)| *tag == VERSION);
    // After the serial number, the algorithm and the issuer.
    let (_, validity) = parts.nth(3)?;
    let (_, subject) = parts.next()?;
    let extensions = parts.find(|(tag, _)| *tag == EXTENSIONS).map(|(_, content)| content);
    Some(Facts { validity, subject, extensions })
}

/// When a certificate ends, in seconds of Unix time.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (tag, text) = Elements(facts(certificate)?.validity).nth(1)?;
    let text = std::str::from_utf8(text).ok()?;
    let full = match tag {
        // Two digits of the year: RFC 5280 says which century.
        UTC_TIME if text.as_bytes().first()? >= &b'5' => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    NaiveDateTime::parse_from_str(&full, "%Y%m%d%H%M%SZ").ok().map(|time| time.and_utc().timestamp())
}

/// The common names and the DNS names of a certificate.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Some(facts) = facts(certificate) else { return Vec::new() };
    let attributes = Elements(facts.subject).flat_map(|(_, set)| Elements(set));
    let common = attributes.filter_map(|(_, attribute)| {
        let mut parts = Elements(attribute);
        parts.next().filter(|(tag, oid)| *tag == OID && *oid == COMMON_NAME)?;
        parts.next().map(|(_, text)| text)
    });
    let dns = facts.extensions.and_then(alternative_names).into_iter().flat_map(Elements);
    let dns = dns.filter(|(tag, _)| *tag == DNS_NAME).map(|(_, text)| text);
    common.chain(dns).filter_map(|text| std::str::from_utf8(text).ok().map(str::to_owned)).collect()
}

fn alternative_names(extensions: &[u8]) -> Option<&[u8]> {
    let (_, list) = Elements(extensions).next()?;
    let extension = Elements(list).map(|(_, extension)| extension).find(|extension| {
        Elements(extension).next().is_some_and(|(tag, oid)| tag == OID && oid == SUBJECT_ALTERNATIVE_NAME)
    })?;
    // Between name and value there may stand whether it is critical.
    let (_, value) = Elements(extension).find(|(tag, _)| *tag == OCTETS)?;
    Elements(value).next().map(|(_, names)| names)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    /// `/O=Rivers/CN=reader` with the names `reader.example` and `second.example`,
    /// until 2036-01-02 03:04:05 UTC.
    const CERTIFICATE: &str = include_str!("der/certificate.b64");

    fn certificate() -> Vec<u8> {
        let text: String = CERTIFICATE.split_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    }

    #[test]
    fn names_and_end_are_read() {
        assert_eq!(names(&certificate()), ["reader", "reader.example", "second.example"]);
        assert_eq!(not_after(&certificate()), Some(2_082_855_845));
    }

    #[test]
    fn a_certificate_that_is_cut_off_or_damaged_has_no_names_that_are_not_its_own() {
        let whole = certificate();
        for end in 0..whole.len() {
            let known = ["reader", "reader.example", "second.example"];
            assert!(names(&whole[..end]).iter().all(|name| known.contains(&name.as_str())));
            let mut damaged = whole.clone();
            damaged[end] ^= 0xff;
            // Reads or not, but always ends.
            let _ = (names(&damaged), not_after(&damaged));
        }
    }
}
