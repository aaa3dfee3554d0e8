//! One line of `COPY ... TO STDOUT` in text format: fields between tabs, `\N` for
//! NULL, a few characters escaped.

/// The line is not what the server would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The line without its end.
pub(super) fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Fields of a line; none is NULL. `expected` zero means a row without columns.
pub(super) fn fields(line: &[u8], expected: usize) -> Result<Vec<Option<String>>, Malformed> {
    if expected == 0 {
        return Ok(Vec::new());
    }
    let fields: Result<Vec<_>, _> = content(line).split(|byte| *byte == b'\t').map(field).collect();
    fields.and_then(|fields| if fields.len() == expected { Ok(fields) } else { Err(Malformed) })
}

/// One field of a line, without looking at the others.
pub(super) fn nth(line: &[u8], position: usize) -> Result<Option<String>, Malformed> {
    content(line).split(|byte| *byte == b'\t').nth(position).ok_or(Malformed).and_then(field)
}

fn field(raw: &[u8]) -> Result<Option<String>, Malformed> {
    if raw == b"\\N" {
        return Ok(None);
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
    String::from_utf8(bytes).map(Some).map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_and_unescaped() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(fields(b"1\t\\N\ta\\tb\\nc\\\\d\t\n", 4), Ok(vec![some("1"), None, some("a\tb\nc\\d"), some("")]));
        assert_eq!(fields(b"\\\\N\n", 1), Ok(vec![some("\\N")]));
        assert_eq!(fields(b"\n", 1), Ok(vec![some("")]));
        assert_eq!(fields(b"\n", 0), Ok(vec![]));
        assert_eq!(fields(b"a\n", 2), Err(Malformed));
        assert_eq!(fields(b"a\\", 1), Err(Malformed));
        assert_eq!(fields(b"\xff\n", 1), Err(Malformed));
        assert_eq!(nth(b"\xff\ta\\tb\n", 1), Ok(some("a\tb")));
        assert_eq!(nth(b"a\n", 1), Err(Malformed));
    }
}
