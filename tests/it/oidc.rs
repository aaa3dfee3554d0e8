//! Tokens of an identity provider as a second way in: who is let in, and that
//! nobody else is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use tonic::Code;
use tributary::config::{Config, OidcConfig};

use crate::support::grpc::{Client, method};
use crate::support::oidc::{AUDIENCE, Issuer, OidcProvider, Signer, now, unsigned};
use crate::support::server::{Reply, Server, send};

async fn server_with(oidc: OidcConfig) -> Server {
    Server::start_with(move |config: &mut Config| config.oidc = Some(oidc.clone())).await
}

async fn get(server: &Server, path: &str, token: &str) -> Reply {
    send(server.anonymous("GET", path).bearer_auth(token)).await
}

/// Waits until a token is let in; the keys are asked for beside the calls.
async fn let_in(server: &Server, token: &str) {
    for _ in 0..600 {
        let reply = get(server, "/api/v1/sources", token).await;
        if reply.status == 200 {
            return;
        }
        assert_eq!(reply.status, 401, "{}", reply.text);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a good token is not let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_real_provider_let_in_and_its_keys_may_rotate() {
    let mut provider = OidcProvider::start(&["viewers", "owners", "strangers"]).await;
    let server = server_with(OidcConfig {
        issuer: provider.url.clone(),
        audience: AUDIENCE.to_owned(),
        roles_claim: "groups".to_owned(),
        roles: vec!["viewers=viewer".to_owned(), "owners=owner".to_owned()],
    })
    .await;
    let client = Client::connect(&server.base).await;
    let mut old = String::new();
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        old = provider.token("viewers", &format!("urn:tributary:{algorithm}")).await;
        let_in(&server, &old).await;
        client.call(&method("ListSources"), &json!({}), Some(&old)).await.expect(algorithm);
        let other = provider.token("viewers", &format!("urn:other:{algorithm}")).await;
        get(&server, "/api/v1/sources", &other).await.error(401, "unauthorized");
    }
    let body = json!({"name": "By a token"});
    let create = |token: &str| server.anonymous("POST", "/api/v1/collections").bearer_auth(token).json(&body);
    send(create(&old)).await.error(403, "forbidden");
    let owner = provider.token("owners", "urn:tributary:ES256").await;
    send(create(&owner)).await.ok();
    let stranger = provider.token("strangers", "urn:tributary:ES256").await;
    get(&server, "/api/v1/sources", &stranger).await.error(401, "unauthorized");
    let events = server.get("/api/v1/audit-events?actor=owners").await.ok();
    let event = &events["events"][0];
    assert_eq!((&event["actorType"], &event["outcome"]), (&json!("oidc_subject"), &json!("OK")), "{events}");

    provider.tell("rotate").await;
    let new = provider.token("viewers", "urn:tributary:ES256").await;
    let_in(&server, &new).await;
    get(&server, "/api/v1/sources", &old).await.ok();
    // What is not listed any more is not believed any more, once that is known.
    provider.tell("rotate").await;
    provider.tell("drop").await;
    let newest = provider.token("viewers", "urn:tributary:RS256").await;
    let_in(&server, &newest).await;
    get(&server, "/api/v1/sources", &old).await.error(401, "unauthorized");
    get(&server, "/api/v1/sources", &new).await.error(401, "unauthorized");
    provider.kill().await;
    get(&server, "/api/v1/sources", &newest).await.ok();
}

/// Tokens of which each has one thing wrong with it.
fn bad(issuer: &Issuer) -> Vec<(String, String)> {
    let good = issuer.claims("ada", &["team"]);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.signer.sign(&claims)
    };
    let header = |alg: &str| json!({"alg": alg, "kid": "first", "typ": "JWT"});
    let mut bad: Vec<(&str, String)> = vec![
        ("expired", with("exp", json!(now() - 3_600))),
        ("no expiry", with("exp", Value::Null)),
        ("not yet valid", with("nbf", json!(now() + 3_600))),
        ("for others", with("aud", json!("other"))),
        ("for nobody", with("aud", json!([]))),
        ("by others", with("iss", json!("http://127.0.0.1:1"))),
        ("without a subject", with("sub", json!(""))),
        ("without a role", with("groups", json!(["others"]))),
        ("by another key of that name", Signer::new("first").sign(&good)),
        ("by an unknown key", Signer::new("../../first").sign(&good)),
        (
            "of another type",
            issuer.signer.sign_as(&json!({"alg": "ES256", "kid": "first", "typ": "logout+jwt"}), &good),
        ),
        ("with a demand", issuer.signer.sign_as(&json!({"alg": "ES256", "kid": "first", "crit": ["b64"]}), &good)),
        ("too long", with("padding", json!("x".repeat(13_000)))),
        ("of another algorithm", issuer.signer.sign_as(&header("ES384"), &good)),
        ("of the algorithm of another kind of key", issuer.signer.sign_as(&header("RS256"), &good)),
        ("unsigned", format!("{}.", unsigned(&header("none"), &good))),
        ("signed as none", issuer.signer.sign_as(&header("none"), &good)),
        ("without a signature", format!("{}.", unsigned(&header("ES256"), &good))),
        (
            "with a signature of zeros",
            format!("{}.{}", unsigned(&header("ES256"), &good), URL_SAFE_NO_PAD.encode([0; 64])),
        ),
        ("of nothing", "..".to_owned()),
    ];
    // A key in the token itself, or where to find one, is not looked at.
    let own = Signer::new("mine");
    let carried = json!({"alg": "ES256", "kid": "mine", "jwk": own.jwk(), "jku": format!("{}/keys", issuer.url)});
    bad.push(("with its own key", own.sign_as(&carried, &good)));
    // The public key is no secret, in none of its spellings.
    let jwk = issuer.signer.jwk().to_string();
    for secret in
        [issuer.signer.public().to_vec(), STANDARD.encode(issuer.signer.public()).into_bytes(), jwk.into_bytes()]
    {
        let signed = unsigned(&header("HS256"), &good);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        bad.push(("with the public key as a secret", format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))));
    }
    bad.into_iter().map(|(what, token)| (what.to_owned(), token)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_token_it_is_refused_in_the_same_words() {
    let issuer = Issuer::start().await;
    let server = server_with(issuer.config(&["team=editor"])).await;
    let_in(&server, &issuer.token("ada", &["team"])).await;
    let client = Client::connect(&server.base).await;
    let said = |mut body: Value| {
        body["requestId"] = Value::Null;
        body
    };
    let nothing = send(server.anonymous("GET", "/api/v1/sources").bearer_auth("trb_nothing")).await;
    let nothing = said(nothing.error(401, "unauthorized"));
    for (what, token) in bad(&issuer) {
        let reply = get(&server, "/api/v1/sources", &token).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text);
        assert_eq!(said(reply.body), nothing, "{what}");
        let refused = client.call(&method("ListSources"), &json!({}), Some(&token)).await.expect_err(&what);
        assert_eq!(refused.code(), Code::Unauthenticated, "{what}");
    }
    let_in(&server, &issuer.token("ada", &["team"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_keys_do_not_make_the_provider_be_asked_without_end() {
    let issuer = Issuer::start().await;
    let server = server_with(issuer.config(&["team=viewer"])).await;
    let_in(&server, &issuer.token("ada", &["team"])).await;
    let began = std::time::Instant::now();
    for number in 0..200 {
        let token = Signer::new(&format!("strange {number}")).sign(&issuer.claims("ada", &["team"]));
        get(&server, "/api/v1/sources", &token).await.error(401, "unauthorized");
    }
    // Once at the start, and at most every five seconds since.
    let most = 2 + began.elapsed().as_secs() as usize / 5 + 1;
    assert!(issuer.asked() <= most, "asked {} times", issuer.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_while_the_provider_is_away_and_come_when_it_is_back() {
    let issuer = Issuer::start().await;
    issuer.set_away(true);
    let server = server_with(issuer.config(&["team=viewer"])).await;
    let token = issuer.token("ada", &["team"]);
    get(&server, "/api/v1/sources", &token).await.error(401, "unauthorized");
    issuer.set_away(false);
    let_in(&server, &token).await;
    issuer.set_away(true);
    let second = Signer::new("second");
    let other = second.sign(&issuer.claims("ada", &["team"]));
    get(&server, "/api/v1/sources", &other).await.error(401, "unauthorized");
    get(&server, "/api/v1/sources", &token).await.ok();
    issuer.list(&[second.jwk()]);
    issuer.set_away(false);
    let_in(&server, &other).await;
    get(&server, "/api/v1/sources", &token).await.error(401, "unauthorized");
}

#[tokio::test]
async fn lines_of_the_table_that_mean_nothing_stop_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::in_folder(folder.path());
    config.oidc = Some(OidcConfig {
        issuer: "https://id.example".to_owned(),
        audience: AUDIENCE.to_owned(),
        roles_claim: "roles".to_owned(),
        roles: vec!["team=everything".to_owned()],
    });
    let refused = tributary::server::start(config, tributary::server::Options::default()).await;
    let said = refused.err().expect("it does not start").to_string();
    assert!(said.contains("--oidc-roles") && said.contains("team=everything"), "{said}");
}
