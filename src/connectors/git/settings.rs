//! Credentials and config of a Git repository.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use crate::connectors::logins;
use crate::connectors::numbers;
use crate::connectors::rows::template::Template;
use crate::connectors::{Field, FieldType};
use crate::egress::http::Address;
use crate::egress::tls;
use crate::error::Violation;

const FILE_SIZE: u64 = 10 * 1024 * 1024;
/// A file is held in memory while it is decoded.
const LARGEST_FILE_SIZE: u64 = 256 * 1024 * 1024;
const REPOSITORY_SIZE: u64 = 1024 * 1024 * 1024;
const LARGEST_REPOSITORY_SIZE: u64 = 1024 * REPOSITORY_SIZE;
const COMMITS: u64 = 10_000;
const MOST_COMMITS: u64 = 100_000;

/// A login; a public repository needs none.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Credentials {
    pub(super) username: String,
    #[serde(deserialize_with = "logins::optional_secret")]
    pub(super) password: Option<SecretString>,
}

/// Settings of a connection.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    /// Address of the repository.
    pub(super) url: String,
    /// Branch or tag; none means the one that the server shows first.
    pub(super) branch: Option<String>,
    /// Globs of files to read; none means all.
    pub(super) include: Vec<String>,
    /// Globs of files and folders to leave out.
    pub(super) exclude: Vec<String>,
    /// Bytes above which only the name of a file is taken.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) max_file_size: Option<u64>,
    /// Template of the addresses of files.
    pub(super) url_template: Option<String>,
    /// The history too.
    pub(super) commits: bool,
    /// Most commits.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) commit_limit: Option<u64>,
    /// Template of the addresses of commits.
    pub(super) commit_url_template: Option<String>,
    /// Most bytes that the server may send.
    #[serde(deserialize_with = "numbers::optional_whole")]
    pub(super) max_repository_size: Option<u64>,
    /// PEM text that takes the place of the public authorities.
    pub(super) root_certificate: Option<String>,
}

impl Config {
    /// The address, with nothing behind it. None where it is not a plain one.
    pub(super) fn address(&self) -> Option<Address> {
        let address = Address::parse(self.url.trim_end_matches('/'))?;
        (address.query().is_none() && address.path().len() > 1 && !self.url.contains('#')).then_some(address)
    }

    /// The branch or tag that is named.
    pub(super) fn branch(&self) -> Option<&str> {
        self.branch.as_deref().filter(|branch| !branch.is_empty())
    }

    pub(super) fn file_limit(&self) -> u64 {
        self.max_file_size.unwrap_or(FILE_SIZE)
    }

    pub(super) fn repository_limit(&self) -> u64 {
        self.max_repository_size.unwrap_or(REPOSITORY_SIZE)
    }

    pub(super) fn commit_limit(&self) -> u32 {
        self.commit_limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(COMMITS as u32)
    }

    /// What of the config decides whom the credentials are shown to.
    pub(super) fn binding(&self) -> String {
        let origin = self.address().map(|address| address.origin());
        let origin = origin.map(|origin| (origin.encrypted, origin.host, origin.port));
        json!([origin, self.root_certificate]).to_string()
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut wrong = |field: &str, description: String| {
            violations.push(Violation::new(format!("config.{field}"), "INVALID_VALUE", description));
        };
        if self.address().is_none() {
            let description = "must be the https address of a repository, without user, password, query and fragment";
            wrong("url", description.to_owned());
        }
        if self.branch().is_some_and(|branch| !is_reference_name(branch)) {
            wrong("branch", "is not the name of a branch or tag".to_owned());
        }
        for (name, value, least, most) in [
            ("maxFileSize", self.file_limit(), 0, LARGEST_FILE_SIZE),
            ("maxRepositorySize", self.repository_limit(), 1, LARGEST_REPOSITORY_SIZE),
            ("commitLimit", self.commit_limit.unwrap_or(COMMITS), 1, MOST_COMMITS),
        ] {
            if !(least..=most).contains(&value) {
                wrong(name, format!("must be {least} to {most}"));
            }
        }
        if self.root_certificate.as_deref().is_some_and(|pem| tls::check_root(pem).is_err()) {
            wrong("rootCertificate", "must be PEM text with at least one certificate".to_owned());
        }
        for (name, template) in [("urlTemplate", &self.url_template), ("commitUrlTemplate", &self.commit_url_template)]
        {
            if let Err(error) = Template::compile_optional(name, template.as_deref()) {
                wrong(name, error.reason);
            }
        }
        violations
    }
}

