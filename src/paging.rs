//! Pages of lists: sealed tokens that carry a position, bound to the list and to
//! everything else that the caller asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;
use crate::secrets::page_token::TokenSealer;

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// One page, and the token for the next if there is one.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Token for the next page.
    pub next: Option<String>,
}

/// Which page a caller wants.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// As given: 0 means the default.
    pub size: i32,
    /// As given: empty means the first page.
    pub token: &'a str,
}

impl Wanted<'_> {
    /// How many to return: the default for 0, never more than the most.
    pub fn size(&self, default: usize, most: usize) -> usize {
        match usize::try_from(self.size) {
            Ok(0) | Err(_) => default,
            Ok(size) => size.min(most),
        }
    }
}

/// Opens and seals the tokens of every list.
#[derive(Clone)]
pub struct Pages {
    sealer: TokenSealer,
}

impl Pages {
    /// Pages with tokens by this sealer.
    pub fn new(sealer: TokenSealer) -> Self {
        Self { sealer }
    }

    /// The position in a token; none for the first page.
    pub fn open<P: DeserializeOwned>(&self, list: &str, arguments: &[&str], token: &str) -> Result<Option<P>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let position = self
            .sealer
            .open(list, hash(arguments), token, now())
            .map_err(|error| Error::invalid("page_token", "INVALID_VALUE", error.to_string()))?;
        serde_json::from_slice(&position)
            .map(Some)
            .map_err(|_| Error::invalid("page_token", "INVALID_VALUE", "is not a page token of this server"))
    }

    /// A token for a position.
    pub fn seal<P: Serialize>(&self, list: &str, arguments: &[&str], position: &P) -> Result<String, Error> {
        let position = serde_json::to_vec(position).map_err(Error::internal)?;
        let lifetime = i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX);
        Ok(self.sealer.seal(list, hash(arguments), &position, now().saturating_add(lifetime)))
    }

    /// A page of what was fetched with one more than wanted: the one too many
    /// tells that there is another page.
    pub fn cut<T, P: Serialize>(
        &self,
        list: &str,
        arguments: &[&str],
        mut items: Vec<T>,
        size: usize,
        position: impl Fn(&T) -> P,
    ) -> Result<Page<T>, Error> {
        let more = items.len() > size;
        items.truncate(size);
        let next = match items.last() {
            Some(last) if more => Some(self.seal(list, arguments, &position(last))?),
            Some(_) | None => None,
        };
        Ok(Page { items, next })
    }
}

/// Each argument with its length before it, so that no two lists hash the same.
fn hash(arguments: &[&str]) -> u64 {
    let mut hasher = Xxh3::new();
    for argument in arguments {
        hasher.update(&(argument.len() as u64).to_le_bytes());
        hasher.update(argument.as_bytes());
    }
    hasher.digest()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::secrets::Vault;
    use crate::secrets::key_ring::KeyRing;

    fn pages() -> Pages {
        Pages::new(Vault::new(KeyRing::generate().0).page_tokens())
    }

    #[test]
    fn a_token_gives_its_position_back_for_the_same_call_only() {
        let pages = pages();
        let token = pages.seal("keys", &["a", "b"], &(7_i64, "key_1")).expect("seals");
        let position: Option<(i64, String)> = pages.open("keys", &["a", "b"], &token).expect("is good");
        assert_eq!(position, Some((7, "key_1".to_owned())));
        for (list, arguments) in [("keys", ["ab", ""]), ("syncs", ["a", "b"])] {
            let refused = pages.open::<(i64, String)>(list, &arguments, &token).expect_err("is for another call");
            assert_eq!(refused.reason(), Reason::InvalidArgument);
            assert_eq!(refused.field_violations()[0].field, "page_token");
        }
        assert!(pages.open::<(i64, String)>("keys", &["a", "b"], "nonsense").is_err());
        assert_eq!(pages.open::<i64>("keys", &[], "").expect("is the first page"), None);
    }

    #[test]
    fn a_page_has_a_token_only_when_there_is_more() {
        let pages = pages();
        let whole = pages.cut("list", &[], vec![1, 2], 2, |item| *item).expect("cuts");
        assert_eq!(whole, Page { items: vec![1, 2], next: None });
        let part = pages.cut("list", &[], vec![1, 2, 3], 2, |item| *item).expect("cuts");
        assert_eq!(part.items, [1, 2]);
        assert_eq!(pages.open::<i32>("list", &[], &part.next.expect("there is more")).expect("is good"), Some(2));
    }

    #[test]
    fn sizes_have_a_default_and_a_most() {
        let size = |size| Wanted { size, token: "" }.size(50, 1000);
        assert_eq!((size(0), size(7), size(5000)), (50, 7, 1000));
    }
}
