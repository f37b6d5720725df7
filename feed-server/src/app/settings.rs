//! What is configured, as it holds here: the file's keys, and what the environment and systemd's credentials add to them.

use std::fs;
use std::path::Path;

use super::App;
use crate::config::{Config, HIDDEN, Origin, ProxyUrl, Setting, listed, quoted};
use crate::publish::Repository;
use crate::upstream::Environment;

impl App {
    /// What this server started with. Looks at the environment and at files' names, and reads no secret.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        effective(&self.config, &Environment::of_process())
    }
}

/// Every key with its value and where that comes from. Rows whose name has a blank are no keys of the file.
#[must_use]
pub fn effective(config: &Config, environment: &Environment) -> Vec<Setting> {
    let mut settings = config.settings();
    let proxy = &config.upstream.proxy;
    if config.upstream.fetches() && proxy.url == ProxyUrl::FromEnvironment {
        of_environment(&mut settings, environment, proxy.password_file.is_some());
    }
    if let Some(file) = &proxy.password_file {
        let row = secret("upstream.proxy password", file, &config.upstream.base_dir, environment);
        put_after(&mut settings, "upstream.proxy.password_file", row);
    }
    if let Some(file) = &config.signing.passphrase_file {
        let row = secret("signing passphrase", file, &config.signing.base_dir, environment);
        put_after(&mut settings, "signing.passphrase_file", row);
    }
    for row in signing_keys(environment) {
        put_after(&mut settings, "signing.passphrase_file", row);
    }
    settings
}

/// The proxy that the environment names.
fn of_environment(settings: &mut Vec<Setting>, environment: &Environment, has_password: bool) {
    let of = |variable: &str| Origin::Environment { variable: variable.to_owned() };
    if let Some(shown) = environment.shown_proxy() {
        // What means nothing may be anything, a password among it.
        let value = shown.url.map_or_else(|| HIDDEN.to_owned(), |url| quoted(&url));
        if let Some(setting) = settings.iter_mut().find(|setting| setting.key == "upstream.proxy.url") {
            *setting = Setting { value: Some(value), origin: of(shown.variable), ..setting.clone() };
        }
        if shown.has_login && !has_password {
            let row = hidden("upstream.proxy password", of(shown.variable));
            put_after(settings, "upstream.proxy.password_file", row);
        }
    }
    if let Some((variable, entries)) = environment.shown_bypass() {
        let value = Some(listed(entries.split(", ").filter(|entry| !entry.is_empty())));
        let row = Setting { key: format!("upstream.proxy bypass, {variable}"), value, origin: of(variable) };
        put_after(settings, "upstream.proxy.bypass", row);
    }
}

/// Where a secret is found: among the service's credentials first, as the readers of such files look for it.
fn secret(name: &str, file: &Path, base_dir: &Path, environment: &Environment) -> Setting {
    let credential = environment.credentials_directory().map(|directory| directory.join(file));
    let is_plain = file.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let origin = match credential.filter(|path| is_plain && path.exists()) {
        Some(path) => Origin::Credential { path },
        None => Origin::SecretFile { path: base_dir.join(file) },
    };
    hidden(name, origin)
}

/// The credentials that are signing keys, by their names.
fn signing_keys(environment: &Environment) -> Vec<Setting> {
    let Some(entries) = environment.credentials_directory().and_then(|directory| fs::read_dir(directory).ok()) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let key = |path: std::path::PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let is_ours = Repository::ALL.iter().any(|repository| name.starts_with(&format!("{repository}-")));
        is_ours.then(|| hidden(&format!("signing key {name}"), Origin::Credential { path }))
    };
    // The last one first, since each is put at the same place.
    paths.into_iter().rev().filter_map(key).collect()
}

fn hidden(name: &str, origin: Origin) -> Setting {
    Setting { key: name.to_owned(), value: Some(HIDDEN.to_owned()), origin }
}

fn put_after(settings: &mut Vec<Setting>, key: &str, row: Setting) {
    let at = settings.iter().position(|setting| setting.key == key).map_or(settings.len(), |at| at + 1);
    settings.insert(at, row);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn row(settings: &[Setting], key: &str) -> (Option<String>, &'static str, Option<String>) {
        let setting = settings.iter().find(|setting| setting.key == key);
        let setting = setting.unwrap_or_else(|| panic!("{key} is not among {settings:?}"));
        (setting.value.clone(), setting.origin.as_str(), setting.origin.place())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn what_the_environment_says_of_the_proxy_is_shown_without_its_login() {
        let environment = Environment::from_pairs([
            ("HTTPS_PROXY", "http://feed:quokka@proxy.example:3128"),
            ("NO_PROXY", ".example, 192.0.2.7"),
        ]);
        let settings = effective(&Config::default(), &environment);
        assert!(!format!("{settings:?}").contains("quokka"));
        let (url, from, variable) = row(&settings, "upstream.proxy.url");
        assert_eq!((from, variable), ("environment", some("HTTPS_PROXY")));
        assert!(url.unwrap().contains("proxy.example:3128"));
        assert_eq!(row(&settings, "upstream.proxy password"), (some(HIDDEN), "environment", some("HTTPS_PROXY")));
        assert_eq!(row(&settings, "upstream.proxy bypass, NO_PROXY").0, some("[\".example\", \"192.0.2.7\"]"));

        let broken = Environment::from_pairs([("HTTPS_PROXY", "feed:quokka/narwhal@proxy")]);
        let settings = effective(&Config::default(), &broken);
        assert_eq!(row(&settings, "upstream.proxy.url"), (some(HIDDEN), "environment", some("HTTPS_PROXY")));
        // A proxy of the configuration's own, or none to fetch through: then the environment is not asked.
        for text in ["[upstream]\nproxy.url = \"none\"\n", "[upstream]\nkind = \"none\"\n"] {
            let config = parse(text, Path::new("")).unwrap();
            assert_eq!(effective(&config, &environment), config.settings(), "{text}");
        }
    }

    #[test]
    fn secrets_are_found_where_they_are_read_from_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["proxy-password", "online-timestamp.der", "offline-root.der", "others.key"] {
            fs::write(directory.path().join(name), "quokka").unwrap();
        }
        let text = "[upstream.proxy]\nusername = \"u\"\npassword_file = \"proxy-password\"\n[signing]\npassphrase_file = \"phrase\"\n";
        let config = parse(text, Path::new("/etc/feed")).unwrap();
        let environment = Environment::from_pairs([("CREDENTIALS_DIRECTORY", directory.path().as_os_str())]);
        let settings = effective(&config, &environment);
        assert!(!format!("{settings:?}").contains("quokka"));
        let path = |name: &str| Some(directory.path().join(name).display().to_string());
        assert_eq!(row(&settings, "upstream.proxy password"), (some(HIDDEN), "credential", path("proxy-password")));
        assert_eq!(row(&settings, "signing passphrase"), (some(HIDDEN), "secret_file", some("/etc/feed/phrase")));
        assert_eq!(row(&settings, "signing key offline-root.der").1, "credential");
        let keys: Vec<_> = settings.iter().filter(|setting| setting.key.starts_with("signing key ")).collect();
        assert_eq!(keys.len(), 2, "{keys:?}");
    }
}
