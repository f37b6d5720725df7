//! The configuration as it holds: every key with its value and where that comes from. No value here is a secret.

use std::path::Path;

use url::Url;

use super::values::{show_duration, show_size};
use super::{AllowedHost, Config, Origin, ProxyUrl};

/// Stands where something is not shown.
pub const HIDDEN: &str = "(hidden)";

/// A key with what holds of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As messages name it: `schedule.every`.
    pub key: String,
    /// As it would be written in the file; absent where nothing is set. User names, passwords and queries of URLs are left out.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

impl Config {
    /// Every key with its value and its origin, in the order of the reference (`deploy/feed-server.toml`).
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut list = List { config: self, settings: Vec::new() };
        list.upstream();
        list.service();
        list.content();
        list.limits();
        list.settings
    }
}

/// A URL without what may be secret in it.
#[must_use]
pub fn masked(url: &Url) -> String {
    let has_user = !url.username().is_empty() || url.password().is_some();
    let has_query = url.query().is_some();
    let mut shown = url.clone();
    // Neither fails where there is a host, and where there is none there is no user either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    let mut text = shown.to_string();
    if has_user {
        text = text.replacen("://", &format!("://{HIDDEN}@"), 1);
    }
    if has_query {
        text.push('?');
        text.push_str(HIDDEN);
    }
    text
}

/// The URL of a proxy, likewise: as `scheme://host:port`, since a proxy's port is always said.
#[must_use]
pub fn masked_proxy(url: &Url) -> String {
    let login = if url.username().is_empty() && url.password().is_none() { "" } else { "(hidden)@" };
    let port = url.port_or_known_default().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{login}{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// A text in quotes, as TOML has it.
#[must_use]
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A list of texts, as TOML has it.
#[must_use]
pub fn listed<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    in_brackets(texts.into_iter().map(quoted))
}

fn in_brackets(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

struct List<'c> {
    config: &'c Config,
    settings: Vec<Setting>,
}

impl List<'_> {
    fn put(&mut self, key: impl Into<String>, value: Option<String>) {
        let key = key.into();
        let origin = self.config.origins.of(&key);
        self.settings.push(Setting { key, value, origin });
    }

    fn text(&mut self, key: &str, value: impl AsRef<str>) {
        self.put(key, Some(quoted(value.as_ref())));
    }

    fn number(&mut self, key: &str, value: &impl ToString) {
        self.put(key, Some(value.to_string()));
    }

    fn path(&mut self, key: &str, value: Option<&Path>) {
        self.put(key, value.map(|path| quoted(&path.display().to_string())));
    }

    fn url(&mut self, key: &str, value: Option<&Url>) {
        self.put(key, value.map(|url| quoted(&masked(url))));
    }

    fn bytes(&mut self, key: &str, value: u64) {
        self.put(key, Some(show_size(value)));
    }

    fn upstream(&mut self) {
        let upstream = &self.config.upstream;
        self.text("upstream.kind", upstream.kind.as_str());
        self.path("upstream.root", upstream.root.as_deref());
        let has_url = upstream.kind != super::UpstreamKind::Mirror || upstream.follows;
        self.url("upstream.url", Some(&upstream.url).filter(|_| has_url));
        self.put("upstream.allowed_hosts", Some(in_brackets(upstream.allowed_hosts.iter().map(allowed_host))));
        let fallback_urls: Vec<String> = upstream.fallback_urls.iter().map(masked).collect();
        self.put("upstream.fallback_urls", Some(listed(fallback_urls.iter().map(String::as_str))));
        self.url("upstream.offline_zip_url", upstream.offline_zip_url.as_ref());
        let anchors = has_url.then(|| listed(upstream.trust_anchors.iter().map(String::as_str)));
        self.put("upstream.trust_anchors", anchors);
        let proxy = &upstream.proxy;
        let url = match &proxy.url {
            ProxyUrl::FromEnvironment => None,
            ProxyUrl::None => Some(quoted("none")),
            ProxyUrl::Url(url) => Some(quoted(&masked_proxy(url))),
        };
        self.put("upstream.proxy.url", url);
        self.put("upstream.proxy.username", proxy.username.as_deref().map(quoted));
        self.path("upstream.proxy.password_file", proxy.password_file.as_deref());
        self.put("upstream.proxy.bypass", Some(listed(proxy.bypass.iter().map(String::as_str))));
        self.put("upstream.proxy.trust_anchors", Some(listed(proxy.trust_anchors.iter().map(String::as_str))));
        for (pattern, component) in &upstream.components {
            self.put(format!("upstream.components.{}", super::document::shown(pattern)), Some(quoted(component)));
        }
    }

    fn service(&mut self) {
        let Config { schedule, listen, serve, .. } = self.config;
        self.text("schedule.initial_delay", show_duration(schedule.initial_delay));
        self.text("schedule.every", show_duration(schedule.every));
        self.text("listen.address", listen.address.to_string());
        self.put("listen.metrics_address", listen.metrics_address.map(|address| quoted(&address.to_string())));
        let tls = listen.tls.as_ref();
        self.path("listen.tls_certificate", tls.map(|tls| tls.certificate.as_path()));
        self.path("listen.tls_key", tls.map(|tls| tls.key.as_path()));
        self.path("listen.client_ca", listen.client_ca.as_deref());
        self.url("serve.public_url", serve.public_url.as_ref());
        self.number("serve.rewrite_index", &serve.rewrite_index);
    }

    fn content(&mut self) {
        let Config { data, bundles, increments, signing, .. } = self.config;
        self.path("data.directory", Some(&data.directory));
        self.number("data.retain_releases", &data.retain_releases);
        self.number("data.audit_days", &data.audit_days);
        self.path("signing.passphrase_file", signing.passphrase_file.as_deref());
        self.text("bundles.valid_for", show_duration(bundles.valid_for));
        self.bytes("bundles.max_upload", bundles.max_upload);
        self.path("bundles.watched_folder", Some(&self.config.watched_folder()));
        self.number("increments.from_last", &increments.from_last);
        self.bytes("increments.max_payload", increments.max_payload);
    }

    fn limits(&mut self) {
        let Config { limits, listen, .. } = self.config;
        self.number("limits.connections", &listen.connections);
        self.bytes("limits.index_bytes", limits.index_bytes);
        self.number("limits.index_entries", &limits.index_entries);
        self.number("limits.index_depth", &limits.index_depth);
        self.bytes("limits.archive_bytes", limits.archive_bytes);
        self.bytes("limits.payload_bytes", limits.payload_bytes);
        self.number("limits.expansion_ratio", &limits.expansion_ratio);
        self.bytes("limits.offline_zip_bytes", limits.offline_zip_bytes);
        self.number("limits.archive_members", &limits.archive_members);
        self.bytes("limits.run_bytes", limits.run_bytes);
    }
}

