//! Names and addresses, each replaced by the same stand-in wherever it comes, so that relations remain visible and nobody's
//! network does.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A machine, by name.
    Host,
    /// A machine, by address.
    Ip,
    /// A headend.
    Headend,
    /// An administrator's token.
    Token,
    /// A person, an organisation, or a place.
    Name,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Ip => "ip",
            Self::Headend => "headend",
            Self::Token => "token",
            Self::Name => "name",
        })
    }
}

/// Everybody has these: the vendor's hosts and authorities, which help to understand and say nothing of a site, and this machine.
const COMMON: &[&str] = &[
    "www.cisco.com",
    "iseservice.cisco.com",
    "localhost",
    "root",
    "posture-feed",
    "posture-feed-client",
    "Cisco Systems Inc.",
    "HydrantID Server CA O1",
    "HydrantID Trusted Certificate Service",
    "IdenTrust",
    "IdenTrust Commercial Root CA 1",
    "San Jose",
    "California",
    // Of the configuration: these look like names of hosts.
    "upstream.proxy",
    "upstream.components",
];

/// What files end with, of those that are spoken of here: `posture-update.xml` is no host.
const FILES: &[&str] = &[
    "bin", "crt", "csv", "der", "deb", "gz", "json", "jsonl", "key", "lock", "log", "md", "part", "partial", "pem",
    "prom", "pub", "reason", "rs", "service", "sha256", "sheet", "socket", "sock", "tar", "tgz", "tmp", "toml", "txt",
    "xml", "xsl", "yml", "zip",
];

/// Shorter names are replaced where they stand alone; within words they would be everywhere.
const SHORT: usize = 3;

/// Numbers that are tried for a stand-in that is nobody's name.
const MOST_STEPS: usize = 100;

/// What is replaced by what.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// By names as [`fold`] has them.
    stand_ins: HashMap<Vec<char>, (Kind, usize)>,
    /// The lengths of names by their first character, longest first.
    lengths: HashMap<char, Vec<usize>>,
    counts: HashMap<Kind, usize>,
    kept: BTreeSet<Vec<char>>,
}

