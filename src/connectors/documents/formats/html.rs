//! HTML: the text as one reads it.

use super::{Content, unparsable};
use crate::connectors::RecordError;

/// The renderer works per level of nesting; deeper pages lose their layout.
const DEEPEST: usize = 500;

pub(super) fn content(text: &str) -> Result<Content, RecordError> {
    let title = title(text);
    let body = if nesting(text) > DEEPEST { without_tags(text) } else { rendered(text)? };
    Ok(Content::text("text/html", title, body))
}

fn rendered(text: &str) -> Result<String, RecordError> {
    html2text::config::plain_no_decorate()
        .raw_mode(true)
        .allow_width_overflow()
        .string_from_read(text.as_bytes(), 10_000)
        .map_err(|_| unparsable())
}

/// What is in the title element, with the usual entities resolved.
fn title(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let begin = lower.find("<title")?;
    let begin = begin + lower[begin..].find('>')? + 1;
    let end = begin + lower[begin..].find("</title")?;
    let title = text[begin..end].split_whitespace().collect::<Vec<_>>().join(" ");
    Some(unescaped(&title))
}

fn unescaped(text: &str) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
        .into_iter()
        .fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// Open tags at most at a time; elements that need no end count as open, which
/// only errs to the safe side.
fn nesting(text: &str) -> usize {
    const VOID: &[&str] =
        &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"];
    const IMPLIED: &[&str] = &["p", "li", "td", "th", "tr", "dt", "dd", "option"];
    let (mut depth, mut deepest) = (0_usize, 0);
    for tag in text.split('<').skip(1) {
        let name =
            |tag: &str| tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("").to_ascii_lowercase();
        if let Some(end) = tag.strip_prefix('/') {
            if !IMPLIED.contains(&name(end).as_str()) {
                depth = depth.saturating_sub(1);
            }
        } else if tag.starts_with(|character: char| character.is_ascii_alphabetic()) {
            let name = name(tag);
            if !VOID.contains(&name.as_str()) && !IMPLIED.contains(&name.as_str()) {
                depth += 1;
                deepest = deepest.max(depth);
            }
        }
    }
    deepest
}

fn without_tags(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut parts = text.split('<');
    result.push_str(parts.next().unwrap_or_default());
    for part in parts {
        result.push_str(part.split_once('>').map_or("", |(_, after)| after));
    }
    unescaped(&result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_its_title_and_text_without_scripts() {
        let page = "<html><head><title>Care &amp;\n repair</title><script>var x</script><style>p{}</style></head>\
                    <body><h1>Tents</h1><p>Dry it <b>first</b>.</p><table><tr><td>a</td><td>b</td></tr></table></body>";
        let content = content(page).unwrap();
        assert_eq!(content.title.as_deref(), Some("Care & repair"));
        assert!(content.body.contains("Dry it first."), "{}", content.body);
        assert!(!content.body.contains("var x"), "{}", content.body);
    }

    #[test]
    fn a_page_nested_without_end_is_read_all_the_same() {
        let page = "<div>".repeat(100_000) + "deep down";
        assert!(content(&page).unwrap().body.contains("deep down"));
    }
}
