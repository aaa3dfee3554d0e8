//! Versions as callers see them: quoted, opaque, and only ever compared.

use crate::error::{Error, Reason};

/// The ETag of a version.
pub fn of(version: i64) -> String {
    format!("\"{version:x}\"")
}

/// The version that the store must still find: none when the caller does not
/// care. An `If-Match` may list several, or be `*`.
pub fn expected(given: Option<&str>, current: i64) -> Result<Option<i64>, Error> {
    let Some(given) = given.map(str::trim).filter(|given| !given.is_empty() && *given != "*") else {
        return Ok(None);
    };
    let current_etag = of(current);
    if given.split(',').any(|etag| etag.trim() == current_etag) { Ok(Some(current)) } else { Err(mismatch()) }
}

/// Somebody else has changed it.
pub fn mismatch() -> Error {
    Error::new(Reason::EtagMismatch, "it has changed since it was read; read it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_current_version_matches() {
        assert_eq!(of(31), "\"1f\"");
        assert_eq!(expected(Some("\"1f\""), 31).expect("is current"), Some(31));
        assert_eq!(expected(Some("\"1e\", \"1f\""), 31).expect("one is current"), Some(31));
        for free in [None, Some(""), Some("*")] {
            assert_eq!(expected(free, 31).expect("asks for none"), None);
        }
        for other in ["\"20\"", "1f", "W/\"1f\""] {
            assert_eq!(expected(Some(other), 31).expect_err(other).reason(), Reason::EtagMismatch);
        }
    }
}
