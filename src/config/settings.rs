//! The one list of settings: name in the TOML file, from which variable and flag
//! follow, kind, default and what it is for.

/// What kind of value a setting takes, and where it may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Yes or no; as a flag it can stand without a value.
    Switch,
    /// A whole number in these bounds.
    Whole(u64, u64),
    /// A list: an array in the file, else separated by commas.
    List,
    /// A secret: never a flag, since other users can read those.
    Secret,
    /// A secret for the environment alone.
    EnvironmentSecret,
    /// A text that may hold a password; shown without it.
    Url,
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name in the file.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Default as text; empty means not set.
    pub default: &'static str,
    /// What it is for.
    pub help: &'static str,
}

impl Setting {
    /// Its variable, `TRIBUTARY_DATA_DIR`.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// Its flag without the dashes, `data-dir`; secrets have none.
    pub fn flag(&self) -> Option<String> {
        let is_secret = matches!(self.kind, Kind::Secret | Kind::EnvironmentSecret);
        (!is_secret).then(|| self.name.replace('_', "-"))
    }
}

/// What all our variables begin with.
pub const PREFIX: &str = "TRIBUTARY_";
/// The variable that names the file.
pub const FILE_VARIABLE: &str = "TRIBUTARY_CONFIG";

const fn setting(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { name, kind, default, help }
}

