//! A throw-away IMAP server, with a plain client of it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_imap::Session;
use futures::TryStreamExt;

use super::tls::Certificates;

/// The one user.
pub const USER: &str = "ada";

/// A running server, gone when dropped.
pub struct Dovecot {
    /// Port that begins in plain text and takes STARTTLS.
    pub port: u16,
    /// Port of TLS.
    pub tls_port: u16,
    /// What signed its certificate.
    pub certificates: Certificates,
    folder: PathBuf,
    password: String,
    /// Ends with this process: the shell that holds the server reads its input to the
    /// end, then stops the server and removes its folder.
    keeper: Mutex<Option<Child>>,
}

impl Dovecot {
    /// Starts one whose user has this password.
    pub async fn start(password: &str) -> Self {
        let password = password.to_owned();
        tokio::task::spawn_blocking(move || Self::start_now(password)).await.expect("the server starts")
    }

    fn start_now(password: String) -> Self {
        let folder = tempfile::Builder::new().prefix("tributary-dovecot-").tempdir().expect("a folder").keep();
        let certificates = Certificates::make("IP:127.0.0.1,DNS:localhost");
        let [port, tls_port] = [free_port(), free_port()];
        let server = Self { port, tls_port, certificates, folder, password, keeper: Mutex::default() };
        std::fs::write(server.folder.join("conf"), server.settings()).expect("the settings are written");
        server.run();
        server
    }

    fn settings(&self) -> String {
        format!(
            "base_dir = {folder}/run
            state_dir = {folder}/state
            log_path = {folder}/log
            protocols = imap
            listen = 127.0.0.1
            auth_failure_delay = 0
            disable_plaintext_auth = no
            first_valid_uid = 1
            ssl = yes
            ssl_cert = <{certificate}
            ssl_key = <{key}
            mail_location = maildir:{folder}/mail
            mail_fsync = never
            mailbox_list_index = no
            namespace inbox {{
              inbox = yes
              separator = /
            }}
            passdb {{
              driver = static
              args = password={password} user={USER}
            }}
            userdb {{
              driver = static
              args = uid=nobody gid=nogroup home={folder}/mail
            }}
            service imap-login {{
              inet_listener imap {{
                port = {port}
              }}
              inet_listener imaps {{
                port = {tls_port}
                ssl = yes
              }}
            }}
            ",
            folder = self.folder.display(),
            certificate = self.certificates.file("server.pem").display(),
            key = self.certificates.file("server.key").display(),
            password = self.password,
            port = self.port,
            tls_port = self.tls_port,
        )
    }

    fn run(&self) {
        let script = format!(
            r#"mkdir -p "{folder}/mail"; chown nobody:nogroup "{folder}/mail"; chmod 755 "{folder}"
            "{program}" -F -c "{folder}/conf" >"{folder}/out" 2>&1 &
            server=$!
            read _
            kill $server; wait $server"#,
            folder = self.folder.display(),
            program = program().display(),
        );
        let keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        *self.keeper.lock().unwrap() = Some(keeper.expect("sh runs"));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.answers() {
            let read = |name: &str| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            assert!(Instant::now() < deadline, "dovecot did not start:\n{}\n{}", read("out"), read("log"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).is_ok() && greeting == *b"* OK"
    }

    /// Stops it.
    pub fn stop(&self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap().take() {
            drop(keeper.stdin.take());
            drop(keeper.wait());
        }
    }

    /// What its program says of itself.
    pub fn version(&self) -> String {
        let output = Command::new(program()).arg("--version").output().expect("dovecot runs");
        format!("Dovecot {}", String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default())
    }

    /// A session as the user.
    pub async fn client(&self) -> Session<tokio::net::TcpStream> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.expect("it listens");
        let mut client = async_imap::Client::new(stream);
        client.read_response().await.expect("a greeting").expect("a greeting");
        client.login(USER, &self.password).await.map_err(|(error, _)| error).expect("the login is taken")
    }

    /// Makes mailboxes, by the names that the protocol has for them.
    pub async fn create(&self, names: &[&str]) {
        let mut client = self.client().await;
        for name in names {
            client.create(name).await.expect("the mailbox is made");
        }
    }

    /// Puts messages into a mailbox.
    pub async fn append(&self, name: &str, messages: &[String]) {
        let mut client = self.client().await;
        for message in messages {
            client.append(name, None, None, message.replace('\n', "\r\n")).await.expect("the message is taken");
        }
    }

    /// Removes messages by their numbers.
    pub async fn remove(&self, name: &str, uids: &str) {
        let mut client = self.client().await;
        client.select(name).await.expect("the mailbox is there");
        let stored = client.uid_store(uids, "+FLAGS (\\Deleted)").await.expect("they are marked");
        stored.try_collect::<Vec<_>>().await.expect("they are marked");
        client.expunge().await.expect("they go").try_collect::<Vec<_>>().await.expect("they go");
    }

    /// The subjects of a mailbox, by the keys of records.
    pub async fn subjects(&self, name: &str) -> BTreeMap<String, String> {
        let mut client = self.client().await;
        let validity = client.examine(name).await.expect("the mailbox is there").uid_validity.expect("its validity");
        let fetched = client.uid_fetch("1:*", "(UID ENVELOPE)").await.expect("a listing");
        let messages: Vec<_> = fetched.try_collect().await.expect("a listing");
        let subject = |message: &async_imap::types::Fetch| {
            let envelope = message.envelope().expect("an envelope");
            String::from_utf8_lossy(envelope.subject.as_deref().unwrap_or_default()).into_owned()
        };
        messages
            .iter()
            .map(|message| (format!("{validity}/{}", message.uid.expect("its number")), subject(message)))
            .collect()
    }

    /// True if any message of a mailbox is marked as seen or is no more recent.
    pub async fn has_seen(&self, name: &str) -> bool {
        let mut client = self.client().await;
        client.examine(name).await.expect("the mailbox is there");
        let fetched = client.uid_fetch("1:*", "(UID FLAGS)").await.expect("a listing");
        let messages: Vec<_> = fetched.try_collect().await.expect("a listing");
        messages.iter().any(|message| message.flags().any(|flag| flag == async_imap::types::Flag::Seen))
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.stop();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A message with a subject and a line of text.
pub fn message(subject: &str) -> String {
    format!(
        "From: Ada <ada@example.org>\nTo: bo@example.org\nDate: Fri, 1 Mar 2024 10:00:00 +0000\nSubject: {subject}\n\n\
         The text of {subject}.\n"
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it has an address").port()
}

fn program() -> &'static Path {
    let program = Path::new("/usr/sbin/dovecot");
    assert!(program.is_file(), "there is no {}: install the package `dovecot-imapd`", program.display());
    program
}
