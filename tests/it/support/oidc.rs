//! Identity providers: a small one of our own, which also says what no provider
//! should, and the real `oidc-provider`.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::{Router, routing};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tributary::config::OidcConfig;

use super::tools;

/// Audience of good tokens.
pub const AUDIENCE: &str = "tributary";

/// A key that signs with ES256.
pub struct Signer {
    pair: EcdsaKeyPair,
    id: String,
}

impl Signer {
    /// A new key with this id.
    pub fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("the same key");
        Self { pair, id: id.to_owned() }
    }

    /// The public point, uncompressed.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public key as it is listed.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.public()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256", "x": text(x), "y": text(y)})
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": "ES256", "kid": self.id, "typ": "JWT"}), claims)
    }

    /// The same under another header.
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Header and claims of a token.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// Seconds since 1970, as claims have them.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs()
}

/// A provider of our own. Gone when dropped.
pub struct Issuer {
    /// Issuer of its tokens.
    pub url: String,
    /// Its key.
    pub signer: Signer,
    listed: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
    away: Arc<AtomicBool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Issuer {
    /// Starts one that lists its key.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let signer = Signer::new("first");
        let listed = Arc::new(Mutex::new(json!({"keys": [signer.jwk()]})));
        let (asked, away) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let configuration = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
        let keys = {
            let (listed, asked, away) = (listed.clone(), asked.clone(), away.clone());
            move || {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = listed.lock().expect("the keys").to_string();
                let away = away.load(Ordering::SeqCst);
                async move { if away { Err(StatusCode::SERVICE_UNAVAILABLE) } else { Ok(answer) } }
            }
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", routing::get(async move || configuration))
            .route("/keys", routing::get(keys));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { url, signer, listed, asked, away, serving }
    }

    /// What a server is configured with; a line each of roles.
    pub fn config(&self, roles: &[&str]) -> OidcConfig {
        OidcConfig {
            issuer: self.url.clone(),
            audience: AUDIENCE.to_owned(),
            roles_claim: "groups".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    /// Good claims of somebody in these groups.
    pub fn claims(&self, subject: &str, groups: &[&str]) -> Value {
        json!({"iss": self.url, "aud": AUDIENCE, "sub": subject, "exp": now() + 600, "groups": groups})
    }

    /// A good token of somebody in these groups.
    pub fn token(&self, subject: &str, groups: &[&str]) -> String {
        self.signer.sign(&self.claims(subject, groups))
    }

    /// Lists other keys from now on.
    pub fn list(&self, keys: &[Value]) {
        *self.listed.lock().expect("the keys") = json!({ "keys": keys });
    }

    /// Answers nothing but 503, or as before.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// How often its keys were asked for.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A running `oidc-provider`; killed when dropped.
pub struct OidcProvider {
    /// Issuer of its tokens.
    pub url: String,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl OidcProvider {
    /// Starts one with these clients; each is in the group of its own name.
    pub async fn start(clients: &[&str]) -> Self {
        let mut child = Command::new("node")
            .arg(tools::beside("clients/oidc_provider.mjs"))
            .arg(tools::packages())
            .arg(AUDIENCE)
            .args(clients)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let input = child.stdin.take().expect("its input");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        // What it says of itself comes among what we ask for.
        let url = loop {
            let line = output.next_line().await.expect("it says something").expect("it goes on");
            if line.starts_with("http://") {
                break line;
            }
        };
        Self { url, child, input, output }
    }

    /// Gives it an order: `rotate` or `drop`.
    pub async fn tell(&mut self, order: &str) {
        self.input.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
        while self.output.next_line().await.expect("it answers").expect("it goes on") != "done" {}
    }

    /// Ends it.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it ends");
    }

    /// An access token of a client for a resource, `urn:tributary:ES256` or, with
    /// another audience, `urn:other:ES256`; it is signed as the last part says.
    pub async fn token(&self, client: &str, resource: &str) -> String {
        let form = format!("grant_type=client_credentials&resource={resource}");
        let request = reqwest::Client::new()
            .post(format!("{}/token", self.url))
            .basic_auth(client, Some("a%20secret%20of%20the%20tests"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}
