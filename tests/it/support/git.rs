//! Git repositories behind a web server: `git http-backend`, as Git itself brings
//! it, run by lighttpd; and the plain `git` that pushes to them and clones.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::tools;

/// Who may read.
pub const USER: &str = "reader";
const REPOSITORY: &str = "handbook.git";

/// A web server with one repository, and a folder to work on it; gone when dropped.
pub struct GitServer {
    /// Loopback port.
    pub port: u16,
    folder: tempfile::TempDir,
    child: Child,
}

impl GitServer {
    /// Starts one where reading needs this password. With `filter` it leaves out
    /// objects when it is asked to, as the large hosts do; Git's own default is not
    /// to.
    pub fn start(password: &str, filter: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("tributary-git-").tempdir().expect("a folder");
        let port = free_port();
        std::fs::write(folder.path().join("users"), format!("{USER}:{password}\n")).expect("a file");
        std::fs::write(folder.path().join("lighttpd.conf"), settings(folder.path(), port)).expect("a file");
        std::fs::create_dir(folder.path().join("empty")).expect("a folder");
        let program = "/usr/sbin/lighttpd";
        assert!(Path::new(program).is_file(), "there is no {program}: install lighttpd, as tests/run does");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(program)
            .args(["-D", "-f"])
            .arg(folder.path().join("lighttpd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("lighttpd runs");
        let server = Self { port, folder, child };
        let bare = server.bare();
        git(server.folder.path(), &["init", "--quiet", "--bare", "-b", "main", path(&bare)]);
        let filter = if filter { "true" } else { "false" };
        git(&bare, &["config", "uploadpack.allowFilter", filter]);
        git(&bare, &["config", "uploadpack.allowAnySHA1InWant", filter]);
        git(server.folder.path(), &["init", "--quiet", "-b", "main", path(&server.work())]);
        git(&server.work(), &["remote", "add", "origin", path(&bare)]);
        server.wait_until_it_answers();
        server
    }

    /// Version of the server's program.
    pub fn version() -> String {
        let version = git(Path::new("/"), &["--version"]);
        format!("git http-backend {}", version.trim().trim_start_matches("git version "))
    }

    /// Address of the repository, over that port.
    pub fn url(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}/git/{REPOSITORY}")
    }

    /// The repository at the server.
    pub fn bare(&self) -> PathBuf {
        self.folder.path().join("repositories").join(REPOSITORY)
    }

    /// The folder to work in.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Writes a file there.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let file = self.work().join(file);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, content).expect("a file");
    }

    /// Removes a file there.
    pub fn remove(&self, file: &str) {
        std::fs::remove_file(self.work().join(file)).expect("it was there");
    }

    /// Commits what was written and pushes it.
    pub fn push(&self, message: &str) -> String {
        git(&self.work(), &["add", "--all"]);
        git(&self.work(), &["commit", "--quiet", "--allow-empty", "-m", message]);
        git(&self.work(), &["push", "--quiet", "--force", "origin", "HEAD"]);
        git(&self.work(), &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs Git in the folder to work in.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.work(), arguments)
    }

    /// What a plain clone over HTTP has: texts by path.
    pub fn cloned(&self, password: &str) -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("http://{USER}:{password}@127.0.0.1:{}/git/{REPOSITORY}", self.port);
        git(folder.path(), &["clone", "--quiet", "--depth", "1", &url, "clone"]);
        let mut texts = BTreeMap::new();
        collect(&folder.path().join("clone"), "", &mut texts);
        texts
    }

    fn wait_until_it_answers(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "lighttpd does not answer: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn settings(folder: &Path, port: u16) -> String {
    let backend = Path::new(git(Path::new("/"), &["--exec-path"]).trim()).join("git-http-backend");
    assert!(backend.is_file(), "there is no {}: install git, as tests/run does", backend.display());
    format!(
        r#"server.modules = ("mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_cgi")
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{folder}/empty"
server.upload-dirs = ("{folder}")
server.stream-response-body = 2
alias.url = ("/git" => "{backend}")
$HTTP["url"] =~ "^/git" {{
    cgi.assign = ("" => "")
    setenv.add-environment = (
        "GIT_PROJECT_ROOT" => "{folder}/repositories",
        "GIT_HTTP_EXPORT_ALL" => "1",
        "GIT_CONFIG_NOSYSTEM" => "1",
        "GIT_CONFIG_GLOBAL" => "/dev/null",
        "GIT_CONFIG_COUNT" => "1",
        "GIT_CONFIG_KEY_0" => "safe.directory",
        "GIT_CONFIG_VALUE_0" => "*",
    )
    auth.backend = "plain"
    auth.backend.plain.userfile = "{folder}/users"
    auth.require = ("" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
}}
"#,
        folder = folder.display(),
        backend = backend.display(),
    )
}

/// Runs Git and answers what it prints; anything but success fails the test.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = tools::system("git").into_std();
    command.current_dir(folder).args(arguments);
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_AUTHOR_NAME", "Ada Writer"),
        ("GIT_AUTHOR_EMAIL", "ada@example.com"),
        ("GIT_COMMITTER_NAME", "Carl Committer"),
        ("GIT_COMMITTER_EMAIL", "carl@example.com"),
    ] {
        command.env(name, value);
    }
    let output = command.stdin(Stdio::null()).output().expect("git runs");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn collect(folder: &Path, prefix: &str, texts: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() && name != ".git" {
            collect(&entry.path(), &path, texts);
        } else if kind.is_file() {
            let text = std::fs::read(entry.path()).expect("a file");
            texts.insert(path, String::from_utf8_lossy(&text).trim().to_owned());
        }
    }
}
