//! Cuts long text into chunks. They do not overlap and nothing is trimmed, so
//! that joining them gives the text back.

/// Characters that a chunk has at most.
pub(crate) const CHARACTERS: usize = 2000;

/// The chunks of a text: at least one, which is empty for an empty text.
pub(crate) fn chunks(text: &str) -> Vec<&str> {
    // No more bytes than a chunk has characters: most records.
    if text.len() <= CHARACTERS {
        return vec![text];
    }
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((limit, _)) = rest.char_indices().nth(CHARACTERS) {
        let (chunk, after) = rest.split_at(cut(&rest[..limit]));
        found.push(chunk);
        rest = after;
    }
    if !rest.is_empty() || found.is_empty() {
        found.push(rest);
    }
    found
}

/// Where to cut: after the last paragraph, else line or sentence, else word in
/// the second half, else at the end.
fn cut(window: &str) -> usize {
    let half = window.len() / 2;
    let after_last = |separators: &[&str]| {
        let ends = separators.iter().filter_map(|separator| Some(window.rfind(separator)? + separator.len()));
        ends.filter(|end| *end > half).max()
    };
    after_last(&["\n\n", "\r\n\r\n"])
        .or_else(|| after_last(&["\n", ". ", "! ", "? ", "。", "！", "？"]))
        .or_else(|| after_last(&[" ", "\t", "\u{a0}", "\u{3000}"]))
        .unwrap_or(window.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_chunks_are_the_text() {
        let sentence = "Ça va? Größe zählt 😀 東京。 ";
        let paragraphs = format!("{}\r\n\r\n", sentence.repeat(31)).repeat(9);
        for text in ["", "short", &sentence.repeat(900), &"x".repeat(4001), &"é".repeat(2000), &paragraphs] {
            let found = chunks(text);
            assert_eq!(found.concat(), text);
            assert!(found.iter().all(|chunk| chunk.chars().count() <= CHARACTERS));
            assert!(found.len() == 1 || found.iter().all(|chunk| !chunk.is_empty()));
        }
    }

    #[test]
    fn cuts_are_at_the_best_boundary() {
        let text = format!("{}\n\n{}", "word ".repeat(300), "word ".repeat(300));
        assert!(chunks(&text)[0].ends_with("\n\n"));
        let text = format!("{}end. {}", "word ".repeat(300), "word ".repeat(300));
        assert!(chunks(&text)[0].ends_with("end. "));
        assert!(chunks(&"word ".repeat(600))[0].ends_with("word "));
    }
}
