//! Credentials and config of a bucket.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::connectors::documents::choice::Choice;
use crate::connectors::logins;
use crate::connectors::{Field, FieldType};
use crate::egress::http::Address;
use crate::egress::tls;
use crate::error::Violation;

const DEFAULT_REGION: &str = "us-east-1";

/// A key, or nothing for what everybody may read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    pub(super) access_key_id: Option<String>,
    #[serde(deserialize_with = "logins::optional_secret")]
    pub(super) secret_access_key: Option<SecretString>,
    #[serde(deserialize_with = "logins::optional_secret")]
    pub(super) session_token: Option<SecretString>,
}

impl Credentials {
    /// The field that is wrong, and how. None of them may be more than a header can
    /// hold.
    pub(super) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        let key = self.access_key_id.as_deref().unwrap_or_default();
        let secret = self.secret_access_key.as_ref().map(|secret| secret.expose_secret()).unwrap_or_default();
        let token = self.session_token.as_ref().map(|token| token.expose_secret()).unwrap_or_default();
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(key) || key.contains(['/', ',', '=']) {
            Some(("credentials.accessKeyId", "is not an access key id"))
        } else if !is_plain(secret) {
            Some(("credentials.secretAccessKey", "is not a secret access key"))
        } else if !is_plain(token) {
            Some(("credentials.sessionToken", "is not a session token"))
        } else if key.is_empty() && !secret.is_empty() {
            Some(("credentials.accessKeyId", "must be given with its secret"))
        } else if secret.is_empty() && !(key.is_empty() && token.is_empty()) {
            Some(("credentials.secretAccessKey", "must be given with the access key id"))
        } else {
            None
        }
    }
}

/// Everything that is not a credential.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub(super) bucket: String,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) path_style: Option<bool>,
    pub(super) prefix: Option<String>,
    pub(super) root_certificate: Option<String>,
    #[serde(flatten)]
    pub(super) choice: Choice,
}

impl Config {
    pub(super) fn region(&self) -> &str {
        given(&self.region).unwrap_or(DEFAULT_REGION)
    }

    /// Address of the server, without the bucket.
    pub(super) fn endpoint(&self) -> String {
        match given(&self.endpoint) {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://s3.{}.amazonaws.com", self.region()),
        }
    }

    /// True when the bucket is in the path; false when it is part of the host. The
    /// certificate of a server does not cover names with another dot.
    pub(super) fn is_path_style(&self) -> bool {
        self.path_style.unwrap_or(given(&self.endpoint).is_some() || self.bucket.contains('.'))
    }

    /// What all keys begin with: nothing, or a folder with its slash.
    pub(super) fn prefix(&self) -> String {
        match given(&self.prefix).map(|prefix| prefix.trim_matches('/')).unwrap_or_default() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        let mut violations = self.choice.violations();
        let mut wrong = |field: &str, reason: &str| violations.push(Violation::new(field, "INVALID_VALUE", reason));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_bucket = (1..=255).contains(&self.bucket.len())
            && self.bucket.bytes().all(is_name)
            && self.bucket.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !is_bucket {
            wrong("config.bucket", "must be the name of a bucket");
        }
        if !self.region().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') || self.region().len() > 64 {
            wrong("config.region", "must be a region such as eu-central-1");
        }
        match Address::parse(&self.endpoint()) {
            Some(address) if address.path() == "/" && address.query().is_none() => {
                let is_name =
                    address.host().bytes().any(|byte| byte.is_ascii_alphabetic()) && !address.host().starts_with('[');
                if !self.is_path_style() && !is_name {
                    wrong("config.pathStyle", "must be true where the endpoint is an address");
                }
            }
            _ => wrong("config.endpoint", "must be an http or https address without a path"),
        }
        if self.prefix().split('/').any(|name| matches!(name, "." | "..")) {
            wrong("config.prefix", "must not have a name that is `.` or `..`");
        }
        if given(&self.root_certificate).is_some_and(|pem| tls::check_root(pem).is_err()) {
            wrong("config.rootCertificate", "must be PEM text with a certificate");
        }
        violations
    }
}

