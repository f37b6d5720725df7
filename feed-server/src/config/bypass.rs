//! Hosts that are reached without the proxy: the forms of `NO_PROXY`, as curl reads them, and ports.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::Host;

#[cfg(test)]
mod tests;

/// Hosts that are reached without the proxy.
///
/// | written | meant |
/// | --- | --- |
/// | `example.com`, `.example.com` | that host and every host below it |
/// | `*.example.com` | every host below it |
/// | `192.0.2.7`, `2001:db8::7`, `[2001:db8::7]` | that address |
/// | `192.0.2.0/24`, `2001:db8::/32`, `[2001:db8::/32]` | the addresses of that network |
/// | `*` | everything |
///
/// Each but a bare IPv6 address may be followed by `:port`, and is then meant for that port alone. Addresses are
/// compared with hosts that are written as addresses: no name is resolved for this. Letter case and trailing dots do
/// not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bypass(Vec<Rule>);

impl Bypass {
    /// What a list of entries means.
    ///
    /// # Errors
    /// The first entry that means nothing.
    pub fn parse<'e>(entries: impl IntoIterator<Item = &'e str>) -> Result<Self, BypassMistake> {
        entries.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// What a variable such as `NO_PROXY` means: entries with commas or blanks between them. It is written for all
    /// programs of a machine, so what this one does not understand is passed over, as curl does, and counted.
    #[must_use]
    pub fn of_variable(text: &str) -> (Self, usize) {
        let entries = text.split([',', ' ', '\t']).map(str::trim).filter(|entry| !entry.is_empty());
        let (mut rules, mut not_understood) = (Vec::new(), 0);
        for entry in entries {
            match entry.parse() {
                Ok(rule) => rules.push(rule),
                Err(BypassMistake { .. }) => not_understood += 1,
            }
        }
        (Self(rules), not_understood)
    }

    /// Whether a host is reached without the proxy. It may be written as in a URL or without brackets.
    #[must_use]
    pub fn matches(&self, host: &str, port: u16) -> bool {
        let host = Target::of(host);
        self.0.iter().any(|rule| rule.port.is_none_or(|wanted| wanted == port) && rule.hosts.matches(&host))
    }

    /// These, and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether nothing is reached without the proxy.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The entries as written, with commas between them.
impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, rule) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&rule.text)?;
        }
        Ok(())
    }
}

/// An entry that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{entry:?} is neither host, domain, address nor network; write entries such as \"host.example.com\", \
     \".example.com\", \"*.example.com\", \"192.0.2.0/24\" or \"[2001:db8::7]\", each with or without \":port\", or \"*\""
)]
pub struct BypassMistake {
    /// As written, not endless.
    entry: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    text: String,
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Everything,
    /// In lower case, without dots at its ends.
    Domain {
        name: String,
        with_itself: bool,
    },
    Network {
        address: IpAddr,
        prefix: u32,
    },
}

impl FromStr for Rule {
    type Err = BypassMistake;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        rule(text.trim()).ok_or_else(|| BypassMistake { entry: text.chars().take(80).collect() })
    }
}

fn rule(text: &str) -> Option<Rule> {
    let of = |hosts, port| Some(Rule { text: text.to_owned(), hosts, port });
    // A bare IPv6 address or network: its colons are no port's.
    if let Some(network) = network(text) {
        return of(network, None);
    }
    let (hosts, port) = match text.rsplit_once(':') {
        Some((hosts, port)) if !port.ends_with(']') => (hosts, Some(self::port(port)?)),
        Some(_) | None => (text, None),
    };
    if let Some(inside) = hosts.strip_prefix('[') {
        let inside = inside.strip_suffix(']').filter(|inside| inside.contains(':'))?;
        return of(network(inside)?, port);
    }
    match network(hosts) {
        Some(Hosts::Network { address: IpAddr::V6(_), .. }) => None,
        Some(network) => of(network, port),
        None => of(named(hosts)?, port),
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0 && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// An address, or a network as address and bits. Bits beyond the network's are not looked at.
fn network(text: &str) -> Option<Hosts> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match bits {
        None => most,
        Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
            bits.parse().ok().filter(|bits| *bits <= most)?
        }
        Some(_) => return None,
    };
    Some(Hosts::Network { address, prefix })
}

fn named(text: &str) -> Option<Hosts> {
    if text == "*" {
        return Some(Hosts::Everything);
    }
    let (name, with_itself) = match text.strip_prefix("*.") {
        Some(below) => (below, false),
        None => (text.strip_prefix('.').unwrap_or(text), true),
    };
    match Host::parse(name).ok()? {
        // "10.1" would be an address to a URL, and is half a name to everybody else: it is taken for neither.
        Host::Ipv4(_) | Host::Ipv6(_) => None,
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_owned();
            let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains(['*', '/']);
            is_name.then_some(Hosts::Domain { name, with_itself })
        }
    }
}

/// A host that is to be reached.
enum Target {
    Address(IpAddr),
    Name(String),
}

impl Target {
    fn of(host: &str) -> Self {
        let host = host.trim_end_matches('.');
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse().map_or_else(|_| Self::Name(host.to_ascii_lowercase()), Self::Address)
    }
}

impl Hosts {
    fn matches(&self, host: &Target) -> bool {
        match (self, host) {
            (Self::Everything, Target::Address(_) | Target::Name(_)) => true,
            (Self::Domain { name, with_itself }, Target::Name(host)) => match host.strip_suffix(name.as_str()) {
                Some("") => *with_itself,
                Some(before) => before.ends_with('.'),
                None => false,
            },
            (Self::Network { address, prefix }, Target::Address(host)) => {
                first_bits(*address, *prefix).is_some_and(|network| first_bits(*host, *prefix) == Some(network))
                    && address.is_ipv4() == host.is_ipv4()
            }
            (Self::Domain { .. }, Target::Address(_)) | (Self::Network { .. }, Target::Name(_)) => false,
        }
    }
}

/// The first bits of an address, as a number; `None` where it has not so many.
fn first_bits(address: IpAddr, count: u32) -> Option<u128> {
    let (bits, size): (u128, u32) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    // A shift by all 128 bits leaves none.
    size.checked_sub(count).map(|others| bits.checked_shr(others).unwrap_or(0))
}
