//! Reads values: each by its kind, with all problems noted and the default in
//! place of what cannot be read, so that one mistake does not hide the next.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;

use super::layers::{Layers, Origin, Raw};
use super::settings::{self, Kind, Setting};
use super::{Database, InForce, KeySource, OidcConfig, Problem, Shown};

const SHORTEST_ADMIN_KEY: usize = 24;
const KEY_COMMAND: &str = "tributary keys encryption > FILE";

pub(super) struct Reader {
    layers: Layers,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(mut layers: Layers) -> Self {
        let problems = std::mem::take(&mut layers.problems);
        Self { layers, problems }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(super) fn refuse(&mut self, name: &str, message: impl std::fmt::Display) {
        let origin = self.origin(name);
        let message = match origin {
            Origin::File(_) | Origin::Default => format!("`{name}` {message}"),
            Origin::Variable(_) | Origin::Flag(_) => message.to_string(),
        };
        let problem = Problem { origin, message };
        // A value is read once for use and once to be shown.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn origin(&self, name: &str) -> Origin {
        self.layers.get(name).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.layers.get(name).is_some()
    }

    /// The text of a setting, or its default.
    pub(super) fn text(&mut self, name: &'static str) -> String {
        let setting = known(name);
        let given = match self.layers.get(name) {
            Some((Raw::Text(text), _)) => text.trim().to_owned(),
            Some((Raw::List(_), _)) | None => return setting.default.to_owned(),
        };
        if given.is_empty() {
            self.refuse(name, "must not be empty");
        } else if let Kind::Word(words) = setting.kind
            && !words.contains(&given.as_str())
        {
            self.refuse(name, format!("must be one of: {}", words.join(", ")));
        } else {
            return given;
        }
        setting.default.to_owned()
    }

    /// The parts of a list, without empty ones.
    pub(super) fn list(&mut self, name: &'static str) -> Vec<String> {
        let parts: Vec<String> = match self.layers.get(name) {
            Some((Raw::List(parts), _)) => parts.clone(),
            Some((Raw::Text(text), _)) => text.split(',').map(str::to_owned).collect(),
            None => known(name).default.split(',').map(str::to_owned).collect(),
        };
        parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    /// A whole number within its bounds.
    pub(super) fn whole(&mut self, name: &'static str) -> usize {
        let setting = known(name);
        let Kind::Whole(least, most) = setting.kind else { unreachable!("`{name}` is a number") };
        let read = |text: &str| text.parse::<u64>().ok().filter(|whole| (least..=most).contains(whole));
        let fallback = read(setting.default).expect("the defaults are within their bounds");
        let whole = match self.layers.get(name) {
            Some((Raw::Text(text), _)) => read(text.trim()),
            Some((Raw::List(_), _)) | None => Some(fallback),
        };
        if whole.is_none() {
            self.refuse(name, format!("must be a whole number from {least} to {most}"));
        }
        whole.unwrap_or(fallback) as usize
    }

    /// A time in whole seconds.
    pub(super) fn seconds(&mut self, name: &'static str) -> Duration {
        Duration::from_secs(self.whole(name) as u64)
    }

    /// Yes or no.
    pub(super) fn switch(&mut self, name: &'static str) -> bool {
        let given = match self.layers.get(name) {
            Some((Raw::Text(text), _)) => text.trim(),
            Some((Raw::List(_), _)) | None => known(name).default,
        };
        match given {
            "true" => true,
            "false" => false,
            _ => {
                self.refuse(name, "must be true or false");
                known(name).default == "true"
            }
        }
    }

    /// Addresses with ports; names are not looked up, but for `localhost`.
    pub(super) fn addresses(&mut self, name: &'static str) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for part in self.list(name) {
            let text = part.strip_prefix("localhost:").map_or(part.clone(), |port| format!("127.0.0.1:{port}"));
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.refuse(
                    name,
                    format!("has `{part}`, which is not ADDRESS:PORT, such as 127.0.0.1:8420 or [::]:8420"),
                ),
            }
        }
        if addresses.is_empty() && self.is_set(name) && self.list(name).is_empty() {
            self.refuse(name, "needs at least one ADDRESS:PORT");
        }
        addresses
    }

