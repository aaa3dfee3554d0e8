//! Names to addresses. The name servers are asked here rather than through the
//! system's resolver, which would add search domains, keep answers for as long as
//! it likes, hold a thread for as long as it likes, and hide addresses that it
//! thinks are of no use: all addresses of a name must be seen to be judged.
//!
//! `localhost` and what lies below it is this machine, whatever anybody says
//! (RFC 6761). Then comes the hosts file: only who owns this machine can write
//! it, containers get the names of their neighbours by it, and what it says is
//! judged like every other answer. Only then are the servers of `resolv.conf`
//! asked, for exactly the name that was given. Both files are read at each
//! look-up, so that a new network does not need a new process, and nothing is
//! kept: a name is asked for once a session.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;

use super::DialError;

/// More addresses than any database has. What is above it is an answer made to
/// keep us busy.
pub const MOST_ADDRESSES: usize = 64;

/// How long one server is waited for; the whole look-up has a limit of its own.
const ONE_SERVER: Duration = Duration::from_secs(2);
/// A hosts file that blocks advertisements has some megabytes.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;
/// As many servers as the system's resolver looks at.
const MOST_SERVERS: usize = 3;

/// Where names are looked up.
#[derive(Debug, Clone)]
pub struct Names {
    hosts: PathBuf,
    servers: Servers,
}

#[derive(Debug, Clone)]
enum Servers {
    /// Those of a `resolv.conf`.
    Listed(PathBuf),
    Given(Vec<SocketAddr>),
}

impl Default for Names {
    /// The files of this machine.
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), servers: Servers::Listed("/etc/resolv.conf".into()) }
    }
}

impl Names {
    /// A hosts file, and the name servers to ask.
    pub fn new(hosts: PathBuf, servers: Vec<SocketAddr>) -> Self {
        Self { hosts, servers: Servers::Given(servers) }
    }

    /// Every address of a name, IPv4 first: what listens on one kind of address
    /// mostly listens on that one. The name has no root dot.
    pub(super) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let mut addresses = in_hosts_file(&read(&self.hosts).await?, name);
        if addresses.is_empty() {
            addresses = self.ask(name).await?;
        }
        if addresses.len() > MOST_ADDRESSES {
            return Err(DialError::TooManyAddresses);
        }
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses)
    }

    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, DialError> {
        let mut config = ResolverConfig::default();
        for server in self.servers().await? {
            let mut known = NameServerConfig::udp_and_tcp(server.ip());
            known.connections.iter_mut().for_each(|connection| connection.port = server.port());
            config.add_name_server(known);
        }
        let mut resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = resolver.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        options.attempts = 1;
        options.timeout = ONE_SERVER;
        let resolver = resolver.build().map_err(not_found)?;
        // The dot at the end: this name, and not one in a search domain.
        let name = Name::from_ascii(format!("{name}.")).map_err(|_| DialError::InvalidHost)?;
        let found = resolver.lookup_ip(name).await.map_err(not_found)?;
        Ok(found.iter().collect())
    }

    async fn servers(&self) -> Result<Vec<SocketAddr>, DialError> {
        let path = match &self.servers {
            Servers::Given(servers) => return Ok(servers.clone()),
            Servers::Listed(path) => path,
        };
        let (config, _) = resolv_conf::Config::parse_with_errors(&read(path).await?);
        let listed = config.nameservers.into_iter().map(|server| SocketAddr::new(server.into(), 53));
        let listed: Vec<SocketAddr> = listed.take(MOST_SERVERS).collect();
        // Without any, it is the one on this machine: resolv.conf(5).
        Ok(if listed.is_empty() { vec![(Ipv4Addr::LOCALHOST, 53).into()] } else { listed })
    }
}

fn not_found(error: NetError) -> DialError {
    match error {
        NetError::Timeout => DialError::TimedOut,
        error => DialError::NotFound(Some(io::Error::other(error))),
    }
}

/// What the file holds; nothing, if there is none.
async fn read(path: &std::path::Path) -> Result<Vec<u8>, DialError> {
    use tokio::io::AsyncReadExt as _;

    let mut content = Vec::new();
    let outcome = match tokio::fs::File::open(path).await {
        Ok(file) => file.take(LARGEST_FILE).read_to_end(&mut content).await,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    };
    outcome.map_err(|error| DialError::NotFound(Some(error)))?;
    Ok(content)
}

fn is_localhost(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    last.eq_ignore_ascii_case("localhost")
}

/// The addresses that the lines of a hosts file give to a name. A line whose
/// address cannot be read is passed over.
fn in_hosts_file(content: &[u8], name: &str) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(content);
    let mut addresses = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next() else { continue };
        if words.any(|alias| alias.trim_end_matches('.').eq_ignore_ascii_case(name))
            && let Ok(address) = address.parse()
        {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_gives_every_address_of_a_name() {
        let file = b"# 10.0.0.9 db\n10.0.0.1 db db.example # old\n\n::1\tDB\nnonsense db\n10.0.0.2 dbx\n\xff 1\n";
        let found: Vec<String> = in_hosts_file(file, "db").iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["10.0.0.1", "::1"]);
        assert_eq!(in_hosts_file(file, "db.example").len(), 1);
        assert!(in_hosts_file(file, "old").is_empty());
    }

    #[tokio::test]
    async fn servers_are_those_of_the_file_as_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let names = Names { hosts: folder.path().join("none"), servers: Servers::Listed(path.clone()) };
        let listed = async || -> Vec<String> {
            names.servers().await.unwrap().iter().map(|server| server.ip().to_string()).collect()
        };
        assert_eq!(listed().await, ["127.0.0.1"]);
        std::fs::write(&path, "search lan\nnameserver 10.0.0.53\nnameserver fd00::53\noptions timeout:900\n").unwrap();
        assert_eq!(listed().await, ["10.0.0.53", "fd00::53"]);
        std::fs::write(&path, "nameserver 1.1.1.1\n".repeat(9)).unwrap();
        assert_eq!(listed().await.len(), MOST_SERVERS);
    }
}
