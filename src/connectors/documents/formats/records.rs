//! Files of records: CSV, JSON Lines, JSON. One document a file; each value keeps
//! the name of its column or member beside it.

use serde_json::Value;

use super::{Content, TEXT_BYTES};

/// Lines of `column: value, column: value`.
pub(super) fn separated(media_type: &'static str, text: &str) -> Content {
    let first = text.lines().next().unwrap_or_default();
    let delimiter =
        [b'\t', b';', b','].into_iter().max_by_key(|delimiter| first.bytes().filter(|byte| byte == delimiter).count());
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter.unwrap_or(b',')).flexible(true).from_reader(text.as_bytes());
    let columns = reader.headers().cloned().unwrap_or_default();
    let mut body = String::new();
    for record in reader.records().flatten() {
        let cells: Vec<String> = record
            .iter()
            .enumerate()
            .filter(|(_, cell)| !cell.trim().is_empty())
            .map(|(index, cell)| match columns.get(index) {
                Some(column) if !column.trim().is_empty() => format!("{}: {}", column.trim(), cell.trim()),
                _ => cell.trim().to_owned(),
            })
            .collect();
        body.push_str(&cells.join(", "));
        body.push('\n');
        if body.len() > TEXT_BYTES {
            break;
        }
    }
    if body.is_empty() {
        // Only a header, or no table at all.
        text.clone_into(&mut body);
    }
    Content::text(media_type, None, body)
}

/// One line a record; a line that is no JSON is kept as it is.
pub(super) fn json_lines(text: &str) -> Content {
    let mut body = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str::<Value>(line) {
            Ok(value) => {
                let mut parts = Vec::new();
                flatten("", &value, &mut parts);
                body.push_str(&parts.join(", "));
            }
            Err(_) => body.push_str(line),
        }
        body.push('\n');
        if body.len() > TEXT_BYTES {
            break;
        }
    }
    Content::text("application/x-ndjson", None, body)
}

/// One line a value. What is no JSON is taken as text.
pub(super) fn json(text: &str) -> Content {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Content::text("application/json", None, text.to_owned());
    };
    let title = ["title", "name"].iter().find_map(|key| value.get(key)?.as_str()).map(str::to_owned);
    let mut parts = Vec::new();
    flatten("", &value, &mut parts);
    Content::text("application/json", title, parts.join("\n"))
}

/// `path.to.value: text`; nesting is bounded by the parser.
fn flatten(path: &str, value: &Value, parts: &mut Vec<String>) {
    let labelled = |text: &str| if path.is_empty() { text.to_owned() } else { format!("{path}: {text}") };
    match value {
        Value::Null => {}
        Value::String(text) => parts.push(labelled(text)),
        Value::Bool(_) | Value::Number(_) => parts.push(labelled(&value.to_string())),
        Value::Array(items) => items.iter().for_each(|item| flatten(path, item, parts)),
        Value::Object(members) => {
            for (name, member) in members {
                let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&inner, member, parts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_keeps_its_column() {
        assert_eq!(
            separated("text/csv", "name;price\nStove;12\n\"a;b\";\n").body,
            "name: Stove, price: 12\nname: a;b\n"
        );
        assert_eq!(json_lines("{\"a\":1,\"b\":{\"c\":[\"x\",\"y\"]}}\n\noops\n").body, "a: 1, b.c: x, b.c: y\noops\n");
        let document = json("{\"title\":\"T\",\"n\":null,\"v\":true}");
        assert_eq!((document.title.as_deref(), document.body.as_str()), (Some("T"), "title: T\nv: true"));
        assert_eq!(json("{broken").body, "{broken");
    }
}
