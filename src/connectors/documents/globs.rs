//! Globs for paths: `?` is one character, `*` any within a segment, `**` any
//! number of segments. A glob without `/` is for the last segment at any depth.

/// True when the glob matches the whole path.
pub(in crate::connectors) fn matches(glob: &str, path: &str) -> bool {
    let glob = glob.trim_matches('/');
    let segments: Vec<&str> = path.split('/').collect();
    if !glob.contains('/') && glob != "**" {
        return segments.last().is_some_and(|name| segment_matches(glob, name));
    }
    let pattern: Vec<&str> = glob.split('/').collect();
    // reached[i]: the pattern so far can stand for the first i segments.
    let mut reached = vec![false; segments.len() + 1];
    reached[0] = true;
    for part in pattern {
        let mut next = vec![false; segments.len() + 1];
        let mut open = false;
        for index in 0..=segments.len() {
            if part == "**" {
                open |= reached[index];
                next[index] = open;
            } else if index > 0 && reached[index - 1] {
                next[index] = segment_matches(part, segments[index - 1]);
            }
        }
        reached = next;
    }
    reached[segments.len()]
}

/// True when files below the folder could match the glob.
pub(in crate::connectors) fn may_match_below(glob: &str, folder: &str) -> bool {
    let glob = glob.trim_matches('/');
    if !glob.contains('/') {
        return true;
    }
    let mut pattern = glob.split('/');
    for segment in folder.split('/') {
        match pattern.next() {
            Some("**") => return true,
            Some(part) if segment_matches(part, segment) => {}
            Some(_) | None => return false,
        }
    }
    pattern.next().is_some()
}

fn segment_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at_pattern, mut at_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        match pattern.get(at_pattern) {
            Some('*') => {
                star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(character) if *character == '?' || *character == name[at_name] => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => {
                let Some((star_pattern, star_name)) = star else { return false };
                star = Some((star_pattern, star_name + 1));
                at_pattern = star_pattern + 1;
                at_name = star_name + 1;
            }
        }
    }
    pattern[at_pattern..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_segments_and_depths() {
        for (glob, path, expected) in [
            ("*.md", "a/b/c.md", true),
            ("*.md", "c.mdx", false),
            ("a/*.md", "a/c.md", true),
            ("a/*.md", "a/b/c.md", false),
            ("a/**", "a/b/c.md", true),
            ("a/**/*.md", "a/c.md", true),
            ("a/**/*.md", "a/b/b/c.md", true),
            ("**/c.md", "c.md", true),
            ("**", "a/b", true),
            ("a?.txt", "aé.txt", true),
            ("a?.txt", "a.txt", false),
            ("/a/b", "a/b", true),
        ] {
            assert_eq!(matches(glob, path), expected, "{glob} {path}");
        }
    }

    #[test]
    fn folders_that_cannot_hold_a_match_are_known() {
        assert!(may_match_below("*.md", "any/where"));
        assert!(may_match_below("a/**", "a"));
        assert!(may_match_below("a/*/c.md", "a/b"));
        assert!(!may_match_below("a/c.md", "a/b"));
        assert!(!may_match_below("a/**", "b"));
    }
}
