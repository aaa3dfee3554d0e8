//! A throw-away PostgreSQL: one cluster for the whole test process, one database
//! a test.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Superuser of the cluster.
pub const USER: &str = "postgres";
/// Its password, over TCP.
pub const PASSWORD: &str = "only-the-cluster-knows-it";

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

/// A cluster that one test has for itself, to stop it, or to do worse.
pub struct OwnCluster {
    folder: PathBuf,
    port: u16,
    settings: &'static str,
    /// See [`Cluster`]; reads a signal to stop the server with, then ends.
    keeper: Option<Child>,
}

impl OwnCluster {
    /// Makes and starts one.
    pub fn start_new() -> Self {
        Self::start_with("")
    }

    /// Makes and starts one with these arguments.
    pub fn start_with(settings: &'static str) -> Self {
        let folder = tempfile::Builder::new().prefix("tributary-postgres-").tempdir().expect("a folder").keep();
        let mut cluster = Self { folder, port: free_port(), settings, keeper: None };
        let folder = cluster.folder.display().to_string();
        let user = as_nobody();
        let initdb = programs().join("initdb");
        shell(&format!(
            r#"if [ -n "{user}" ]; then chown nobody "{folder}"; fi
            {user} "{initdb}" -D "{folder}/data" -U {USER} -A trust --no-sync -E UTF8 --locale=C >"{folder}/log" 2>&1"#,
            initdb = initdb.display(),
        ));
        cluster.start();
        cluster
    }

    /// Starts it again.
    pub fn start(&mut self) {
        let script = format!(
            r#"{user} "{postgres}" -D "{folder}/data" -p {port} -k "{folder}" -h 127.0.0.1 -c fsync=off {settings} \
                >>"{folder}/log" 2>&1 &
            server=$!
            read signal
            kill -${{signal:-QUIT}} $server; wait $server"#,
            user = as_nobody(),
            postgres = programs().join("postgres").display(),
            folder = self.folder.display(),
            port = self.port,
            settings = self.settings,
        );
        let keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        self.keeper = Some(keeper.expect("sh runs"));
        wait_until_it_answers(self.port, &self.folder);
    }

    /// Stops it in good order, whoever is connected.
    pub fn stop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            keeper.stdin.take().expect("it is piped").write_all(b"INT\n").expect("the keeper reads");
            keeper.wait().expect("the keeper ends");
        }
    }

    /// A database of its own, empty at first.
    pub async fn database(&self) -> Database {
        let client = connect(self.port, "postgres").await;
        client.batch_execute("CREATE DATABASE own").await.expect("the database is created");
        Database { port: self.port, name: "own".to_owned() }
    }

    /// Freezes all rows, which are then older than any transaction.
    pub fn freeze(&self) {
        let program = programs().join("vacuumdb");
        shell(&format!(
            r#""{}" --all --freeze --quiet --host=127.0.0.1 --port={} --username={USER}"#,
            program.display(),
            self.port
        ));
    }

    /// Makes a transaction id the next one; the server must be stopped, and its
    /// rows frozen.
    pub fn set_next_transaction(&self, id: u32) {
        let segment = format!("{:04X}", id >> 20);
        shell(&format!(
            r#"cd "{folder}/data" && {user} sh -c 'head -c 262144 /dev/zero > pg_xact/{segment}' \
                && {user} "{program}" -x {id} -D . >>"{folder}/log" 2>&1"#,
            folder = self.folder.display(),
            user = as_nobody(),
            program = programs().join("pg_resetwal").display(),
        ));
    }

    /// Copies the data, to go back to it; the server must be stopped.
    pub fn copy(&self) {
        shell(&format!("cp -a \"{0}/data\" \"{0}/copy\"", self.folder.display()));
    }

    /// Goes back to the copy; the server must be stopped.
    pub fn restore(&self) {
        shell(&format!("rm -rf \"{0}/data\" && mv \"{0}/copy\" \"{0}/data\"", self.folder.display()));
    }

    /// Kills the process behind a client, at which the server crashes and
    /// recovers by itself.
    pub async fn crash(&self, client: &tokio_postgres::Client) {
        let row = client.query_one("SELECT pg_backend_pid()", &[]).await.expect("the client is connected");
        let process: i32 = row.get(0);
        shell(&format!("kill -9 {process}"));
        // The connection breaks when the postmaster has seen it.
        while client.simple_query("").await.is_ok() {}
        wait_until_it_answers(self.port, &self.folder);
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            drop(keeper.wait());
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn shell(script: &str) {
    let status = Command::new("sh").args(["-c", script]).status().expect("sh runs");
    assert!(status.success(), "{script}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it has an address").port()
}

/// PostgreSQL refuses to run as root.
fn as_nobody() -> &'static str {
    if is_root() { "setpriv --reuid=nobody --regid=nogroup --clear-groups" } else { "" }
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
    let port = free_port();
    let folder = tempfile::Builder::new().prefix("tributary-postgres-").tempdir().expect("a folder").keep();
    let as_nobody = as_nobody();
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
