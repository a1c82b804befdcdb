//! Where load may go.
//!
//! A load generator pointed at the wrong host is an attack. So a target is taken only when it is this machine, or a
//! name that only exists inside of a private network and resolves to a private address; everything else needs the
//! person's word, by name (`--i-own-this-target HOST`).

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// Endings of names that no public name server answers for.
const PRIVATE_ENDINGS: [&str; 6] = [".svc", ".cluster.local", ".internal", ".local", ".localhost", ".test"];

/// A server that was checked and resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host name or address, as it was given.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What stands before `/predict` in its paths; empty or beginning with `/`.
    pub prefix: String,
    /// What the host resolved to, the first address of each family that answered the name.
    pub address: SocketAddr,
}

/// Kafka brokers that were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brokers {
    /// `host:port` of each, parted by commas.
    pub list: String,
    /// What the first resolved to.
    pub address: SocketAddr,
}

impl Brokers {
    /// Reads `kafka://HOST:PORT[,HOST:PORT…]` and checks that load may go there.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(url: &str, owned: &[String]) -> Result<Self, TargetError> {
        let wrong = || TargetError::Url { url: url.to_owned() };
        let list = url.strip_prefix("kafka://").ok_or_else(wrong)?.trim_end_matches('/');
        let mut first = None;
        for broker in list.split(',') {
            let (host, port) = split(broker).ok_or_else(wrong)?;
            let address = check(host, port, owned)?;
            first.get_or_insert(address);
        }
        Ok(Self { list: list.to_owned(), address: first.ok_or_else(wrong)? })
    }
}

/// A target that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not an address of the kind that is spoken.
    #[error(
        "`{url}` is no target: write http://HOST:PORT (HTTP/1.1; TLS is not spoken, the measured path ends before it) or, where built in, kafka://HOST:PORT"
    )]
    Url {
        /// What was given.
        url: String,
    },
    /// A host that is not clearly private.
    #[error(
        "{host} is neither this machine nor a private cluster name: load goes there only with --i-own-this-target {host}"
    )]
    NotPrivate {
        /// The host.
        host: String,
    },
    /// A private name with a public address.
    #[error(
        "{host} resolves to {address}, which is no private address: load goes there only with --i-own-this-target {host}"
    )]
    PublicAddress {
        /// The host.
        host: String,
        /// What it resolves to.
        address: IpAddr,
    },
    /// A name that nobody knows.
    #[error("{host} does not resolve: {problem}")]
    Unknown {
        /// The host.
        host: String,
        /// What the resolver said.
        problem: String,
    },
}

impl Target {
    /// Reads a URL, checks that load may go there, and resolves it.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(url: &str, owned: &[String]) -> Result<Self, TargetError> {
        Self::read(url, Some(owned))
    }

    /// Reads and resolves the URL of a server that is only asked questions now and then: no load goes there, so any host may
    /// be named.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn watched(url: &str) -> Result<Self, TargetError> {
        Self::read(url, None)
    }

    /// `owned` is none where no load goes.
    fn read(url: &str, owned: Option<&[String]>) -> Result<Self, TargetError> {
        let wrong = || TargetError::Url { url: url.to_owned() };
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') || prefix.contains(['?', '#', ' ', '\r', '\n']) {
            return Err(wrong());
        }
        let (host, port) = split(authority).ok_or_else(wrong)?;
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let host_itself = [host.to_owned()];
        let address = check(host, port, owned.unwrap_or(&host_itself))?;
        Ok(Self { host: host.to_owned(), port, prefix, address })
    }

    /// Host and port, as a `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.prefix)
    }
}

/// Host and port of an authority; `[::1]:8000` too.
fn split(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let shaped = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    let port = port.map_or(Some(80), |port| port.parse().ok().filter(|port| *port > 0))?;
    shaped.then_some((host, port))
}

