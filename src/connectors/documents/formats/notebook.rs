//! Notebooks of Jupyter: the cells, and what they printed.

use serde_json::Value;

use super::{Content, TEXT_BYTES, plain, records};

/// What one cell printed, at most.
const OUTPUT_BYTES: usize = 64 * 1024;

pub(super) fn content(text: &str) -> Content {
    let Ok(notebook) = serde_json::from_str::<Value>(text) else { return records::json(text) };
    // The third version had sheets of cells.
    let sheets = notebook["worksheets"].as_array().into_iter().flatten().map(|sheet| &sheet["cells"]);
    let cells: Vec<&Value> =
        std::iter::once(&notebook["cells"]).chain(sheets).filter_map(Value::as_array).flatten().collect();
    if cells.is_empty() {
        return records::json(text);
    }
    let (mut body, mut title) = (String::new(), None);
    for cell in cells {
        let source = joined(if cell["source"].is_null() { &cell["input"] } else { &cell["source"] });
        if matches!(cell["cell_type"].as_str(), Some("markdown" | "heading")) && title.is_none() {
            title = plain::markdown_title(&source);
        }
        append(&mut body, &source);
        for output in cell["outputs"].as_array().into_iter().flatten() {
            let printed = [&output["text"], &output["data"]["text/plain"]].map(joined).concat();
            append(&mut body, &printed[..printed.floor_char_boundary(OUTPUT_BYTES)]);
        }
        if body.len() > TEXT_BYTES {
            break;
        }
    }
    let language = ["language_info", "kernelspec"].iter().find_map(|part| {
        let part = &notebook["metadata"][part];
        part["language"].as_str().or_else(|| part["name"].as_str())
    });
    let mut content = Content::text("application/x-ipynb+json", title, body);
    content.language = language.filter(|language| language.len() <= 50).map(|language| language.to_owned().into());
    content
}

/// Text, or lines of it.
fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn append(body: &mut String, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        body.push_str(text);
        body.push_str("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_and_what_they_printed_are_the_text() {
        let notebook = r##"{"cells":[{"cell_type":"markdown","source":["# Sales\n","by month"]},
            {"cell_type":"code","source":"print(1)","outputs":[{"text":["1\n"]},{"data":{"text/plain":"<Figure>","image/png":"iVBOR"}}]}],
            "metadata":{"kernelspec":{"language":"python"}},"nbformat":4}"##;
        let taken = content(notebook);
        assert_eq!(taken.title.as_deref(), Some("Sales"));
        assert_eq!(taken.body, "# Sales\nby month\n\nprint(1)\n\n1\n\n<Figure>\n\n");
        assert_eq!(taken.language.as_deref(), Some("python"));
        assert_eq!(content("{\"a\":1}").body, "a: 1");
    }
}
