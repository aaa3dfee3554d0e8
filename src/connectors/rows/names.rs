//! Names of objects, and patterns over them. A part that is not plain
//! (`[A-Za-z0-9_]`) is quoted as in SQL: `shop."odd.name"`.

/// Writes the parts of a path.
pub fn join<S: AsRef<str>>(parts: &[S]) -> String {
    let quoted: Vec<String> = parts.iter().map(|part| quoted(part.as_ref())).collect();
    quoted.join(".")
}

fn quoted(part: &str) -> String {
    let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain { part.to_owned() } else { identifier(part) }
}

/// An identifier for SQL, always in quotes. The only place that writes names
/// into statements.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads the parts of a path; none if it is malformed.
pub fn split(path: &str) -> Option<Vec<String>> {
    Pattern::parse(path).map(|pattern| pattern.parts.iter().map(Part::text).collect())
}

/// A path in which `*` outside quotes stands for any characters of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

/// One part: the pieces of text between its stars.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    pieces: Vec<String>,
}

impl Pattern {
    /// Reads a pattern; none if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text.chars().peekable();
        loop {
            let mut pieces = vec![String::new()];
            let mut something = false;
            let mut ended = true;
            while let Some(character) = rest.next() {
                let piece = pieces.last_mut().expect("there is always a piece");
                match character {
                    '.' => {
                        ended = false;
                        break;
                    }
                    '*' => pieces.push(String::new()),
                    '"' => loop {
                        match rest.next()? {
                            '"' if rest.next_if_eq(&'"').is_some() => piece.push('"'),
                            '"' => break,
                            inner => piece.push(inner),
                        }
                    },
                    other => piece.push(other),
                }
                something = true;
            }
            if !something {
                return None;
            }
            parts.push(Part { pieces });
            if ended {
                return Some(Self { parts });
            }
        }
    }

    /// How many parts it has.
    pub fn depth(&self) -> usize {
        self.parts.len()
    }

    /// True when it names one thing only.
    pub fn is_exact(&self) -> bool {
        self.parts.iter().all(|part| part.pieces.len() == 1)
    }

    /// True when every part fits.
    pub fn matches(&self, names: &[&str]) -> bool {
        self.parts.len() == names.len() && self.begins(names)
    }

    /// True when the first parts fit, as many as there are names.
    pub fn begins(&self, names: &[&str]) -> bool {
        self.parts.len() >= names.len() && self.parts.iter().zip(names).all(|(part, name)| part.matches(name))
    }
}

impl Part {
    fn text(&self) -> String {
        self.pieces.join("*")
    }

    fn matches(&self, name: &str) -> bool {
        let (first, others) = self.pieces.split_first().expect("there is always a piece");
        let Some((last, middle)) = others.split_last() else {
            return first == name;
        };
        let Some(rest) = name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str())) else {
            return false;
        };
        let mut rest = rest;
        for piece in middle {
            match rest.find(piece.as_str()) {
                Some(start) => rest = &rest[start + piece.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_and_read_back() {
        for parts in [vec!["public", "orders"], vec!["Odd one", "a.b"], vec!["x", "say \"hi\""], vec!["x", "a*b"]] {
            let path = join(&parts);
            assert_eq!(
                split(&path).as_deref(),
                Some(&parts.iter().map(|part| part.to_string()).collect::<Vec<_>>()[..])
            );
        }
        assert_eq!(join(&["public", "odd.name"]), "public.\"odd.name\"");
        for malformed in ["", ".", "a.", ".a", "a..b", "\"a", "a.\"b"] {
            assert!(split(malformed).is_none(), "{malformed}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters_of_one_part() {
        let fits = |pattern: &str, names: &[&str]| Pattern::parse(pattern).unwrap().matches(names);
        assert!(fits("public.orders", &["public", "orders"]));
        assert!(fits("public.*", &["public", "a.b"]));
        assert!(fits("*.order_*", &["shop", "order_lines"]));
        assert!(fits("*.a*b*c", &["shop", "a1b2bc"]));
        assert!(fits("public.\"a*b\"", &["public", "a*b"]));
        assert!(!fits("public.\"a*b\"", &["public", "axb"]));
        assert!(!fits("*.aa*aa", &["shop", "aaa"]));
        assert!(!fits("public.*", &["public", "a", "b"]));
        assert!(!fits("public.Orders", &["public", "orders"]));
    }
}
