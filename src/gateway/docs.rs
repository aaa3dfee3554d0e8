//! The API as a page to read: one self-contained HTML made of the OpenAPI
//! document. No scripts and nothing from elsewhere, so it works offline and
//! under a strict content security policy.

mod json;
mod view;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::gateway::docs::view::View;

const TEMPLATE: &str = include_str!("docs.html");
const STYLE: &str = include_str!("docs.css");

/// The page and the policy that it is to be sent with.
#[derive(Debug, Clone)]
pub struct Docs {
    /// The whole page. Shared by all answers, which may be many at once.
    pub html: Bytes,
    /// Value of `Content-Security-Policy`: its own style by hash, nothing else.
    pub content_security_policy: String,
}

/// Makes the page of an OpenAPI document. `base` is the address in the curl
/// lines, e.g. `http://127.0.0.1:8080`.
pub fn page(document: &Value, base: &str) -> Result<Docs, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_template("docs.html", TEMPLATE)?;
    let style = minijinja::Value::from_safe_string(STYLE.to_owned());
    let view = minijinja::Value::from(Serde(View::of(document, base)));
    let html = environment.get_template("docs.html")?.render(context! { view, style })?;
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let content_security_policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    Ok(Docs { html: html.into(), content_security_policy })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gateway::openapi::{OpenApiSettings, document};
    use crate::gateway::rules::Table;

    fn made() -> String {
        let table = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap();
        let settings = OpenApiSettings {
            title: "Rivers & <lakes>".into(),
            version: "1".into(),
            description: "First.".into(),
            services: Vec::new(),
            servers: vec!["/".into()],
            examples: json!({"CollectionService_CreateCollection": {"request": {"name": "it's <mine>"}}}),
            reasons: vec![("invalid_argument".into(), 400)],
            role_name: |_| None,
        };
        let docs = page(&document(&table, &settings), "http://127.0.0.1:8080").unwrap();
        String::from_utf8(docs.html.to_vec()).unwrap()
    }

    #[test]
    fn every_operation_is_on_the_page() {
        let docs = made();
        let table = Table::load(crate::proto::DESCRIPTORS, "tributary.v1.rest").unwrap();
        for route in table.routes() {
            let id = format!("id=\"{}_{}", route.method.parent_service().name(), route.method.name());
            assert!(docs.contains(&id), "{id}");
        }
    }

    #[test]
    fn text_is_escaped_and_quotes_in_curl_lines_hold() {
        let docs = made();
        assert!(docs.contains("Rivers &amp; &lt;lakes&gt;"));
        assert!(!docs.contains("<mine>"));
        assert!(docs.contains("it&#x27;\\&#x27;&#x27;s &lt;mine&gt;"));
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let docs = made();
        for forbidden in ["<script", "<link", "<img", "@import", "url(", " style=", " onclick="] {
            assert!(!docs.contains(forbidden), "{forbidden}");
        }
        let style = docs.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
        assert_eq!(style, STYLE);
    }

    #[test]
    fn links_inside_the_page_lead_somewhere() {
        let docs = made();
        for link in docs.split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap();
            assert!(docs.contains(&format!("id=\"{target}\"")), "{target}");
        }
    }
}