/// One character for one, so that places in a text stay what they are.
fn fold(text: &str) -> Vec<char> {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

impl Redaction {
    /// What looks like a name and is none: versions such as `84.6.2.0`.
    pub fn keep(&mut self, text: &str) {
        self.kept.insert(fold(text));
    }

    /// A name. The first kind that it is called stays.
    pub fn add(&mut self, kind: Kind, name: &str) {
        let name = fold(name.trim());
        let Some(first) = name.first().copied() else { return };
        let common = COMMON.iter().any(|common| fold(common) == name);
        if common || self.kept.contains(&name) || self.stand_ins.contains_key(&name) {
            return;
        }
        let lengths = self.lengths.entry(first).or_default();
        if !lengths.contains(&name.len()) {
            lengths.push(name.len());
            lengths.sort_unstable_by(|a, b| b.cmp(a));
        }
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        self.stand_ins.insert(name, (kind, *count));
    }

    /// Adds what a text has of addresses, of hosts (in URLs, and by what names of hosts look like), and of e-mail addresses.
    pub fn discover(&mut self, text: &str) {
        for rest in text.match_indices("://").map(|(at, mark)| &text[at + mark.len()..]) {
            let ends = |c: char| {
                c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>' | ')' | ',' | '`' | '\\')
            };
            let authority = rest.split(ends).next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            // An address in brackets is found as such.
            if !host.starts_with('[') {
                self.host(host.split(':').next().unwrap_or_default());
            }
        }
        for word in text.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, ':' | '.'))) {
            let word = word.trim_end_matches(['.']);
            let word = if word.ends_with("::") { word } else { word.trim_end_matches(':') };
            if word.matches(':').count() >= 2
                && word.parse::<Ipv6Addr>().is_ok_and(|address| !is_common(address.into()))
            {
                self.add(Kind::Ip, word);
            }
        }
        for word in text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+'))) {
            let word = word.trim_matches(['.', '-']);
            let word = match word.rsplit_once('@') {
                Some((person, host)) if !person.is_empty() => {
                    self.add(Kind::Name, person);
                    host
                }
                Some((_, rest)) => rest,
                None => word,
            };
            match word.parse::<Ipv4Addr>() {
                Ok(address) if is_common(address.into()) => {}
                Ok(_) => self.add(Kind::Ip, word),
                Err(_) if looks_like_host(word) => self.add(Kind::Host, word),
                Err(_) => {}
            }
        }
    }

    fn host(&mut self, host: &str) {
        match host.parse::<IpAddr>() {
            Ok(address) if is_common(address) => {}
            Ok(_) => self.add(Kind::Ip, host),
            Err(_) => self.add(Kind::Host, host),
        }
    }

    /// The text with every name replaced, however it is written.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let (original, folded): (Vec<char>, Vec<char>) = (text.chars().collect(), fold(text));
        let mut replaced = String::with_capacity(text.len());
        let mut stand_ins: HashMap<(Kind, usize), String> = HashMap::new();
        let mut at = 0;
        while at < folded.len() {
            match self.name_in(&folded, at) {
                Some((length, kind, number)) => {
                    replaced.push_str(stand_ins.entry((kind, number)).or_insert_with(|| self.stand_in(kind, number)));
                    at += length;
                }
                None => {
                    replaced.push(original[at]);
                    at += 1;
                }
            }
        }
        replaced
    }

    /// The longest name that begins there: how long it is, and what it is of.
    fn name_in(&self, text: &[char], at: usize) -> Option<(usize, Kind, usize)> {
        let lengths = self.lengths.get(&text[at])?;
        lengths.iter().find_map(|&length| {
            let name = text.get(at..at + length)?;
            let (kind, number) = self.stand_ins.get(name)?;
            let is_letter = |place: Option<&char>| place.is_some_and(|c| c.is_alphanumeric());
            let inside =
                is_letter(at.checked_sub(1).and_then(|before| text.get(before))) || is_letter(text.get(at + length));
            // An address is one as a whole: 10.0.0.1 is not in 10.0.0.12.
            if inside && (length < SHORT || *kind == Kind::Ip) {
                return None;
            }
            Some((length, *kind, *number))
        })
    }

    /// No stand-in holds somebody's name, such as that of a headend that is called headend-1.
    fn stand_in(&self, kind: Kind, number: usize) -> String {
        let count = self.counts.get(&kind).copied().unwrap_or(1);
        // In steps of how many there are, two never come to the same.
        let candidates = (0..MOST_STEPS).map(|step| format!("{kind}-{}", number + step * count));
        let holds_none = |candidate: &String| {
            let folded = fold(candidate);
            (0..folded.len()).all(|at| self.name_in(&folded, at).is_none())
        };
        let mut candidates = candidates.filter(holds_none);
        // Somebody is called "headend", and there is no other word for one.
        candidates.next().unwrap_or_else(|| format!("{kind}-{number}"))
    }
}

/// Every machine calls itself that.
fn is_common(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

/// Labels between dots, of which the last is of letters alone, and is not what files end with.
fn looks_like_host(word: &str) -> bool {
    let labels: Vec<&str> = word.split('.').collect();
    let good = |label: &&str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let last = labels.last().copied().unwrap_or_default();
    let is_top =
        last.len() >= 2 && last.chars().all(char::is_alphabetic) || last.to_ascii_lowercase().starts_with("xn--");
    labels.len() >= 2 && labels.iter().all(good) && is_top && !FILES.contains(&last.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_name_has_its_stand_in_wherever_it_comes() {
        let mut redaction = Redaction::default();
        redaction.keep("84.6.2.0");
        redaction.add(Kind::Headend, "vpn-gw-1");
        redaction.add(Kind::Token, "ops");
        let text = "VPN-GW-1 (10.1.2.3:5) asked https://feed.bank.example:8443/x of 84.6.2.0 for posture-update.xml as ops, not \
                    opsy; 2001:db8::7, [2001:db8::7]:443 and 10.1.2.33 at 23:58:34; alice@bank.example; https://www.cisco.com/ on \
                    127.0.0.1 by http://proxy:3128";
        redaction.discover(text);
        assert_eq!(
            redaction.apply(text),
            "headend-1 (ip-2:5) asked https://host-1:8443/x of 84.6.2.0 for posture-update.xml as token-1, not token-1y; ip-1, \
             [ip-1]:443 and ip-3 at 23:58:34; name-1@host-3; https://www.cisco.com/ on 127.0.0.1 by http://host-2:3128"
        );
    }

    #[test]
    fn longer_names_go_first_and_short_ones_stand_alone() {
        let mut redaction = Redaction::default();
        for name in ["gw", "gw-bern", "gw-bern-2"] {
            redaction.add(Kind::Headend, name);
        }
        assert_eq!(redaction.apply("gw-bern-2, gw-bern, gw, gwx"), "headend-3, headend-2, headend-1, gwx");
    }

    #[test]
    fn no_stand_in_is_a_name() {
        let mut redaction = Redaction::default();
        for name in ["headend-2", "headend-1", "headend-1x"] {
            redaction.add(Kind::Headend, name);
        }
        assert_eq!(redaction.apply("headend-2 headend-1 headend-1x"), "headend-4 headend-5 headend-3");
    }

    /// Names that are in no word of ours.
    fn name() -> impl Strategy<Value = String> {
        "[a-z]{0,3}(q[xzj]){2}[a-z0-9]{1,8}"
    }

    fn spelled(name: &str, upper: u64) -> String {
        let letters = name.chars().enumerate();
        letters.map(|(at, c)| if upper >> (at % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c }).collect()
    }

    proptest! {
        #[test]
        fn no_planted_name_is_left(
            known in proptest::collection::vec((name(), 0usize..3), 1..6),
            hosts in proptest::collection::vec((name(), name()), 0..4),
            ips in proptest::collection::vec(any::<[u8; 4]>(), 0..4),
            six in proptest::collection::vec(any::<[u16; 8]>(), 0..3),
            upper in any::<u64>(),
            glue in "[a-z ,.;:()/]{0,6}",
        ) {
            let mut redaction = Redaction::default();
            let mut sentences = Vec::new();
            for (name, kind) in &known {
                redaction.add([Kind::Headend, Kind::Token, Kind::Name][*kind], name);
                // Alone, in other letters, and within a word.
                sentences.push(format!("the headend {name} said {} and{}ly{glue}", spelled(name, upper), spelled(name, !upper)));
            }
            let hosts: Vec<_> = hosts.iter().map(|(name, domain)| format!("{name}.{domain}.example")).collect();
            for host in &hosts {
                sentences.push(format!("no route to {host}:443 (https://{}/x?y), {glue}", spelled(host, upper)));
            }
            let ips: Vec<_> = ips.iter().map(|octets| IpAddr::from(*octets)).chain(six.iter().map(|groups| IpAddr::from(*groups))).collect();
            for ip in ips.iter().filter(|ip| !is_common(**ip)) {
                sentences.push(format!("from {ip} at 23:58:34; [{ip}]:80 {glue}"));
            }
            let text = sentences.join("\n");
            redaction.discover(&text);
            let replaced = redaction.apply(&text).to_lowercase();
            for name in known.iter().map(|(name, _)| name).chain(&hosts) {
                prop_assert!(!replaced.contains(&name.to_lowercase()), "{name} is left in {replaced}");
            }
            for ip in ips.iter().filter(|ip| !is_common(**ip)) {
                let alone = |word: &str| word == ip.to_string();
                let words: Vec<_> = replaced.split(|c: char| !(c.is_ascii_hexdigit() || ".:".contains(c))).map(|word| word.trim_end_matches(':')).collect();
                prop_assert!(!words.iter().any(|word| alone(word)), "{ip} is left in {replaced}");
            }
            // The same each time, so that relations remain visible.
            prop_assert_eq!(redaction.apply(&text), redaction.apply(&text));
        }
    }
}
