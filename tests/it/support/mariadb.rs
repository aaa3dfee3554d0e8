//! A throw-away MariaDB: one server for the whole test process, one database and one
//! login a test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use super::postgres::PASSWORD;
use super::tls::Certificates;

/// Account that may do everything.
const ADMIN: &str = "admin";

/// What the server of most tests writes of changes.
const LOGGING: &str = "--log-bin=bin --binlog-format=ROW --binlog-row-image=FULL";

/// A running server.
struct Running {
    port: u16,
    /// PEM text of the authority of its certificate.
    root: String,
    /// Ends with this process: the shell that holds the server reads its input to the
    /// end, then stops the server.
    keeper: Child,
}

/// A server that a test stops and starts.
pub struct OwnServer {
    folder: PathBuf,
    running: Option<Running>,
    port: u16,
}

impl OwnServer {
    /// Starts one with these options.
    pub fn start(options: &str) -> Self {
        let folder = folder();
        let running = start_in(&folder, free_port(), options, "");
        Self { port: running.port, folder, running: Some(running) }
    }

    /// Kills it, if it runs, and starts it on the same data.
    pub fn restart(&mut self, options: &str) {
        self.stop();
        self.running = Some(start_in(&self.folder, self.port, options, ""));
    }

    fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.keeper.stdin.take());
            drop(running.keeper.wait());
        }
    }

    /// Makes a new database in it.
    pub async fn database(&self) -> Database {
        Database::on(self.port).await
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.stop();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A database of its own, empty at first, and a login without any right.
pub struct Database {
    /// Loopback port of the server.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// Login with [`PASSWORD`].
    pub reader: String,
}

impl Database {
    /// Makes a new database.
    pub async fn create() -> Self {
        let server = tokio::task::spawn_blocking(server).await.expect("the server starts");
        Self::on(server.port).await
    }

    async fn on(port: u16) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = Self { port, name: format!("shop_{number}"), reader: format!("reader_{number}") };
        database.run(&format!("CREATE DATABASE {} CHARACTER SET utf8mb4", database.name)).await;
        database.run(&format!("CREATE USER {}@'%' IDENTIFIED BY '{PASSWORD}'", database.reader)).await;
        database
    }

    /// Lets the login read the whole database.
    pub async fn grant(&self) {
        self.run(&format!("GRANT SELECT, SHOW VIEW ON {}.* TO {}@'%'", self.name, self.reader)).await;
    }

    /// A client that may do everything, in the database if it is there.
    pub async fn connect(&self) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(ADMIN))
            .pass(Some(PASSWORD))
            .prefer_socket(false);
        let mut client = Conn::new(options).await.expect("the test's MariaDB answers");
        drop(client.query_drop(format!("USE {}", self.name)).await);
        client
    }

    /// Runs statements, each with a semicolon behind it.
    pub async fn run(&self, sql: &str) {
        let mut client = self.connect().await;
        for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            client.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        client.disconnect().await.expect("it takes its leave");
    }
}

/// The authority of the certificate that the server has for `localhost`.
pub fn root() -> &'static str {
    &server().root
}

fn server() -> &'static Running {
    static SERVER: OnceLock<Running> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> Running {
    let folder = folder();
    start_in(&folder, free_port(), LOGGING, &format!("rm -rf \"{}\"", folder.display()))
}

fn folder() -> PathBuf {
    tempfile::Builder::new().prefix("tributary-mariadb-").tempdir().expect("a folder").keep()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

/// Starts a server on the data in the folder, which it makes if there is none; the
/// command is run once it has ended.
fn start_in(folder: &Path, port: u16, options: &str, at_end: &str) -> Running {
    let (install, program) = (program("mariadb-install-db"), program("mariadbd"));
    let certificates = Certificates::make("DNS:localhost");
    let accounts = format!(
        "CREATE USER IF NOT EXISTS {ADMIN}@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL PRIVILEGES ON *.* TO {ADMIN}@'%' WITH GRANT OPTION;\n"
    );
    std::fs::write(folder.join("accounts.sql"), accounts).expect("a file");
    for name in ["server.pem", "server.key"] {
        std::fs::copy(certificates.file(name), folder.join(name)).expect("a copy");
    }
    let script = format!(
        r#"
        user=$(id -un)
        # A server that starts removes what others have in a folder that they share.
        export TMPDIR="{folder}"
        test -d "{folder}/data" || "{install}" --no-defaults --datadir="{folder}/data" --user=$user --auth-root-authentication-method=normal \
            --skip-test-db >"{folder}/log" 2>&1 || exit 1
        "{program}" --no-defaults --datadir="{folder}/data" --user=$user --port={port} --bind-address=127.0.0.1 \
            --socket="{folder}/socket" --init-file="{folder}/accounts.sql" {options} \
            --server-id=1 --max-allowed-packet=1G --innodb-flush-log-at-trx-commit=0 --sync-binlog=0 \
            --max-connections=300 --skip-name-resolve --innodb-buffer-pool-size=64M \
            --ssl-cert="{folder}/server.pem" --ssl-key="{folder}/server.key" >>"{folder}/log" 2>&1 &
        server=$!
        read _
        kill -KILL $server; wait $server
        {at_end}
        "#,
        folder = folder.display(),
        install = install.display(),
        program = program.display(),
    );
    let keeper = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    wait_until_it_answers(port, folder);
    Running { port, root: certificates.root(), keeper }
}

fn wait_until_it_answers(port: u16, folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "MariaDB did not start:\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn program(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"];
    let found = places.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no `{name}`: install the package `mariadb-server`"))
}
