//! Patterns for names of tables and columns: `sales.*`, `*_log`, `users.password`.

/// Patterns of which any may match. `*` stands for any characters, also none;
/// everything else stands for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Takes the patterns of a setting.
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.to_vec())
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when any matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }
}

/// True when the pattern matches the whole name. Takes at most pattern times name
/// steps.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at_pattern, mut at_name) = (0, 0);
    // Where the last `*` was, and the first byte of the name that it does not hold.
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            star = Some((at_pattern, at_name));
            at_pattern += 1;
        } else if pattern.get(at_pattern) == Some(&name[at_name]) {
            at_pattern += 1;
            at_name += 1;
        } else if let Some((star_pattern, star_name)) = star {
            star = Some((star_pattern, star_name + 1));
            at_pattern = star_pattern + 1;
            at_name = star_name + 1;
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "order", false),
            ("*", "", true),
            ("public.*", "public.orders", true),
            ("public.*", "private.orders", false),
            ("*_log", "audit_log", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "", true),
            ("", "a", false),
            ("größe*", "größen", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        let hostile = "a*".repeat(50) + "b";
        assert!(!matches(&hostile, &"a".repeat(2_000)));
    }
}
