//! A throw-away Apache with `mod_dav` over a folder.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::tools;

const MODULES: [&str; 10] = [
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "dav",
    "dav_fs",
    "mime",
    "alias",
];

/// A running one; killed when dropped.
pub struct Apache {
    /// Loopback port.
    pub port: u16,
    folder: tempfile::TempDir,
    keeper: Child,
}

impl Apache {
    /// Starts one that serves a folder at `/dav/` to one login, which may read all of
    /// it but `/dav/secret/`, and `/public/` to everybody.
    pub fn start(username: &str, password: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tributary-apache-").tempdir().expect("a folder");
        let root = folder.path();
        for name in ["dav", "public"] {
            std::fs::create_dir(root.join(name)).expect("a folder");
        }
        // Its workers are another user when we are root.
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).expect("our folder");
        hash(&root.join("users"), username, password);
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its port").port();
        std::fs::write(root.join("apache.conf"), settings(root, port)).expect("a file");
        let script = format!(
            r#""{apache}" -f "{root}/apache.conf" -DFOREGROUND >"{root}/out" 2>&1 & server=$!
            read _
            kill -TERM $server; wait $server"#,
            apache = Path::new(tools::system("apache2").as_std().get_program()).display(),
            root = root.display(),
        );
        let keeper = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let apache = Self { port, keeper: keeper.expect("sh runs"), folder };
        apache.wait_until_it_answers();
        apache
    }

    /// The folder that is `/dav/`.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("dav")
    }

    /// The folder that is `/public/`.
    pub fn public(&self) -> PathBuf {
        self.folder.path().join("public")
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let said = |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
            assert!(Instant::now() < deadline, "Apache did not start:\n{}\n{}", said("out"), said("error"));
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        if let Some(mut input) = self.keeper.stdin.take() {
            drop(input.write_all(b"\n"));
        }
        drop(self.keeper.wait());
    }
}

/// Name and version, as the program says it.
pub async fn version() -> String {
    let mut apache = tools::system("apache2");
    apache.arg("-v");
    let said = tools::run(apache, 30).await.ok();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("Apache/")).unwrap_or(&said);
    format!("Apache {version} with mod_dav")
}

fn hash(file: &Path, username: &str, password: &str) {
    let program = tools::system("htpasswd");
    let mut child = Command::new(program.as_std().get_program())
        .args(["-i", "-c"])
        .arg(file)
        .arg(username)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("htpasswd runs");
    child.stdin.take().expect("it is piped").write_all(password.as_bytes()).expect("it reads");
    assert!(child.wait().expect("it ends").success());
}

fn settings(root: &Path, port: u16) -> String {
    let modules: String = MODULES
        .iter()
        .map(|module| format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"))
        .collect();
    let root = root.display();
    format!(
        r#"{modules}
ServerRoot "{root}"
ServerName localhost
Listen 127.0.0.1:{port}
PidFile "{root}/pid"
ErrorLog "{root}/error"
User www-data
Group www-data
TypesConfig /dev/null
DavLockDB "{root}/locks"
DocumentRoot "{root}/public"
<Directory />
  Require all denied
</Directory>
<Directory "{root}/public">
  Require all granted
</Directory>
<Location /public>
  Dav On
  Require all granted
</Location>
Alias /public "{root}/public"
Alias /dav "{root}/dav"
<Location /dav>
  Dav On
  AuthType Basic
  AuthName files
  AuthUserFile "{root}/users"
  Require valid-user
</Location>
<Location /dav/secret>
  Require user nobody-at-all
</Location>
"#
    )
}
