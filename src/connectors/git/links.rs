//! Addresses of files and commits, at the hosts that many use.

use crate::egress::http::Address;
use url::Url;

/// How a host builds its addresses.
struct Style {
    file: &'static [&'static str],
    commit: &'static [&'static str],
}

/// The page of a file; none at a host that we do not know.
pub(super) fn file(repository: &Address, branch: &str, path: &str) -> Option<String> {
    let style = style(repository)?;
    page(repository, style.file, branch.split('/').chain(path.split('/')))
}

/// The page of a commit.
pub(super) fn commit(repository: &Address, id: &str) -> Option<String> {
    page(repository, style(repository)?.commit, std::iter::once(id))
}

fn style(repository: &Address) -> Option<Style> {
    let (file, commit): (&[&str], &[&str]) = match repository.host() {
        "github.com" => (&["blob"], &["commit"]),
        "gitlab.com" => (&["-", "blob"], &["-", "commit"]),
        "bitbucket.org" => (&["src"], &["commits"]),
        "codeberg.org" => (&["src", "branch"], &["commit"]),
        _ => return None,
    };
    Some(Style { file, commit })
}

fn page<'a>(repository: &Address, between: &[&str], rest: impl Iterator<Item = &'a str>) -> Option<String> {
    let base = repository.as_str().trim_end_matches('/');
    let mut url = Url::parse(base.strip_suffix(".git").unwrap_or(base)).ok()?;
    url.path_segments_mut().ok()?.extend(between).extend(rest);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hosts_have_pages_and_others_none() {
        let of = |url: &str| Address::parse(url).unwrap();
        for (url, wanted_file, wanted_commit) in [
            (
                "https://github.com/a/b.git",
                "https://github.com/a/b/blob/x/y/d%20e/f%23.md",
                "https://github.com/a/b/commit/12",
            ),
            (
                "https://gitlab.com/a/c/b",
                "https://gitlab.com/a/c/b/-/blob/x/y/d%20e/f%23.md",
                "https://gitlab.com/a/c/b/-/commit/12",
            ),
            (
                "https://bitbucket.org/a/b",
                "https://bitbucket.org/a/b/src/x/y/d%20e/f%23.md",
                "https://bitbucket.org/a/b/commits/12",
            ),
            (
                "https://codeberg.org/a/b",
                "https://codeberg.org/a/b/src/branch/x/y/d%20e/f%23.md",
                "https://codeberg.org/a/b/commit/12",
            ),
        ] {
            assert_eq!(file(&of(url), "x/y", "d e/f#.md").as_deref(), Some(wanted_file));
            assert_eq!(commit(&of(url), "12").as_deref(), Some(wanted_commit));
        }
        assert_eq!(file(&of("https://code.example/a/b"), "main", "c"), None);
    }
}