    /// Web origins: scheme, host and perhaps port, or `*`.
    pub(super) fn origins(&mut self, name: &'static str) -> Vec<String> {
        let parts = self.list(name);
        for part in &parts {
            let is_origin = part.parse::<http::Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                    && !part.ends_with('/')
                    && uri.path() == "/"
                    && uri.query().is_none()
            });
            if !is_origin && part != "*" {
                self.refuse(
                    name,
                    format!("has `{part}`, which is not an origin such as https://app.example.com, without a path"),
                );
            }
        }
        parts
    }

    /// The address of a collector.
    pub(super) fn endpoint(&mut self, name: &'static str) -> Option<String> {
        if !self.is_set(name) {
            return None;
        }
        let text = self.text(name);
        let is_address = text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        });
        if !is_address {
            self.refuse(name, "must be an address such as http://127.0.0.1:4317");
        }
        Some(text)
    }

    /// The identity provider, if one is named; then everything about it must be.
    pub(super) fn oidc(&mut self) -> Option<OidcConfig> {
        if !self.is_set("oidc_issuer") {
            for name in ["oidc_audience", "oidc_roles_claim", "oidc_roles"] {
                if self.is_set(name) {
                    self.refuse(name, "means nothing without oidc_issuer");
                }
            }
            return None;
        }
        for name in ["oidc_audience", "oidc_roles"] {
            if !self.is_set(name) {
                self.refuse("oidc_issuer", format!("needs {name} too"));
            }
        }
        let issuer = self.text("oidc_issuer");
        let is_issuer = issuer.parse::<http::Uri>().is_ok_and(|uri| {
            let plain_host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            matches!(uri.scheme_str(), Some("http" | "https")) && plain_host && uri.query().is_none()
        });
        if !is_issuer {
            self.refuse("oidc_issuer", "must be an address such as https://id.example.com, without a query");
        }
        Some(OidcConfig {
            issuer,
            audience: self.text("oidc_audience"),
            roles_claim: self.text("oidc_roles_claim"),
            roles: self.list("oidc_roles"),
        })
    }

    /// The secret of the admin key.
    pub(super) fn admin_key(&mut self) -> Option<SecretString> {
        let secret = self.secret("admin_key")?;
        if secret.chars().count() < SHORTEST_ADMIN_KEY {
            self.refuse("admin_key", format!("must have {SHORTEST_ADMIN_KEY} characters or more"));
        } else if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.refuse("admin_key", "must be visible ASCII characters, since it travels in a header");
        }
        Some(SecretString::from(secret))
    }

    pub(super) fn secret(&self, name: &'static str) -> Option<String> {
        match self.layers.get(name) {
            Some((Raw::Text(text), _)) => Some(text.trim().to_owned()),
            Some((Raw::List(_), _)) | None => None,
        }
    }

    /// The metadata database: the one given, else a file in the data folder.
    pub(super) fn database(&mut self, data_dir: &Path) -> (Database, SecretString) {
        let given = self.secret("database_url");
        let url = given.unwrap_or_else(|| format!("sqlite://{}", data_dir.join("tributary.db").display()));
        let database = match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Database::Postgres,
            Some("sqlite") => Database::Sqlite,
            _ => {
                self.refuse("database_url", "must begin with postgres:// or sqlite://");
                Database::Sqlite
            }
        };
        (database, SecretString::from(url))
    }

    /// Where the encryption key comes from: one place, and with a database server
    /// one that the operator names, since a file made beside one of several nodes
    /// would be a key that the others lack.
    pub(super) fn key_source(&mut self, data_dir: &Path, database: Database) -> KeySource {
        let embedded = KeySource::Embedded(data_dir.join("encryption.key"));
        let names = ["encryption_key", "encryption_key_file", "encryption_key_command"];
        let given: Vec<&'static str> = names.into_iter().filter(|name| self.is_set(name)).collect();
        match given.as_slice() {
            [] if database == Database::Sqlite => embedded,
            [] => {
                let message = format!(
                    "is a PostgreSQL server, so an encryption key must be given: make one with `{KEY_COMMAND}` and start \
                     with `--encryption-key-file FILE` on every node"
                );
                self.refuse("database_url", message);
                embedded
            }
            ["encryption_key"] => match self.secret("encryption_key") {
                // Keys are separated by lines, which a variable cannot always hold.
                Some(secret) => KeySource::Given(SecretString::from(secret.replace([',', ' '], "\n"))),
                None => embedded,
            },
            ["encryption_key_file"] => KeySource::File(self.text("encryption_key_file").into()),
            ["encryption_key_command"] => KeySource::Command(self.text("encryption_key_command")),
            [first, rest @ ..] => {
                let others: Vec<String> = rest.iter().map(|name| self.origin(name).to_string()).collect();
                self.refuse(
                    first,
                    format!("is one of several places for the encryption key; also {}", others.join(", ")),
                );
                embedded
            }
        }
    }

    /// Every setting as it is shown.
    pub(super) fn in_force(&mut self) -> Vec<InForce> {
        settings::ALL
            .iter()
            .map(|setting| InForce { setting, value: self.shown(setting), origin: self.origin(setting.name) })
            .collect()
    }

    fn shown(&mut self, setting: &'static Setting) -> Option<Shown> {
        let is_set = self.is_set(setting.name);
        match setting.kind {
            Kind::Secret | Kind::EnvironmentSecret => is_set.then_some(Shown::Hidden),
            Kind::Url => self.secret(setting.name).map(|url| Shown::Text(without_password(&url))),
            Kind::List => Some(Shown::List(self.list(setting.name))),
            Kind::Switch => Some(Shown::Switch(self.switch(setting.name))),
            Kind::Whole(..) => Some(Shown::Whole(self.whole(setting.name) as u64)),
            Kind::Text | Kind::Word(_) if !is_set && setting.default.is_empty() => None,
            Kind::Text | Kind::Word(_) => Some(Shown::Text(self.text(setting.name))),
        }
    }
}

fn known(name: &str) -> &'static Setting {
    settings::find(name).expect("the code asks for settings of the list only")
}

/// Keeps scheme, user, host and path; drops the password and all parameters,
/// among which there can be one too.
fn without_password(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return String::new() };
    match rest.rsplit_once('@') {
        Some((login, rest)) => format!("{scheme}://{}@{rest}", login.split(':').next().unwrap_or_default()),
        None => format!("{scheme}://{rest}"),
    }
}
