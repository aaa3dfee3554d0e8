//! Where the keeper of the key-encryption key is, when there is one outside.

use std::path::PathBuf;

use secrecy::SecretString;

use super::values::Reader;

/// An OpenBao or Vault whose transit engine wraps data keys.
#[derive(Debug, Clone)]
pub struct TransitConfig {
    /// Its address: `https`, or `http` on loopback.
    pub url: http::Uri,
    /// Path of the transit engine.
    pub mount: String,
    /// Name of the key.
    pub key: String,
    /// What it knows us by.
    pub token: TransitToken,
    /// PEM file with the only authorities to trust; none means the public ones.
    pub root_certificate: Option<PathBuf>,
}

/// What a keeper knows us by.
#[derive(Debug, Clone)]
pub enum TransitToken {
    /// Given in the environment.
    Given(SecretString),
    /// In a file that somebody keeps fresh.
    File(PathBuf),
}

impl Reader {
    /// The keeper, if one is named.
    pub(super) fn transit(&mut self) -> Option<TransitConfig> {
        let others = ["transit_token", "transit_token_file", "transit_root_certificate"];
        if !self.is_set("transit_url") {
            if let Some(other) = others.into_iter().find(|name| self.is_set(name)) {
                self.refuse(other, "has no meaning without a transit address (--transit-url)");
            }
            return None;
        }
        let text = self.text("transit_url");
        let url = text.parse::<http::Uri>().ok().filter(is_keeper);
        if url.is_none() {
            self.refuse("transit_url", "must be https://host:port, or http:// to this machine, without a path");
        }
        let token = match (self.secret("transit_token"), self.is_set("transit_token_file")) {
            (Some(token), false) => Some(TransitToken::Given(SecretString::from(token))),
            (None, true) => Some(TransitToken::File(self.text("transit_token_file").into())),
            (Some(_), true) => {
                self.refuse("transit_token_file", "and a token are both given; one is enough");
                None
            }
            (None, false) => {
                self.refuse("transit_url", "needs a token: --transit-token-file, or TRIBUTARY_TRANSIT_TOKEN");
                None
            }
        };
        let root_certificate = self.is_set("transit_root_certificate");
        let root_certificate = root_certificate.then(|| self.text("transit_root_certificate").into());
        let (mount, key) = (self.path_part("transit_mount"), self.path_part("transit_key"));
        Some(TransitConfig { url: url?, mount: mount?, key: key?, token: token?, root_certificate })
    }

    fn path_part(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name);
        let is_plain = text.split('/').all(|part| {
            !part.trim_matches('.').is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        });
        if !is_plain {
            self.refuse(name, "must be letters, digits, `-`, `_` and `.`");
        }
        is_plain.then_some(text)
    }
}

/// In plain text only to this machine: the token and every data key travel there.
fn is_keeper(url: &http::Uri) -> bool {
    let is_here = matches!(url.host(), Some("127.0.0.1" | "localhost" | "[::1]"));
    let is_plain_path = matches!(url.path(), "" | "/") && url.query().is_none();
    let has_no_login = url.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    is_plain_path && has_no_login && matches!((url.scheme_str(), is_here), (Some("https"), _) | (Some("http"), true))
}
