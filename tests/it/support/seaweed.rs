//! A throw-away SeaweedFS that speaks S3: one server for the whole test process, a
//! bucket a test; and `rclone`, which others wrote, to fill the bucket and to see
//! what is in it.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::postgres::PASSWORD;
use super::tools;

/// Key of a login that may do everything.
pub const ADMIN_KEY: &str = "AKADMIN";
/// Key of a login that may list and read every bucket.
pub const READER_KEY: &str = "AKREADER";
/// Key of a login that may read another bucket alone.
pub const STRANGER_KEY: &str = "AKSTRANGER";
/// The secret of each.
pub const SECRET: &str = PASSWORD;

/// The running server.
pub struct Seaweed {
    /// Loopback port of its S3.
    pub port: u16,
    /// Ends with this process: the shell that holds the server reads its input to the
    /// end, then stops the server and removes its folder.
    _keeper: Child,
}

/// The server of this process, started by the first test that asks.
pub fn seaweed() -> &'static Seaweed {
    static SEAWEED: OnceLock<Seaweed> = OnceLock::new();
    SEAWEED.get_or_init(start)
}

/// Name and version, as the program says it.
pub async fn version() -> String {
    let mut weed = tools::python("weed");
    weed.arg("version");
    let said = tools::run(weed, 30).await.ok();
    let version = said.split_whitespace().nth(2).unwrap_or(&said).to_owned();
    format!("SeaweedFS {version}")
}

fn start() -> Seaweed {
    let folder = tempfile::Builder::new().prefix("tributary-seaweed-").tempdir().expect("a folder").keep();
    std::fs::create_dir(folder.join("data")).expect("a folder");
    let identity = |name: &str, key: &str, actions: &[&str]| json!({"name": name, "credentials": [{"accessKey": key, "secretKey": SECRET}], "actions": actions});
    let identities = json!({"identities": [
        identity("admin", ADMIN_KEY, &["Admin", "Read", "Write", "List", "Tagging"]),
        identity("reader", READER_KEY, &["Read", "List"]),
        identity("stranger", STRANGER_KEY, &["Read:elsewhere", "List:elsewhere"]),
        {"name": "anonymous", "actions": ["Read:public", "List:public"]},
    ]});
    std::fs::write(folder.join("s3.json"), identities.to_string()).expect("a file");
    let ports = free_ports::<9>();
    let [s3, master, volume, filer, master_grpc, volume_grpc, filer_grpc, s3_grpc, debug] = ports;
    let script = format!(
        r#"
        cd "{folder}"
        "{weed}" server -dir=data -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false -debug.port={debug} \
            -master.port={master} -master.port.grpc={master_grpc} -volume.port={volume} \
            -volume.port.grpc={volume_grpc} -filer.port={filer} -filer.port.grpc={filer_grpc} \
            -filer.localSocket="{folder}/filer.sock" -volume.max=1000 -master.volumeSizeLimitMB=64 \
            -s3 -s3.config=s3.json -s3.port={s3} -s3.port.grpc={s3_grpc} >log 2>&1 &
        server=$!
        read _
        kill -KILL $server; wait $server
        rm -rf "{folder}"
        "#,
        folder = folder.display(),
        weed = program("weed").display(),
    );
    let keeper = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    wait_until_it_answers(s3, &folder);
    Seaweed { port: s3, _keeper: keeper }
}

fn program(name: &str) -> PathBuf {
    PathBuf::from(tools::python(name).as_std().get_program())
}

fn free_ports<const N: usize>() -> [u16; N] {
    // All are held at once, so that no two are the same.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    held.map(|listener| listener.local_addr().expect("it has an address").port())
}

/// It answers once a bucket can be made and written to.
fn wait_until_it_answers(port: u16, folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let probe = folder.join("probe");
    std::fs::write(&probe, "probe").expect("a file");
    loop {
        let mut rclone = rclone(port, ADMIN_KEY);
        rclone.args(["--retries", "1", "--low-level-retries", "1", "copy"]).arg(&probe).arg("weed:probe");
        let output = rclone.stdin(Stdio::null()).output().expect("rclone runs");
        if output.status.success() {
            return;
        }
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(Instant::now() < deadline, "SeaweedFS did not start: {said}\n{log}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn rclone(port: u16, key: &str) -> Command {
    let mut command = Command::new(program("rclone"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("RCLONE_CONFIG_WEED_TYPE", "s3")
        .env("RCLONE_CONFIG_WEED_PROVIDER", "SeaweedFS")
        .env("RCLONE_CONFIG_WEED_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .env("RCLONE_CONFIG_WEED_ACCESS_KEY_ID", key)
        .env("RCLONE_CONFIG_WEED_SECRET_ACCESS_KEY", SECRET)
        .args(["--config", "", "--quiet"]);
    command
}

/// A bucket of its own.
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Port of its server.
    pub port: u16,
}

impl Bucket {
    /// Makes a new one.
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self::named(format!("bucket-{}", NEXT.fetch_add(1, Ordering::Relaxed))).await
    }

    /// Makes one of this name.
    pub async fn named(name: String) -> Self {
        let server = tokio::task::spawn_blocking(seaweed).await.expect("the server starts");
        let bucket = Self { name, port: server.port };
        bucket.rclone(&["mkdir", &bucket.at("")]).await;
        bucket
    }

    fn at(&self, path: &str) -> String {
        format!("weed:{}/{path}", self.name)
    }

    async fn rclone(&self, arguments: &[&str]) -> String {
        let mut command = rclone(self.port, ADMIN_KEY);
        command.args(arguments);
        tools::run(command.into(), 120).await.ok()
    }

    /// Writes a file.
    pub async fn write(&self, path: &str, content: &[u8]) {
        self.write_all([(path, content)]).await;
    }

    /// Writes some files.
    pub async fn write_all<'a>(&self, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, content) in files {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, content).expect("a file");
        }
        // Written anew also where size and time are those of what is there.
        let from = folder.path().to_str().expect("UTF-8").to_owned();
        self.rclone(&["copy", "--ignore-times", &from, &self.at("")]).await;
    }

    /// Removes a file.
    pub async fn remove(&self, path: &str) {
        self.rclone(&["deletefile", &self.at(path)]).await;
    }

    /// Removes all files.
    pub async fn clear(&self) {
        self.rclone(&["delete", &self.at("")]).await;
    }

    /// Removes the bucket with all that it has.
    pub async fn purge(&self) {
        self.rclone(&["purge", &self.at("")]).await;
    }

    /// All that is there, by path.
    pub async fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let folder = tempfile::tempdir().expect("a folder");
        let to = folder.path().to_str().expect("UTF-8").to_owned();
        self.rclone(&["copy", &self.at(""), &to]).await;
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.path().to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).expect("a folder").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(folder.path()).expect("within").to_str().expect("UTF-8").to_owned();
                    files.insert(name, std::fs::read(&path).expect("a file"));
                }
            }
        }
        files
    }
}