/// Git's own rules, as far as they keep a name on one line and in one piece.
fn is_reference_name(name: &str) -> bool {
    let is_odd = |character: char| character.is_control() || " ~^:?*[\\".contains(character);
    name.len() <= 255
        && !name.contains(is_odd)
        && !name.contains("..")
        && !name.contains("@{")
        && name.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
        && !name.starts_with('-')
}

pub(super) fn auth_fields() -> Vec<Field> {
    let field = Field::optional;
    vec![
        field("username", FieldType::String, "User", "Login at the server; most take any name beside a token"),
        field(
            "password",
            FieldType::Password,
            "Password or token",
            "A token that may only read this repository is best; leave it empty for a public one",
        ),
    ]
}

pub(super) fn config_fields() -> Vec<Field> {
    let field = Field::optional;
    let with = |default: serde_json::Value, field: Field| Field { default: Some(default), ..field };
    vec![
        Field {
            required: true,
            ..field("url", FieldType::String, "Address", "The https address that one clones the repository from")
        },
        field("branch", FieldType::String, "Branch or tag", "The default branch of the server when empty"),
        field("include", FieldType::StringList, "Files to read", "Globs such as *.md or docs/**; all files when empty"),
        field("exclude", FieldType::StringList, "Files to leave out", "Globs such as vendor/** or *.min.js"),
        with(
            FILE_SIZE.into(),
            field(
                "maxFileSize",
                FieldType::Number,
                "Largest file",
                "Bytes above which only the name of a file is taken",
            ),
        ),
        field(
            "urlTemplate",
            FieldType::String,
            "Address of a file",
            "Template such as https://code.example/{{ branch }}/{{ path }}; known hosts need none",
        ),
        with(
            false.into(),
            field("commits", FieldType::Boolean, "Commits", "Read the history too: one document for each commit"),
        ),
        with(
            COMMITS.into(),
            field("commitLimit", FieldType::Number, "Most commits", "How many commits are read, the newest first"),
        ),
        field(
            "commitUrlTemplate",
            FieldType::String,
            "Address of a commit",
            "Template such as https://code.example/commit/{{ commit }}; known hosts need none",
        ),
        with(
            REPOSITORY_SIZE.into(),
            field(
                "maxRepositorySize",
                FieldType::Number,
                "Largest repository",
                "Bytes that the server may send for one sync; a larger repository is not read",
            ),
        ),
        field("rootCertificate", FieldType::String, "Root certificate", "PEM text; replaces the public authorities"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Config {
        Config { url: url.to_owned(), ..Config::default() }
    }

    #[test]
    fn an_address_is_one_of_a_repository_and_nothing_else() {
        for url in
            ["https://code.example/team/handbook.git", "https://code.example:8443/handbook/", "http://[::1]:80/a"]
        {
            assert_eq!(config(url).violations(), [], "{url}");
        }
        for url in [
            "",
            "https://code.example",
            "https://code.example/",
            "https://user:password@code.example/a",
            "https://code.example/a?service=git-receive-pack",
            "https://code.example/a#b",
            "ssh://code.example/a",
            "git@code.example:a/b",
            "file:///etc",
            "/etc",
        ] {
            assert_eq!(config(url).violations()[0].field, "config.url", "{url}");
        }
    }

    #[test]
    fn a_branch_is_one_name_on_one_line() {
        for branch in ["main", "refs/heads/main", "feature/größe", "v1.0"] {
            assert!(is_reference_name(branch), "{branch}");
        }
        for branch in ["a b", "a\nwant 0", "a..b", "-a", "/a", "a/", "a//b", "a.lock", ".a", "a*", "a^", "a~1", "@{u}"]
        {
            assert!(!is_reference_name(branch), "{branch:?}");
        }
    }

    #[test]
    fn credentials_are_bound_to_the_server_and_its_certificate() {
        let one = config("https://code.example/a");
        assert_eq!(one.binding(), config("https://code.example:443/b").binding());
        for other in ["https://code.example:8443/a", "http://code.example/a", "https://other.example/a"] {
            assert_ne!(one.binding(), config(other).binding(), "{other}");
        }
    }
}
