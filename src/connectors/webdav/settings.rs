//! Credentials and config of a folder.

use secrecy::SecretString;
use serde::Deserialize;

use crate::connectors::documents::choice::Choice;
use crate::connectors::logins;
use crate::connectors::{ConnectorError, Field, FieldType};
use crate::egress::http::{Address, Authorization};
use crate::egress::tls;
use crate::error::Violation;

/// A login, or nothing for what everybody may read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Credentials {
    username: Option<String>,
    #[serde(deserialize_with = "logins::optional_secret")]
    password: Option<SecretString>,
}

impl Credentials {
    /// The login as a header; none where there is no login.
    pub(super) fn authorization(&self) -> Result<Option<Authorization>, ConnectorError> {
        let invalid = |field: &str, reason: &str| ConnectorError::Invalid {
            field: format!("credentials.{field}"),
            reason: reason.to_owned(),
        };
        match (self.username.as_deref().filter(|name| !name.is_empty()), &self.password) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(invalid("username", "must be given with the password")),
            (Some(_), None) => Err(invalid("password", "must be given with the user name")),
            (Some(username), Some(password)) => Authorization::basic(username, password)
                .map(Some)
                .ok_or_else(|| invalid("username", "has a colon, or it or the password has a control character")),
        }
    }
}

/// Everything that is not a credential.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub(super) url: String,
    pub(super) root_certificate: Option<String>,
    #[serde(flatten)]
    pub(super) choice: Choice,
}

impl Config {
    /// Address of the folder, with its slash.
    pub(super) fn folder(&self) -> Option<Address> {
        let url = self.url.trim();
        let whole = if url.ends_with('/') { url.to_owned() } else { format!("{url}/") };
        Address::parse(&whole).filter(|address| address.query().is_none() && !url.contains('#'))
    }

    pub(super) fn root_certificate(&self) -> Option<&str> {
        self.root_certificate.as_deref().filter(|pem| !pem.trim().is_empty())
    }

    /// Scheme, host and port, and whose certificates are believed.
    pub(super) fn binding(&self) -> String {
        let origin = self.folder().map(|folder| folder.origin());
        let origin = origin.map(|origin| format!("{} {} {}", origin.encrypted, origin.host, origin.port));
        format!("{}\n{}", origin.unwrap_or_default(), self.root_certificate().unwrap_or_default())
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = self.choice.violations();
        let mut wrong = |field: &str, reason: &str| violations.push(Violation::new(field, "INVALID_VALUE", reason));
        if self.folder().is_none() {
            wrong("config.url", "must be the http or https address of a folder, without a user, query or fragment");
        }
        if self.root_certificate().is_some_and(|pem| tls::check_root(pem).is_err()) {
            wrong("config.rootCertificate", "must be PEM text with a certificate");
        }
        violations
    }
}

pub(super) fn auth_fields() -> Vec<Field> {
    vec![
        Field::optional("username", FieldType::String, "User name", "Empty for a folder that everybody may read"),
        Field::optional(
            "password",
            FieldType::Password,
            "Password",
            "Best an app password that can be taken back by itself",
        ),
    ]
}

pub(super) fn config_fields() -> Vec<Field> {
    let mut fields = vec![
        Field::optional(
            "url",
            FieldType::String,
            "Address of the folder",
            "Such as https://cloud.example/remote.php/dav/files/USER/Documents/",
        ),
        Field::optional(
            "rootCertificate",
            FieldType::String,
            "Root certificate",
            "PEM text of the authority of the server's certificate, where that is no public one",
        ),
    ];
    fields[0].required = true;
    fields.extend(Choice::fields());
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_of_a_folder_and_plain() {
        let of = |url: &str| serde_json::from_value::<Config>(json!({"url": url})).unwrap();
        assert_eq!(of("https://a.example/dav").folder().unwrap().as_str(), "https://a.example/dav/");
        assert!(of("https://a.example/").violations().is_empty());
        for odd in
            ["", "a.example", "ftp://a.example/", "https://u:p@a.example/", "https://a.example/?x=1", "https://a/#x"]
        {
            assert_eq!(of(odd).violations().len(), 1, "{odd}");
        }
        assert_ne!(of("https://a.example/").binding(), of("http://a.example/").binding());
        assert_eq!(of("https://a.example/x").binding(), of("https://a.example/y/").binding());
    }

    #[test]
    fn a_login_is_whole_or_absent() {
        let of = |value: serde_json::Value| serde_json::from_value::<Credentials>(value).unwrap().authorization();
        assert!(of(json!({})).unwrap().is_none());
        assert!(of(json!({"username": "a", "password": "b"})).unwrap().is_some());
        for odd in [json!({"username": "a"}), json!({"password": "b"}), json!({"username": "a:b", "password": "c"})] {
            assert!(matches!(of(odd), Err(ConnectorError::Invalid { .. })));
        }
    }
}
