//! Which layer wins, and what is said of mistakes.

mod fuzz;

use secrecy::ExposeSecret;

use super::*;

const MARKER: &str = "m4rk3r-m4rk3r-m4rk3r-m4rk3r";

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn problems(text: &str, flags: &[(&'static str, String)], pairs: &[(&str, &str)]) -> Vec<String> {
    let file = file(text);
    let Invalid { problems } = Config::load(Some(file.path()), flags, variables(pairs)).unwrap_err();
    let path = file.path().display().to_string();
    problems.into_iter().map(|problem| problem.to_string().replace(&path, "FILE")).collect()
}

#[test]
fn without_anything_it_is_a_loopback_server_with_its_own_stores() {
    let config = Config::load(None, &[], []).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8420".parse().unwrap()]);
    assert_eq!(config.data_dir, Path::new("tributary-data"));
    assert_eq!(config.database_url.expose_secret(), "sqlite://tributary-data/tributary.db");
    assert!(matches!(config.encryption_key, KeySource::Embedded(path) if path.ends_with("encryption.key")));
    assert_eq!((config.workers, config.limits.max_body), (2, 4 << 20));
    assert!(config.cors_origins.is_empty() && config.admin_key.is_none());
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let file =
        file("listen = [\"127.0.0.1:1\", \"[::1]:2\"]\nworkers = 3\ndata_dir = \"from-file\"\nlog_format = \"json\"");
    let flags = [("data_dir", "from-flag".to_owned())];
    let environment = variables(&[
        ("TRIBUTARY_DATA_DIR", "from-variable"),
        ("TRIBUTARY_WORKERS", "4"),
        ("TRIBUTARY_LOG_LEVEL", ""),
        ("TRIBUTARY_TEST_ANYTHING", "1"),
        ("PATH", "/bin"),
    ]);
    let config = Config::load(Some(file.path()), &flags, environment).unwrap();
    assert_eq!(config.data_dir, Path::new("from-flag"));
    assert_eq!(config.workers, 4);
    assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    assert_eq!(config.telemetry.log_format, LogFormat::Json);
    assert_eq!(config.telemetry.log_level, "info");
    let origin = |name: &str| {
        config.in_force().iter().find(|in_force| in_force.setting.name == name).unwrap().origin.to_string()
    };
    assert_eq!(origin("data_dir"), "--data-dir");
    assert_eq!(origin("workers"), "TRIBUTARY_WORKERS");
    assert_eq!(origin("log_format"), file.path().display().to_string());
    assert_eq!(origin("log_level"), "default");
}

#[test]
fn a_variable_can_name_the_file_and_lists_are_split_at_commas() {
    let file = file("workers = 5");
    let environment = variables(&[
        ("TRIBUTARY_CONFIG", file.path().to_str().unwrap()),
        ("TRIBUTARY_CORS_ORIGINS", "https://a.example, http://localhost:3000,"),
        ("TRIBUTARY_LISTEN", "localhost:9000,0.0.0.0:9001"),
        ("TRIBUTARY_BEHIND_PROXY", "true"),
    ]);
    let config = Config::load(None, &[], environment).unwrap();
    assert_eq!(config.workers, 5);
    assert_eq!(config.cors_origins, ["https://a.example", "http://localhost:3000"]);
    assert_eq!(config.listen, ["127.0.0.1:9000".parse().unwrap(), "0.0.0.0:9001".parse().unwrap()]);
    assert!(!config.is_loopback_only());
}

#[test]
fn every_problem_is_listed_at_once_with_where_it_came_from() {
    let text = "worker = 3\nlisten = 5\nmax_uri_bytes = 1\nencryption_key = \"x\"\nlog_format = \"xml\"";
    let flags = [("cors_origins", "example.com".to_owned())];
    let found = problems(text, &flags, &[("TRIBUTARY_DATADIR", "x"), ("TRIBUTARY_LISTEN", "8420")]);
    let expected = [
        "FILE: `worker` is not a setting; did you mean `workers`?",
        "FILE: `listen` must be a list of strings",
        "FILE: `encryption_key` belongs in the environment (TRIBUTARY_ENCRYPTION_KEY), not in a file",
        "FILE: `max_uri_bytes` must be a whole number from 256 to 65536",
        "FILE: `log_format` must be one of: text, json",
        "TRIBUTARY_DATADIR: is not a setting; did you mean `TRIBUTARY_DATA_DIR`?",
        "TRIBUTARY_LISTEN: has `8420`, which is not ADDRESS:PORT, such as 127.0.0.1:8420 or [::]:8420",
        "--cors-origins: has `example.com`, which is not an origin such as https://app.example.com, without a path",
    ];
    for line in expected {
        assert!(found.iter().any(|problem| problem == line), "{line} is not in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_database_server_needs_a_key_and_the_refusal_says_how_to_make_one() {
    let url = [("TRIBUTARY_DATABASE_URL", "postgres://me:pw@db/tributary")];
    let refused = problems("", &[], &url).join("\n");
    assert!(refused.contains("tributary keys encryption > FILE") && !refused.contains("pw"), "{refused}");
    let config = Config::load(None, &[("encryption_key_file", "k".to_owned())], variables(&url)).unwrap();
    assert!(matches!(config.encryption_key, KeySource::File(path) if path == Path::new("k")));
    assert_eq!(config.database, Database::Postgres);
    let both = [("TRIBUTARY_ENCRYPTION_KEY_FILE", "f"), ("TRIBUTARY_ENCRYPTION_KEY", MARKER)];
    let refused = problems("", &[], &both).join("\n");
    assert!(refused.contains("TRIBUTARY_ENCRYPTION_KEY_FILE") && !refused.contains(MARKER), "{refused}");
}

#[test]
fn an_identity_provider_is_named_whole_or_not_at_all() {
    let whole = "oidc_issuer = \"https://id.example\"\noidc_audience = \"tributary\"\noidc_roles = [\"a=viewer\"]\n";
    let config = Config::load(Some(file(whole).path()), &[], []).unwrap();
    let oidc = config.oidc.unwrap();
    assert_eq!((oidc.roles_claim.as_str(), oidc.roles.as_slice()), ("roles", ["a=viewer".to_owned()].as_slice()));
    assert!(Config::load(None, &[], []).unwrap().oidc.is_none());
    let refused = problems("oidc_issuer = \"https://id.example\"", &[], &[]).join("\n");
    assert!(refused.contains("oidc_audience") && refused.contains("oidc_roles"), "{refused}");
    let refused = problems("oidc_roles = [\"a=viewer\"]", &[], &[]).join("\n");
    assert!(refused.contains("oidc_issuer"), "{refused}");
    for odd in ["id.example", "ftp://id.example", "https://a:b@id.example", "https://id.example?x=1"] {
        let refused = problems(&whole.replace("https://id.example", odd), &[], &[]).join("\n");
        assert!(refused.contains("oidc_issuer"), "{odd}: {refused}");
    }
}

#[test]
fn beyond_loopback_needs_tls_or_a_proxy_and_the_refusal_names_both_ways_out() {
    for address in ["0.0.0.0:8420", "[::]:8420", "192.0.2.1:8420"] {
        let listen = [("listen", format!("127.0.0.1:1,{address}"))];
        let refused = problems("", &listen, &[]).join("\n");
        for word in ["--listen", address, "--tls-certificate", "--tls-key", "--behind-proxy"] {
            assert!(refused.contains(word), "{word}: {refused}");
        }
        let loads = |pairs: &[(&str, &str)]| Config::load(None, &listen, variables(pairs)).unwrap();
        assert!(loads(&[("TRIBUTARY_BEHIND_PROXY", "true")]).behind_proxy);
        let config = loads(&[("TRIBUTARY_TLS_CERTIFICATE", "chain.pem"), ("TRIBUTARY_TLS_KEY", "key.pem")]);
        assert_eq!(config.tls.unwrap().certificate, Path::new("chain.pem"));
    }
    let listen = [("listen", "127.0.0.1:1,[::1]:2,localhost:3".to_owned())];
    assert!(Config::load(None, &listen, []).unwrap().is_loopback_only());
}

#[test]
fn settings_of_tls_that_need_another_say_which() {
    let cases = [
        ("tls_key", "tls_certificate"),
        ("tls_certificate", "tls_key"),
        ("tls_client_ca", "tls_certificate"),
        ("tls_client_names", "tls_client_ca"),
        ("health_certificate", "health_key"),
        ("health_key", "health_certificate"),
    ];
    for (given, missing) in cases {
        let refused = problems("", &[(given, "x".to_owned())], &[]).join("\n");
        assert!(refused.contains(&format!("needs `{missing}`")), "{given}: {refused}");
    }
    assert!(problems("behind_proxy = \"yes\"", &[], &[]).join("").contains("true or false"));
}

#[test]
fn a_short_admin_key_is_refused_without_showing_it() {
    let refused = problems("", &[], &[("TRIBUTARY_ADMIN_KEY", "shortsecret")]).join("\n");
    assert!(refused.contains("24 characters") && !refused.contains("shortsecret"), "{refused}");
    let config = Config::load(None, &[], variables(&[("TRIBUTARY_ADMIN_KEY", MARKER)])).unwrap();
    assert_eq!(config.admin_key.unwrap().expose_secret(), MARKER);
}

#[test]
fn a_broken_file_is_named_by_line_and_not_quoted() {
    let refused = problems(&format!("workers = 2\nadmin_key = \"{MARKER}\" oops"), &[], &[]).join("\n");
    assert!(refused.contains("line 2") && !refused.contains(MARKER), "{refused}");
    let missing = Config::load(Some(Path::new("/nonexistent/tributary.toml")), &[], []).unwrap_err();
    assert!(missing.to_string().contains("cannot be read"));
}

#[test]
fn what_is_printed_is_complete_reads_back_and_holds_no_secret() {
    let url = format!("postgres://me:{MARKER}@db.example/t?password={MARKER}");
    let file = file(&format!("admin_key = \"{MARKER}\"\ncors_origins = [\"https://a.example\"]\n"));
    let environment = variables(&[("TRIBUTARY_DATABASE_URL", &url), ("TRIBUTARY_ENCRYPTION_KEY", MARKER)]);
    let config = Config::load(Some(file.path()), &[], environment).unwrap();
    let (text, json) = (print::as_toml(&config), print::as_json(&config));
    for printed in [text.clone(), json.to_string(), format!("{config:?}")] {
        assert!(!printed.contains(MARKER), "{printed}");
    }
    assert!(text.contains("postgres://me@db.example/t"), "{text}");
    for setting in settings::ALL {
        assert!(text.contains(setting.name) && json.get(setting.name).is_some(), "{}", setting.name);
    }
    let table: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(table["workers"].as_integer(), Some(2));
    assert_eq!(table["cors_origins"][0].as_str(), Some("https://a.example"));
}

#[test]
fn a_keeper_is_reached_over_tls_and_needs_exactly_one_token() {
    let with = |pairs: &[(&str, &str)]| problems("", &[], pairs).join("\n");
    let url = ("TRIBUTARY_TRANSIT_URL", "https://bao.example:8200");
    let token = ("TRIBUTARY_TRANSIT_TOKEN", MARKER);
    let file = ("TRIBUTARY_TRANSIT_TOKEN_FILE", "t");
    assert!(with(&[url]).contains("needs a token"));
    assert!(with(&[file]).contains("no meaning without"));
    assert!(with(&[url, token, file]).contains("one is enough"));
    for odd in ["http://bao.example:8200", "https://me@bao.example", "https://bao.example/v1", "bao.example"] {
        let refused = with(&[("TRIBUTARY_TRANSIT_URL", odd), token]);
        assert!(refused.contains("https://host:port") && !refused.contains(MARKER), "{odd}: {refused}");
    }
    assert!(with(&[url, token, ("TRIBUTARY_TRANSIT_KEY", "../sys/seal")]).contains("TRIBUTARY_TRANSIT_KEY"));
    for good in [url, ("TRIBUTARY_TRANSIT_URL", "http://127.0.0.1:8200")] {
        let config = Config::load(None, &[], variables(&[good, token])).unwrap();
        assert!(!format!("{config:?}").contains(MARKER));
        let keeper = config.transit.unwrap();
        assert_eq!((keeper.mount.as_str(), keeper.key.as_str()), ("transit", "tributary"));
    }
}