/// Checks a host and port as a target's are, for peers that do not speak HTTP.
///
/// # Errors
/// [`TargetError`].
pub fn check(host: &str, port: u16, owned: &[String]) -> Result<SocketAddr, TargetError> {
    let lower = host.to_ascii_lowercase();
    let is_owned = owned.iter().any(|owned| owned.eq_ignore_ascii_case(host));
    if !is_owned && !is_private_name(&lower) {
        return Err(TargetError::NotPrivate { host: host.to_owned() });
    }
    let unknown = |problem: String| TargetError::Unknown { host: host.to_owned(), problem };
    let addresses: Vec<SocketAddr> =
        (host, port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?.collect();
    if !is_owned && let Some(public) = addresses.iter().find(|address| !is_private_address(address.ip())) {
        return Err(TargetError::PublicAddress { host: host.to_owned(), address: public.ip() });
    }
    // Services listen on IPv4 more often than not.
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    first.copied().ok_or_else(|| unknown("no address".to_owned()))
}

fn is_private_name(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.is_loopback();
    }
    // A name of one label is a Service of the same namespace, or stands in the machine's own hosts file.
    let host = host.trim_end_matches('.');
    !host.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| host.ends_with(ending))
}

fn is_private_address(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || is_shared(address.octets()),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// 100.64.0.0/10, which clusters use for their Pods.
fn is_shared(octets: [u8; 4]) -> bool {
    octets[0] == 100 && octets[1] & 0xc0 == 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, TargetError> {
        Target::parse(url, &[])
    }

    #[test]
    fn this_machine_is_taken() {
        let target = parse("http://127.0.0.1:8000").unwrap();
        assert_eq!((target.authority().as_str(), target.prefix.as_str()), ("127.0.0.1:8000", ""));
        assert_eq!(parse("http://127.3.2.1/").unwrap().port, 80);
        assert_eq!(parse("http://[::1]:81/a/b/").unwrap().to_string(), "http://[::1]:81/a/b");
        assert!(parse("http://localhost:8000").unwrap().address.ip().is_loopback());
    }

    #[test]
    fn hosts_that_are_not_private_are_refused_without_being_looked_up() {
        for host in
            ["example.com", "8.8.8.8", "10.0.0.1", "192.168.1.1", "svc.example.com", "fake-svc.com", "2001:db8::1"]
        {
            let url = if host.contains(':') { format!("http://[{host}]:80") } else { format!("http://{host}:80") };
            assert_eq!(parse(&url), Err(TargetError::NotPrivate { host: host.to_owned() }));
        }
    }

    #[test]
    fn the_persons_word_counts_for_the_host_that_it_names() {
        let owned = ["10.0.0.1".to_owned()];
        assert_eq!(Target::parse("http://10.0.0.1:8000", &owned).unwrap().address.port(), 8000);
        assert!(Target::parse("http://10.0.0.2:8000", &owned).is_err());
    }

    #[test]
    fn cluster_names_are_private_names() {
        for name in ["fraud-api", "fraud-api.fraud.svc", "fraud-api.fraud.svc.cluster.local", "a.test"] {
            assert!(is_private_name(name), "{name}");
        }
        for address in ["10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(is_private_address(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2001:db8::1", "0.0.0.0"] {
            assert!(!is_private_address(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn brokers_are_checked_one_by_one() {
        let brokers = |url| Brokers::parse(url, &[]);
        assert_eq!(brokers("kafka://127.0.0.1:9092,localhost:9093").unwrap().list, "127.0.0.1:9092,localhost:9093");
        assert!(matches!(brokers("kafka://127.0.0.1:9092,example.com:9092"), Err(TargetError::NotPrivate { .. })));
        assert!(matches!(brokers("kafka://"), Err(TargetError::Url { .. })));
    }

    #[test]
    fn what_is_no_target_is_said_so() {
        for url in
            ["", "127.0.0.1:80", "https://127.0.0.1", "http://", "http://:80", "http://a:b", "http://127.0.0.1:0"]
        {
            assert!(matches!(parse(url), Err(TargetError::Url { .. })), "{url}");
        }
        assert!(matches!(parse("http://user@127.0.0.1"), Err(TargetError::Url { .. })));
        assert!(matches!(parse("http://127.0.0.1/a?b"), Err(TargetError::Url { .. })));
    }
}
