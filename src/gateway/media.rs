//! Media types: what a caller sends and what it can take.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderName};

/// What may be sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    EventStream,
    JsonLines,
}

/// One element of an `Accept` header.
struct Range<'header> {
    kind: &'header str,
    quality: f32,
}

/// Whether the body is declared to be JSON in UTF-8; `None` if nothing is declared.
pub(super) fn is_json(headers: &HeaderMap) -> Option<bool> {
    is_declared(headers, "application/json")
}

/// Whether the body is declared to be lines of JSON in UTF-8; `None` if nothing is
/// declared.
pub(super) fn is_json_lines(headers: &HeaderMap) -> Option<bool> {
    is_declared(headers, "application/x-ndjson")
}

fn is_declared(headers: &HeaderMap, wanted: &str) -> Option<bool> {
    let value = headers.get(CONTENT_TYPE)?;
    let Ok(text) = value.to_str() else { return Some(false) };
    let mut parts = text.split(';').map(str::trim);
    let is_wanted = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(wanted));
    let is_utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    Some(is_wanted && is_utf8)
}

/// What a unary answer is sent as.
pub(super) fn unary(headers: &HeaderMap) -> Option<Media> {
    let accepted = all(headers, ACCEPT);
    let ranges = ranges(&accepted);
    // Who names only the form of our errors wants JSON all the same.
    (quality(&ranges, "application/json") > 0.0 || wants_problem_json(headers)).then_some(Media::Json)
}

/// What a stream is sent as: events unless lines are wanted more.
pub(super) fn stream(headers: &HeaderMap) -> Option<Media> {
    let accepted = all(headers, ACCEPT);
    let ranges = ranges(&accepted);
    let events = quality(&ranges, "text/event-stream");
    let lines = quality(&ranges, "application/x-ndjson");
    match (events, lines) {
        (events, lines) if events <= 0.0 && lines <= 0.0 => None,
        (events, lines) if lines > events => Some(Media::JsonLines),
        _ => Some(Media::EventStream),
    }
}

/// Whether errors are wanted in the form of RFC 9457: it must be named.
pub(super) fn wants_problem_json(headers: &HeaderMap) -> bool {
    let accepted = all(headers, ACCEPT);
    ranges(&accepted)
        .iter()
        .any(|range| range.quality > 0.0 && range.kind.eq_ignore_ascii_case("application/problem+json"))
}

/// Whether a gzip body can be taken.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = all(headers, ACCEPT_ENCODING);
    let ranges = parse(&accepted);
    let named = ranges.iter().find(|range| range.kind.eq_ignore_ascii_case("gzip"));
    named.or_else(|| ranges.iter().find(|range| range.kind == "*")).is_some_and(|range| range.quality > 0.0)
}

fn all(headers: &HeaderMap, name: HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn ranges(header: &str) -> Vec<Range<'_>> {
    let ranges = parse(header);
    if ranges.is_empty() { vec![Range { kind: "*/*", quality: 1.0 }] } else { ranges }
}

fn parse(header: &str) -> Vec<Range<'_>> {
    header
        .split(',')
        .filter(|range| !range.trim().is_empty())
        .map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            Range { kind, quality: quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)) }
        })
        .collect()
}

/// The quality of the most specific range that holds the type.
fn quality(ranges: &[Range<'_>], wanted: &str) -> f32 {
    let family = format!("{}/*", wanted.split('/').next().unwrap_or_default());
    [wanted, family.as_str(), "*/*"]
        .iter()
        .find_map(|kind| ranges.iter().find(|range| range.kind.eq_ignore_ascii_case(kind)))
        .map_or(0.0, |range| range.quality)
}
