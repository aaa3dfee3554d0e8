//! An OpenBao as the keeper of the key.

use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Place, connection, test};
use crate::support::postgres::Database;
use crate::support::process::Process;
use crate::support::tools;

/// What the server may do there, and nothing else.
const POLICY: &str = r#"
path "transit/encrypt/tributary" { capabilities = ["update"] }
path "transit/decrypt/tributary" { capabilities = ["update"] }
"#;

/// A running OpenBao with a transit key, over TLS.
struct Bao {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Bao {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program())
            .args(["server", "-dev", "-dev-tls", "-dev-no-store-token", "-dev-root-token-id=root"])
            .arg(format!("-dev-tls-cert-dir={}", folder.path().display()))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bao = Self { child, folder, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !bao.command(&["status"]).output().unwrap().status.success() {
            assert!(Instant::now() < deadline, "OpenBao did not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        bao.run(&["secrets", "enable", "transit"]);
        bao.run(&["write", "-f", "transit/keys/tributary"]);
        let policy = bao.folder.path().join("policy.hcl");
        std::fs::write(&policy, POLICY).unwrap();
        bao.run(&["policy", "write", "tributary", policy.to_str().unwrap()]);
        bao.renew_token();
        bao
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env("HOME", self.folder.path())
            .env("BAO_ADDR", format!("https://127.0.0.1:{}", self.port))
            .env("BAO_CACERT", self.root())
            .env("BAO_TOKEN", "root");
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Certificate of the authority that it has made for itself.
    fn root(&self) -> PathBuf {
        let certificates = std::fs::read_dir(self.folder.path()).unwrap().flatten().map(|entry| entry.path());
        let mut roots = certificates.filter(|path| path.to_str().unwrap().ends_with("-ca.pem"));
        roots.next().unwrap_or_else(|| self.folder.path().join("ca.pem"))
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Puts a good token into the file.
    fn renew_token(&self) {
        let token = self.run(&["token", "create", "-policy=tributary", "-orphan", "-field=token"]);
        std::fs::write(self.token_file(), token).unwrap();
    }

    /// What a server is told, to find it at a port.
    fn settings(&self, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("TRIBUTARY_TRANSIT_URL", format!("https://127.0.0.1:{port}")),
            ("TRIBUTARY_TRANSIT_TOKEN_FILE", self.token_file().display().to_string()),
            ("TRIBUTARY_TRANSIT_ROOT_CERTIFICATE", self.root().display().to_string()),
        ]
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn program() -> PathBuf {
    let program = tools::folder().join("python/bin/bao");
    assert!(program.is_file(), "there is no `{}`: run tests/run, which installs it", program.display());
    program
}

/// A way to the keeper that can be closed and opened.
struct Way {
    port: u16,
    to: u16,
    open: JoinSet<()>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let mut way = Self { port: 0, to: port, open: JoinSet::new() };
        way.open().await;
        way
    }

    async fn open(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let to = self.to;
        self.open.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                streams.spawn(async move {
                    let mut behind = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    drop(tokio::io::copy_bidirectional(&mut stream, &mut behind).await);
                });
            }
        });
    }

    async fn close(&mut self) {
        self.open.shutdown().await;
    }
}

fn rotate(place: &Place, settings: &[(&'static str, String)]) -> Value {
    let output = place.rotate(&[]).envs(settings.iter().cloned()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused_start(data_dir: &Path, settings: &[(&'static str, String)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tributary"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .envs(settings.iter().cloned())
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn credentials_move_to_the_keeper_and_on_to_the_next_version_of_its_key() {
    let (place, database, bao) = (Place::new(), Database::create().await, Bao::start());
    let mut process = Process::start(place.path());
    let first = connection(&process, &database).await;
    let ring = place.canary();
    process.kill();
    let settings = bao.settings(bao.port);
    let mut process = Process::start_with(place.path(), &settings);
    let second = connection(&process, &database).await;
    for id in [&first, &second] {
        test(&process, id).await;
    }
    assert_eq!(place.beside(&ring), 1);
    let said = rotate(&place, &settings);
    assert_eq!((&said["keyId"], &said["rewrapped"]), (&json!("transit:transit/tributary/v1"), &json!(1)), "{said}");
    assert_eq!(said["retiredKeyIds"], json!([ring]));
    assert_eq!(place.beside("transit:transit/tributary/v1"), 0);

    bao.run(&["write", "-f", "transit/keys/tributary/rotate"]);
    let said = rotate(&place, &settings);
    assert_eq!((&said["keyId"], &said["rewrapped"]), (&json!("transit:transit/tributary/v2"), &json!(2)), "{said}");
    assert_eq!(said["retiredKeyIds"], json!(["transit:transit/tributary/v1"]));
    bao.run(&["write", "transit/keys/tributary/config", "min_decryption_version=2"]);
    for id in [&first, &second] {
        test(&process, id).await;
    }
    process.kill();
    let mut process = Process::start_with(place.path(), &settings);
    test(&process, &first).await;
    process.kill();
    let complaint = refused_start(place.path(), &[]);
    assert!(complaint.contains("transit:transit/tributary"), "{complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_keeper_is_away_syncs_wait_and_say_why_and_the_rest_goes_on() {
    let (place, database, bao) = (Place::new(), Database::create().await, Bao::start());
    database.connect().await.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.unwrap();
    let mut way = Way::to(bao.port).await;
    let settings = bao.settings(way.port);
    let process = Process::start_with(place.path(), &settings);
    let id = connection(&process, &database).await;
    let run = format!("/api/v1/source-connections/{id}/run");
    let waits = async |word: &'static str| {
        let sync = process.call("POST", &run, Some(json!({}))).await["syncId"].as_str().unwrap().to_owned();
        let waiting = |body: &Value| body["sync"]["waitingReason"].as_str().is_some_and(|why| why.contains(word));
        process.until(&format!("/api/v1/syncs/{sync}"), waiting).await;
        sync
    };

    way.close().await;
    let sync = waits("does not answer").await;
    let path = format!("/api/v1/source-connections/{id}");
    let refused = process.ask("POST", &format!("{path}/test"), None).await;
    refused.error(503, "unavailable");
    process.call("GET", &path, None).await;
    let complaint = refused_start(Place::new().path(), &settings);
    assert!(complaint.contains("does not answer"), "{complaint}");
    way.open().await;
    assert_eq!(process.finished(&sync).await["status"], "succeeded");

    std::fs::write(bao.token_file(), "s.expired").unwrap();
    let sync = waits("refuses the token").await;
    bao.renew_token();
    assert_eq!(process.finished(&sync).await["status"], "succeeded");
}

#[tokio::test]
async fn a_keeper_with_another_certificate_gets_no_token() {
    let (place, bao, other) = (Place::new(), Bao::start(), Bao::start());
    let mut settings = bao.settings(bao.port);
    settings[2].1 = other.root().display().to_string();
    let complaint = refused_start(place.path(), &settings);
    assert!(complaint.contains("certificate"), "{complaint}");
}