/// Every setting.
pub static ALL: &[Setting] = &[
    setting("listen", Kind::List, "127.0.0.1:8420", "Addresses to listen on"),
    setting("tls_certificate", Kind::Text, "", "PEM file with the certificate chain to listen with, leaf first"),
    setting("tls_key", Kind::Text, "", "PEM file with the key of the certificate"),
    setting(
        "tls_client_ca",
        Kind::Text,
        "",
        "PEM file with the authorities of client certificates, which are then needed",
    ),
    setting(
        "tls_client_names",
        Kind::List,
        "",
        "Common or DNS names, one of which a client certificate must have (default: any)",
    ),
    setting(
        "health_certificate",
        Kind::Text,
        "",
        "PEM file with the certificate that `tributary health` shows to a server that asks for one",
    ),
    setting("health_key", Kind::Text, "", "PEM file with its key"),
    setting("behind_proxy", Kind::Switch, "false", "A proxy before the server speaks TLS and sets X-Forwarded-For"),
    setting("data_dir", Kind::Text, "tributary-data", "Folder for everything that is kept"),
    setting(
        "database_url",
        Kind::Url,
        "",
        "Metadata database, postgres:// or sqlite:// (default: SQLite in the data folder)",
    ),
    setting("cors_origins", Kind::List, "", "Origins whose pages may call from a browser"),
    setting("admin_key", Kind::Secret, "", "Secret of the admin key, 24 characters or more"),
    setting("encryption_key_file", Kind::Text, "", "File with the encryption keys, primary first"),
    setting("encryption_key", Kind::EnvironmentSecret, "", "The encryption keys themselves"),
    setting("encryption_key_command", Kind::Text, "", "Command that prints the encryption keys"),
    setting("transit_url", Kind::Text, "", "OpenBao or Vault that wraps data keys, https://host:8200"),
    setting("transit_mount", Kind::Text, "transit", "Path of its transit engine"),
    setting("transit_key", Kind::Text, "tributary", "Name of its key"),
    setting("transit_token_file", Kind::Text, "", "File with the token for it, read for each call"),
    setting("transit_token", Kind::EnvironmentSecret, "", "The token itself"),
    setting("transit_root_certificate", Kind::Text, "", "PEM file with the only authorities to trust for it"),
    setting("file_roots", Kind::List, "", "Folders that file-like sources may read below"),
    setting("allow_destinations", Kind::List, "", "Further destinations for connections, CIDR[:port]"),
    setting("enable_simulator", Kind::Switch, "false", "Adds the source `simulator` to the catalogue, for tests"),
    setting("workers", Kind::Whole(1, 64), "2", "Syncs at a time"),
    setting(
        "log_level",
        Kind::Text,
        "info",
        "error, warn, info, debug, trace, or a filter such as info,tributary=debug",
    ),
    setting("log_format", Kind::Word(&["text", "json"]), "text", "text or json"),
    setting("otlp_endpoint", Kind::Text, "", "OTLP collector for traces and metrics, http://host:4317"),
    setting("max_body_bytes", Kind::Whole(1_024, 1 << 28), "4194304", "Longest body of a request"),
    setting("max_answer_bytes", Kind::Whole(1_024, 1 << 30), "67108864", "Longest answer of one call"),
    setting("max_uri_bytes", Kind::Whole(256, 65_536), "8192", "Longest path and query"),
    setting("max_header_bytes", Kind::Whole(1_024, 1 << 20), "32768", "Longest headers together"),
    setting("max_headers", Kind::Whole(16, 1_000), "100", "Most headers of a request"),
    setting("max_json_depth", Kind::Whole(8, 100), "100", "Deepest nesting of JSON"),
    setting("max_streams", Kind::Whole(1, 10_000), "200", "Calls at once on one HTTP/2 connection"),
    setting("max_connections", Kind::Whole(1, 1_000_000), "10000", "Connections together"),
    setting("max_connections_per_peer", Kind::Whole(1, 1_000_000), "2000", "Connections from one address"),
    setting(
        "new_connections_per_peer",
        Kind::Whole(0, 1_000_000),
        "100",
        "New connections a second from one address, beyond 500 at once; more wait; 0 for any",
    ),
    setting("max_calls_per_key", Kind::Whole(1, 1_000_000), "2000", "Calls at once with one key, without streams"),
    setting("rate_limit_per_minute", Kind::Whole(0, 1_000_000_000), "60000", "Calls a minute with one key; 0 for any"),
    setting(
        "refused_limit_per_minute",
        Kind::Whole(0, 1_000_000_000),
        "6000",
        "Calls a minute from one address with keys that are refused; 0 for any",
    ),
    setting("max_streams_per_key", Kind::Whole(1, 1_000_000), "10000", "Streams at once with one key"),
    setting(
        "max_unread_bytes",
        Kind::Whole(65_536, 1 << 30),
        "8388608",
        "Answers that may wait unread on a connection before its next call waits",
    ),
    setting("handshake_timeout_seconds", Kind::Whole(1, 300), "10", "Time that a TLS handshake may take"),
    setting("header_timeout_seconds", Kind::Whole(1, 300), "15", "Time that the headers of a request may take"),
    setting("body_timeout_seconds", Kind::Whole(1, 3_600), "60", "Time that the body of a request may take"),
    setting("write_timeout_seconds", Kind::Whole(1, 3_600), "60", "Time that a peer may leave an answer unread"),
    setting("idle_timeout_seconds", Kind::Whole(1, 86_400), "600", "Time that a connection may be without a call"),
    setting("ping_interval_seconds", Kind::Whole(1, 3_600), "30", "How often an HTTP/2 peer is asked if it is there"),
    setting("ping_timeout_seconds", Kind::Whole(1, 300), "20", "Time that its answer may take"),
    setting("call_timeout_seconds", Kind::Whole(1, 86_400), "3600", "Longest time of a call that is no stream"),
    setting("oidc_issuer", Kind::Text, "", "Issuer of tokens that are let in beside keys, https://id.example.com"),
    setting("oidc_audience", Kind::Text, "", "What the audience of a token must be or hold"),
    setting("oidc_roles_claim", Kind::Text, "roles", "Claim with the roles of a token's subject; dots go into objects"),
    setting(
        "oidc_roles",
        Kind::List,
        "",
        "What values of it stand for, VALUE=ROLE or VALUE=ROLE:COLLECTION+COLLECTION",
    ),
    setting("audit_retention_days", Kind::Whole(1, 36_500), "365", "How long the audit log keeps an event, from 1 day"),
    setting("shutdown_grace_seconds", Kind::Whole(0, 3_600), "10", "How long calls may go on after the order to stop"),
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    ALL.iter().find(|setting| setting.name == name)
}
