//! One line of `COPY ... TO STDOUT` in text format: fields between tabs, `\N` for
//! NULL, a few characters escaped.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;

/// The line is not what the server would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The line without its end.
pub(super) fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Fields of a line; none is NULL. `expected` zero means a row without columns.
pub(super) fn fields(line: &[u8], expected: usize) -> Result<Vec<Option<Cow<'_, str>>>, Malformed> {
    if expected == 0 {
        return Ok(Vec::new());
    }
    let mut fields = Vec::with_capacity(expected);
    for raw in content(line).split(|byte| *byte == b'\t') {
        fields.push(field(raw)?);
    }
    if fields.len() == expected { Ok(fields) } else { Err(Malformed) }
}

/// Cuts the place of the row, `(block,number)`, off the end of a line.
pub(super) fn without_place(line: &Bytes) -> Result<(Bytes, u32), Malformed> {
    let end = content(line);
    let tab = end.iter().rposition(|byte| *byte == b'\t').ok_or(Malformed)?;
    let place = std::str::from_utf8(&end[tab + 1..]).map_err(|_| Malformed)?;
    let block = place.strip_prefix('(').and_then(|place| place.split_once(',')).ok_or(Malformed)?.0;
    Ok((line.slice(..tab), block.parse().map_err(|_| Malformed)?))
}

/// Appends one field of a line as a JSON string, or `null`.
pub(super) fn push_json(line: &[u8], position: usize, json: &mut String) -> Result<(), Malformed> {
    let raw = content(line).split(|byte| *byte == b'\t').nth(position).ok_or(Malformed)?;
    // Most keys are numbers and plain words, which JSON writes as they are.
    let is_plain = raw.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'));
    match std::str::from_utf8(raw) {
        Ok(text) if is_plain => {
            json.push('"');
            json.push_str(text);
            json.push('"');
        }
        _ => json.push_str(&field(raw)?.map_or(Value::Null, |text| Value::String(text.into_owned())).to_string()),
    }
    Ok(())
}

/// Most fields have nothing escaped, and are there already.
fn field(raw: &[u8]) -> Result<Option<Cow<'_, str>>, Malformed> {
    if raw == b"\\N" {
        return Ok(None);
    }
    if !raw.contains(&b'\\') {
        return std::str::from_utf8(raw).map(|text| Some(Cow::Borrowed(text))).map_err(|_| Malformed);
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        bytes.push(match rest.next().ok_or(Malformed)? {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            other => *other,
        });
    }
    String::from_utf8(bytes).map(|text| Some(Cow::Owned(text))).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_and_unescaped() {
        let some = |text: &'static str| Some(Cow::Borrowed(text));
        assert_eq!(fields(b"1\t\\N\ta\\tb\\nc\\\\d\t\n", 4), Ok(vec![some("1"), None, some("a\tb\nc\\d"), some("")]));
        assert_eq!(fields(b"\\\\N\n", 1), Ok(vec![some("\\N")]));
        assert_eq!(fields(b"\n", 1), Ok(vec![some("")]));
        assert_eq!(fields(b"\n", 0), Ok(vec![]));
        assert_eq!(fields(b"a\n", 2), Err(Malformed));
        assert_eq!(fields(b"a\\", 1), Err(Malformed));
        assert_eq!(fields(b"\xff\n", 1), Err(Malformed));
    }

    #[test]
    fn a_key_is_written_as_json() {
        let written = |line: &[u8], position| {
            let mut json = String::new();
            push_json(line, position, &mut json).map(|()| json)
        };
        assert_eq!(written(b"12\tplain word\n", 0).as_deref(), Ok("\"12\""));
        assert_eq!(written(b"12\tplain word\n", 1).as_deref(), Ok("\"plain word\""));
        assert_eq!(written(b"\xff\ta\\tb\"\n", 1).as_deref(), Ok("\"a\\tb\\\"\""));
        assert_eq!(written("\u{e9}\t\\N\n".as_bytes(), 0).as_deref(), Ok("\"\u{e9}\""));
        assert_eq!(written(b"a\t\\N\n", 1).as_deref(), Ok("null"));
        assert_eq!(written(b"a\n", 1), Err(Malformed));
    }

    #[test]
    fn the_place_is_cut_off_the_end() {
        let cut = |line: &'static [u8]| without_place(&Bytes::from_static(line));
        assert_eq!(cut(b"1\ta\t(17,3)\n"), Ok((Bytes::from_static(b"1\ta"), 17)));
        assert_eq!(cut(b"(1,2)\n"), Err(Malformed));
        assert_eq!(cut(b"1\tx\n"), Err(Malformed));
    }
}
