//! A throw-away server that speaks MongoDB's protocol: SecantusDB, since MongoDB's own
//! server is in no registry that the tests can reach. One for the whole test process,
//! one database and one user a test. It is asked through MongoDB's own client for
//! Python, so that what is read is compared with what somebody else reads.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::postgres::PASSWORD;
use super::tls::Certificates;
use super::tools;

/// Asks the server what it reads, a line each, and prints what was answered.
const CLIENT: &str = "
import sys
from bson import json_util
from pymongo import MongoClient
client = MongoClient('127.0.0.1', int(sys.argv[1]), directConnection=True, username='root', password=sys.argv[2])
for line in sys.stdin:
    asked = json_util.loads(line)
    try:
        answer = {'answer': client[asked['database']].command(asked['command'])}
    except Exception as error:
        answer = {'failed': str(error)}
    print(json_util.dumps(answer, json_options=json_util.RELAXED_JSON_OPTIONS), flush=True)
";

/// The running server.
struct Running {
    port: u16,
    client: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    /// End with this process: the shell that holds the server reads its input to the
    /// end, then stops the server and removes its folder; so does the client.
    _keepers: [Child; 2],
}

/// A database of its own, empty at first, and a user who may read it.
pub struct Database {
    /// Loopback port of the server.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// User with [`PASSWORD`].
    pub reader: String,
}

impl Database {
    /// Makes a new database.
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let server = tokio::task::spawn_blocking(server).await.expect("the server starts");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let database = Self { port: server.port, name: format!("shop_{number}"), reader: format!("reader_{number}") };
        let roles = json!([{"role": "read", "db": database.name}]);
        database.admin(json!({"createUser": database.reader, "pwd": PASSWORD, "roles": roles}));
        database
    }

    /// Runs a command of the server.
    pub fn admin(&self, command: Value) -> Value {
        ask("admin", command)
    }

    /// Runs a command of the database.
    pub fn run(&self, command: Value) -> Value {
        ask(&self.name, command)
    }

    /// Inserts documents, as extended JSON.
    pub fn insert(&self, collection: &str, documents: Value) {
        self.run(json!({"insert": collection, "documents": documents}));
    }

    /// All documents of a collection.
    pub fn documents(&self, collection: &str) -> Vec<Value> {
        let mut found = self.run(json!({"find": collection, "batchSize": 100_000}));
        found["cursor"]["firstBatch"].as_array_mut().map(std::mem::take).expect("documents")
    }
}

#[track_caller]
fn ask(database: &str, command: Value) -> Value {
    let mut client = server().client.lock().expect("nobody failed");
    let (input, output) = &mut *client;
    writeln!(input, "{}", json!({"database": database, "command": command})).expect("the client reads");
    let mut line = String::new();
    output.read_line(&mut line).expect("the client writes");
    drop(client);
    let mut answer: Value = serde_json::from_str(&line).expect("an answer");
    assert!(answer.get("failed").is_none(), "{}", answer["failed"]);
    answer["answer"].take()
}

/// A server of its own that speaks TLS alone, with a user `reader` and a document
/// `{"_id": 1, "name": "under TLS"}` in `shop.things`; gone when dropped.
pub struct Secured {
    /// Loopback port.
    pub port: u16,
    _keeper: Child,
}

impl Secured {
    /// Starts one with the certificates.
    pub async fn start(certificates: &Certificates) -> Self {
        let files = (certificates.file("server.pem"), certificates.file("server.key"));
        let started = tokio::task::spawn_blocking(move || {
            let options = format!("--tls-cert-file {} --tls-key-file {}", files.0.display(), files.1.display());
            let prepare = format!(
                "client.shop.things.insert_one({{'_id': 1, 'name': 'under TLS'}})\n\
                 client.admin.command('createUser', 'reader', pwd='{PASSWORD}', roles=[{{'role': 'read', 'db': 'shop'}}])"
            );
            start(&options, &prepare)
        });
        let (port, _keeper, _) = started.await.expect("the server starts");
        Self { port, _keeper }
    }
}

fn server() -> &'static Running {
    static SERVER: OnceLock<Running> = OnceLock::new();
    SERVER.get_or_init(|| {
        let prepare = format!("client.admin.command('createUser', 'root', pwd='{PASSWORD}', roles=['root'])");
        let (port, keeper, python) = start("", &prepare);
        let mut client = Command::new(python)
            .args(["-c", CLIENT, &port.to_string(), PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let ends = (client.stdin.take().expect("its input"), client.stdout.take().expect("its output"));
        Running { port, client: Mutex::new((ends.0, BufReader::new(ends.1))), _keepers: [keeper, client] }
    })
}

/// Port and keeper of a server, and where Python is. What `prepare` does happens while
/// nobody needs to log in; the options are those of the server after that.
fn start(options: &str, prepare: &str) -> (u16, Child, PathBuf) {
    let path = |program: &str| PathBuf::from(tools::python(program).as_std().get_program());
    let (program, python) = (path("secantusd-py"), path("python"));
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
    let folder = tempfile::Builder::new().prefix("tributary-mongodb-").tempdir().expect("a folder").keep();
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
{prepare}" >>"{folder}/log" 2>&1 || exit 1
        kill $server; wait $server
        serve --auth {options}
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
    (port, keeper, python)
}

fn wait_until_it_answers(port: u16, folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(180);
    while !folder.join("ready").exists() || std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "SecantusDB did not start:\n{}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
}
