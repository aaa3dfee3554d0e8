//! A throw-away PostgreSQL: one cluster for the whole test process, one database
//! a test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Superuser of the cluster.
pub const USER: &str = "postgres";
/// Its password, over TCP.
pub const PASSWORD: &str = "postgres";

/// The running cluster.
pub struct Cluster {
    /// Loopback port.
    pub port: u16,
    /// Ends with this process: the shell that holds the server reads its input
    /// to the end, then stops the server and removes its folder.
    _keeper: Child,
}

/// A database of its own in the cluster, empty at first.
pub struct Database {
    /// Loopback port of the cluster.
    pub port: u16,
    /// Name of the database.
    pub name: String,
}

impl Database {
    /// Makes a new database.
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let cluster = tokio::task::spawn_blocking(cluster).await.expect("the cluster starts");
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let client = connect(cluster.port, "postgres").await;
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("the database is created");
        Self { port: cluster.port, name }
    }

    /// A client as superuser.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(self.port, &self.name).await
    }

    /// URL for our own store.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{}", self.port, self.name)
    }
}

async fn connect(port: u16, database: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::Config::new()
        .host("127.0.0.1")
        .port(port)
        .user(USER)
        .password(PASSWORD)
        .dbname(database)
        .connect(tokio_postgres::NoTls)
        .await
        .expect("the test's PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// The cluster of this process, started by the first test that asks.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

fn start() -> Cluster {
    let programs = programs();
    let port =
        TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it has an address").port();
    let folder = tempfile::Builder::new().prefix("tributary-postgres-").tempdir().expect("a folder").keep();
    // PostgreSQL refuses to run as root.
    let as_nobody = if is_root() { "setpriv --reuid=nobody --regid=nogroup --clear-groups" } else { "" };
    let script = format!(
        r#"
        if [ -n "{as_nobody}" ]; then chown nobody "{folder}"; fi
        printf %s {PASSWORD} > "{folder}/password"; chmod 644 "{folder}/password"
        {as_nobody} "{programs}/initdb" -D "{folder}/data" -U {USER} --auth-local=trust --auth-host=scram-sha-256 \
            --pwfile="{folder}/password" --no-sync -E UTF8 --locale=C >"{folder}/log" 2>&1 || exit 1
        {as_nobody} "{programs}/postgres" -D "{folder}/data" -p {port} -k "{folder}" -h 127.0.0.1 \
            -c fsync=off -c wal_level=logical -c max_connections=300 >>"{folder}/log" 2>&1 &
        server=$!
        read _
        kill -QUIT $server; wait $server
        rm -rf "{folder}"
        "#,
        folder = folder.display(),
        programs = programs.display(),
    );
    let keeper = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    wait_until_it_answers(port, &folder);
    Cluster { port, _keeper: keeper }
}

fn wait_until_it_answers(port: u16, folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let ready = programs().join("pg_isready");
    loop {
        let status = Command::new(&ready)
            .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
            .status()
            .expect("pg_isready is there");
        if status.success() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "PostgreSQL did not start:\n{}",
            std::fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Folder with `initdb` and `postgres`.
fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    versions.retain(|folder| folder.join("initdb").exists());
    versions.sort();
    versions.pop().expect("PostgreSQL's server programs are missing: install the package `postgresql`")
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout == b"0\n"
}