/// What a form leaves empty was not given.
pub(super) fn given(setting: &Option<String>) -> Option<&str> {
    setting.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

pub(super) fn auth_fields() -> Vec<Field> {
    vec![
        Field::optional(
            "accessKeyId",
            FieldType::String,
            "Access key id",
            "Of a user who may list the bucket and read its files; empty for a bucket that everybody may read",
        ),
        Field::optional("secretAccessKey", FieldType::Password, "Secret access key", "The secret of the access key"),
        Field::optional("sessionToken", FieldType::Password, "Session token", "Only for temporary credentials"),
    ]
}

pub(super) fn config_fields() -> Vec<Field> {
    let mut fields = vec![
        Field::optional("bucket", FieldType::String, "Bucket", "Name of the bucket"),
        Field::optional("region", FieldType::String, "Region", "Region of the bucket, such as eu-central-1"),
        Field::optional(
            "endpoint",
            FieldType::String,
            "Endpoint",
            "Address of a server other than Amazon's, such as https://storage.example:9000",
        ),
        Field::optional(
            "pathStyle",
            FieldType::Boolean,
            "Bucket in the path",
            "Whether requests name the bucket in the path rather than in the host; true where an endpoint is given",
        ),
        Field::optional("prefix", FieldType::String, "Folder", "Folder of the bucket to read; all of it when empty"),
        Field::optional(
            "rootCertificate",
            FieldType::String,
            "Root certificate",
            "PEM text of the authority of the server's certificate, where that is no public one",
        ),
    ];
    fields[0].required = true;
    fields[1].default = Some(DEFAULT_REGION.into());
    fields.extend(Choice::fields());
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: serde_json::Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn settings_are_read_and_what_is_left_empty_has_a_default() {
        let plain = config(json!({"bucket": "documents", "endpoint": "", "prefix": "/", "maxFileSize": "5"}));
        assert!(plain.violations().is_empty());
        assert_eq!((plain.endpoint().as_str(), plain.prefix().as_str()), ("https://s3.us-east-1.amazonaws.com", ""));
        assert_eq!((plain.is_path_style(), plain.choice.size_limit()), (false, 5));
        let own = config(json!({"bucket": "b", "endpoint": "http://127.0.0.1:9000/", "prefix": "/a/b/"}));
        assert!(own.violations().is_empty());
        assert_eq!((own.endpoint().as_str(), own.prefix().as_str()), ("http://127.0.0.1:9000", "a/b/"));
        assert!(own.is_path_style() && config(json!({"bucket": "my.bucket"})).is_path_style());
    }

    #[test]
    fn settings_that_could_lead_elsewhere_are_refused() {
        for (field, value) in [
            ("bucket", json!("a/b")),
            ("bucket", json!("..")),
            ("bucket", json!("a?x")),
            ("bucket", json!("")),
            ("region", json!("eu/../x")),
            ("region", json!("a.example/")),
            ("endpoint", json!("ftp://a.example")),
            ("endpoint", json!("https://user:password@a.example")),
            ("endpoint", json!("https://a.example/path")),
            ("prefix", json!("a/../b")),
            ("rootCertificate", json!("no certificate")),
        ] {
            let mut value_of = json!({"bucket": "documents"});
            value_of[field] = value.clone();
            let violations = config(value_of).violations();
            let named: Vec<_> = violations.iter().map(|violation| violation.field.clone()).collect();
            assert!(named.contains(&format!("config.{field}")), "{field} {value}: {named:?}");
        }
        let by_address = config(json!({"bucket": "b", "endpoint": "http://127.0.0.1:9000", "pathStyle": false}));
        assert_eq!(by_address.violations().len(), 1);
    }

    #[test]
    fn credentials_are_whole_or_absent() {
        let wrong = |value: serde_json::Value| {
            serde_json::from_value::<Credentials>(value).unwrap().wrong().map(|(field, _)| field)
        };
        assert_eq!(wrong(json!({})), None);
        assert_eq!(wrong(json!({"accessKeyId": "", "secretAccessKey": ""})), None);
        assert_eq!(wrong(json!({"accessKeyId": "A", "secretAccessKey": "s/+="})), None);
        assert_eq!(wrong(json!({"accessKeyId": "A"})), Some("credentials.secretAccessKey"));
        assert_eq!(wrong(json!({"secretAccessKey": "s"})), Some("credentials.accessKeyId"));
        assert_eq!(wrong(json!({"sessionToken": "t"})), Some("credentials.secretAccessKey"));
        assert_eq!(wrong(json!({"accessKeyId": "A\n", "secretAccessKey": "s"})), Some("credentials.accessKeyId"));
        let token = json!({"accessKeyId": "A", "secretAccessKey": "s", "sessionToken": "t\r\nX: y"});
        assert_eq!(wrong(token), Some("credentials.sessionToken"));
    }
}