fn allowed_host(allowed: &AllowedHost) -> String {
    match &allowed.trust_anchors {
        None => quoted(&allowed.host),
        Some(anchors) => {
            let anchors = listed(anchors.iter().map(String::as_str));
            format!("{{ host = {}, trust_anchors = {anchors} }}", quoted(&allowed.host))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn of(text: &str) -> Vec<Setting> {
        parse(text, Path::new("/etc/feed")).unwrap().settings()
    }

    fn setting<'s>(settings: &'s [Setting], key: &str) -> &'s Setting {
        settings.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("{key} is not listed"))
    }

    #[test]
    fn each_value_says_the_line_on_which_it_stands() {
        let text = "\n[schedule]\nevery = \"90m\"\n[upstream]\nallowed_hosts = [\n \"a.example\",\n]\nproxy.url = \"none\"\n\
                    [upstream.components]\n\"x*.gz\" = \"conditions\"\n";
        let settings = of(text);
        let line = |key: &str| match &setting(&settings, key).origin {
            Origin::File { path: None, line } => *line,
            other => panic!("{key}: {other:?}"),
        };
        assert_eq!(line("schedule.every"), 3);
        assert_eq!(line("upstream.allowed_hosts"), 5);
        assert_eq!(line("upstream.proxy.url"), 8);
        assert_eq!(line("upstream.components.\"x*.gz\""), 10);
        assert_eq!(setting(&settings, "schedule.every").value.as_deref(), Some("\"90m\""));
        let default = setting(&settings, "data.retain_releases");
        assert_eq!((default.value.as_deref(), &default.origin), (Some("24"), &Origin::Default));
        assert_eq!(setting(&settings, "listen.tls_key").value, None);
    }

    #[test]
    fn what_is_listed_can_be_written_into_a_file_and_is_listed_again() {
        let text = "[upstream]\nkind = \"vendor\"\nurl = \"https://h.example/x.xml\"\nfallback_urls = [\"https://g.example/y\"]\n\
                    allowed_hosts = [\"a.example\", { host = \"b.example\", trust_anchors = [\"it's \\\"b\\\".pem\"] }]\n\
                    [upstream.proxy]\nurl = \"https://p.example:443\"\nusername = \"CORP\\\\feed\"\npassword_file = \"pw\"\n\
                    bypass = [\".x\"]\ntrust_anchors = [\"p.pem\"]\n\
                    [upstream.components]\n\"q \\\"*\" = \"conditions\"\n[schedule]\ninitial_delay = \"01:02:03\"\nevery = \"1h30m\"\n\
                    [limits]\npayload_bytes = \"10 GB\"\nindex_bytes = 1000\n[listen]\ntls_certificate = \"c\"\ntls_key = \"k\"\n\
                    [data]\ndirectory = \"data\"\n";
        let settings = of(text);
        let written: String = settings
            .iter()
            .filter_map(|setting| Some(format!("{} = {}\n", setting.key, setting.value.as_ref()?)))
            .collect();
        let again = of(&written);
        let values = |settings: &[Setting]| -> Vec<(String, Option<String>)> {
            settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
        };
        assert_eq!(values(&settings), values(&again), "{written}");
    }

    #[test]
    fn urls_are_shown_without_what_may_be_secret() {
        let url = Url::parse("http://user:quokka@proxy.example:3128/?token=narwhal#x").unwrap();
        assert_eq!(masked(&url), "http://(hidden)@proxy.example:3128/?(hidden)");
        assert_eq!(masked_proxy(&url), "http://(hidden)@proxy.example:3128");
        assert_eq!(masked(&Url::parse("https://h.example/a").unwrap()), "https://h.example/a");
        let settings = of("[upstream]\nurl = \"https://h.example/x?key=quokka\"\n");
        let value = setting(&settings, "upstream.url").value.clone().unwrap();
        assert!(!value.contains("quokka") && value.contains("h.example/x"), "{value}");
    }
}
