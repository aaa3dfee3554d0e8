//! A throw-away server that speaks MongoDB's protocol: SecantusDB, since MongoDB's own
//! server is in no registry that the tests can reach. One for the whole test process,
//! one database and one user a test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};

use super::postgres::PASSWORD;
use super::tools;

/// The running server.
struct Running {
    port: u16,
    /// Ends with this process: the shell that holds the server reads its input to the
    /// end, then stops the server and removes its folder.
    _keeper: Child,
}

/// A database of its own, empty at first, and a user who may read it.
pub struct Database {
    /// Loopback port of the server.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// User with [`PASSWORD`].
    pub reader: String,
    client: Client,
}

impl Database {
    /// Makes a new database.
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = tokio::task::spawn_blocking(server).await.expect("the server starts");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (name, reader) = (format!("shop_{number}"), format!("reader_{number}"));
        let options = ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: Some(server.port) }])
            .direct_connection(true)
            .credential(Credential::builder().username("root".to_owned()).password(PASSWORD.to_owned()).build())
            .build();
        let client = Client::with_options(options).expect("a client");
        let database = Self { port: server.port, name, reader, client };
        let roles = vec![doc! {"role": "read", "db": &database.name}];
        database.admin(doc! {"createUser": &database.reader, "pwd": PASSWORD, "roles": roles}).await;
        database
    }

    /// Runs a command of the server.
    pub async fn admin(&self, command: Document) -> Document {
        self.client.database("admin").run_command(command).await.expect("the command runs")
    }

    /// A collection, for whoever may do everything.
    pub fn collection(&self, name: &str) -> mongodb::Collection<Document> {
        self.client.database(&self.name).collection(name)
    }
}

fn server() -> &'static Running {
    static SERVER: OnceLock<Running> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn start() -> Running {
    let (program, python) = (tools::python("secantusd-py"), tools::python("python"));
    let (program, python) = (program.as_std().get_program(), python.as_std().get_program());
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
    let folder = tempfile::Builder::new().prefix("tributary-mongodb-").tempdir().expect("a folder").keep();
    // Users are made while nobody needs to log in.
    let script = format!(
        r#"
        serve() {{
            "{program}" --host 127.0.0.1 --port {port} --storage-path "{folder}/data" --cache-size 64M \
                --oplog-max-entries 1000 "$@" >>"{folder}/log" 2>&1 &
            server=$!
        }}
        serve
        "{python}" -c "
from pymongo import MongoClient
client = MongoClient('127.0.0.1', {port}, directConnection=True, serverSelectionTimeoutMS=120000)
client.admin.command('createUser', 'root', pwd='{PASSWORD}', roles=['root'])" >>"{folder}/log" 2>&1 || exit 1
        kill $server; wait $server
        serve --auth
        touch "{folder}/ready"
        read _
        kill -KILL $server; wait $server
        rm -rf "{folder}"
        "#,
        folder = folder.display(),
        program = program.display(),
        python = python.display(),
    );
    let keeper = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh runs");
    wait_until_it_answers(port, &folder);
    Running { port, _keeper: keeper }
}

fn wait_until_it_answers(port: u16, folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !folder.join("ready").exists() || std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "SecantusDB did not start:\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}
