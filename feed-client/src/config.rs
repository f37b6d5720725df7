//! The configuration file (`feed-client.toml`). Everything in it is optional: what enrolment stored, and defaults, fill
//! in. Unknown keys are refused, and all mistakes are reported at once, each with its line.

mod reader;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use bundles::report::is_headend_id;
use bundles::{Reason, Reasoned};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::poll::Rhythm;
use crate::proxy::ProxySetting;
use reader::Reader;

/// The vendor's own interval (Update Information says "every 2 hours").
const DEFAULT_EVERY: Duration = Duration::from_secs(2 * 3600);

/// A tenth of the interval, so that a site's headends do not all ask at once.
const DEFAULT_JITTER: Duration = Duration::from_secs(12 * 60);

/// Shorter intervals are a mistake in the unit, and a load on the server.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// What reports may state (`bundles::report`): beyond it the server could never say "silent".
const LONGEST_INTERVAL: Duration = Duration::from_secs(10 * 24 * 3600);

/// The one that runs, the one before, and one more to look at.
const DEFAULT_KEEP: usize = 3;

/// Default policies are recognised by the folder they come in.
const DEFAULT_POLICIES: &str = "**/defaults/**";

/// Everything from the file, parsed.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[headend]`
    pub headend: Headend,
    /// `[schedule]`
    pub schedule: Rhythm,
    /// `[apply]`
    pub apply: Apply,
    /// `[metrics]`
    pub metrics: Metrics,
}

/// Where releases come from.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// The server's base URL; enrolment's where absent.
    pub url: Option<Url>,
    /// Names in webpki-roots or PEM files; all of webpki-roots where empty.
    pub trust_anchors: Vec<String>,
    /// The proxy on the way there.
    pub proxy: ProxySetting,
    /// Relative PEM files are relative to this: the configuration's own directory.
    pub anchors_directory: PathBuf,
}

/// Who this is.
#[derive(Debug, Clone, Default)]
pub struct Headend {
    /// Enrolment's where absent.
    pub id: Option<HeadendId>,
    /// A file with the report token; enrolment's where absent.
    pub token_file: Option<PathBuf>,
    /// The chain that is shown to the server, the leaf first, and its key, PEM files; none where absent.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What happens with releases.
#[derive(Debug, Clone)]
pub struct Apply {
    /// Holds `releases/`, `current` and `policy/`; the data directory where absent.
    pub directory: Option<PathBuf>,
    /// A program that may refuse a release.
    pub hook: Option<PathBuf>,
    /// How many releases stay, the one that runs included.
    pub keep_releases: usize,
    /// Which files of opened payloads are default policies.
    pub defaults: GlobSet,
}

/// Where metrics go.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// A file for the textfile collector; absent for none.
    pub textfile: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let defaults = glob_set([DEFAULT_POLICIES]).unwrap_or_default();
        Self {
            server: Server { anchors_directory: PathBuf::from("."), ..Server::default() },
            headend: Headend::default(),
            schedule: Rhythm { every: DEFAULT_EVERY, jitter: DEFAULT_JITTER },
            apply: Apply { directory: None, hook: None, keep_releases: DEFAULT_KEEP, defaults },
            metrics: Metrics::default(),
        }
    }
}

impl Config {
    /// Reads the file. Relative paths in it are relative to its own directory.
    ///
    /// # Errors
    /// The file cannot be read, or holds mistakes: then all of them.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&text, directory)
            .map_err(|mistakes| ConfigError::Mistakes { path: path.to_owned(), mistakes: Mistakes(mistakes) })
    }

    /// Parses the text of the file; `directory` is what relative paths in it are relative to.
    ///
    /// # Errors
    /// All mistakes, in the order of their lines.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, Vec<Mistake>> {
        let mut config = Self::default();
        config.server.anchors_directory = directory.to_owned();
        let path = |text: &str| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(directory.join(text)) };

        let mut reader = Reader::new(text);
        reader.section("server", |section| {
            section.string("url", |text| server_url(text).map(|url| config.server.url = Some(url)));
            section.strings("trust_anchors", |text| {
                config.server.trust_anchors.push(text.to_owned());
                Ok(())
            });
            section.string("proxy", |text| ProxySetting::parse(text).map(|proxy| config.server.proxy = proxy));
        });
        reader.section("headend", |section| {
            section.string("id", |text| {
                config.headend.id = Some(text.parse().map_err(|bad: BadHeadendId| bad.to_string())?);
                Ok(())
            });
            section.string("token_file", |text| path(text).map(|path| config.headend.token_file = Some(path)));
            let (mut certificate, mut key) = (None, None);
            section.string("certificate", |text| path(text).map(|path| certificate = Some(path)));
            section.string("key", |text| match certificate {
                Some(_) => path(text).map(|path| key = Some(path)),
                None => Err("stands without headend.certificate; write both, or neither".to_owned()),
            });
            config.headend.certificate = certificate.zip(key);
        });
        reader.section("schedule", |section| {
            let mut jitter = None;
            section.string("every", |text| {
                config.schedule.every = duration(text)?;
                if (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&config.schedule.every) {
                    return Ok(());
                }
                config.schedule.every = DEFAULT_EVERY;
                Err("must be between 1s and 10d".to_owned())
            });
            section.string("jitter", |text| {
                let every = config.schedule.every;
                jitter = Some(duration(text).and_then(|jitter| {
                    if jitter <= every { Ok(jitter) } else { Err("must not exceed the interval in `every`".to_owned()) }
                })?);
                Ok(())
            });
            config.schedule.jitter = jitter.unwrap_or(DEFAULT_JITTER.min(config.schedule.every / 10));
        });
        reader.section("apply", |section| {
            section.string("directory", |text| path(text).map(|path| config.apply.directory = Some(path)));
            section.string("hook", |text| path(text).map(|path| config.apply.hook = Some(path)));
            section.integer("keep_releases", |number| match usize::try_from(number) {
                Ok(number @ 2..=1_000) => {
                    config.apply.keep_releases = number;
                    Ok(())
                }
                Ok(_) | Err(_) => {
                    Err("must be between 2 (the one that runs and the one to go back to) and 1000".into())
                }
            });
            let mut patterns = Vec::new();
            let given = section.strings("defaults", |text| {
                glob_set([text])?;
                patterns.push(text.to_owned());
                Ok(())
            });
            if given {
                config.apply.defaults = glob_set(patterns.iter().map(String::as_str)).unwrap_or_default();
            }
        });
        reader.section("metrics", |section| {
            section.string("textfile", |text| path(text).map(|path| config.metrics.textfile = Some(path)));
        });
        reader.finish().map(|()| config)
    }
}

/// Patterns of paths below a component's folder in a release, such as `conditions/**/defaults/*.xml`.
fn glob_set<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // `*` must not cross `/`: otherwise `a/*.xml` would take `a/b/c.xml` as well, and policies appear by surprise.
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| error.to_string())?);
    }
    set.build().map_err(|error| error.to_string())
}

/// A server's base URL: `http` or `https`, without what a base cannot have. The path may carry a prefix.
///
/// # Errors
/// A sentence's end that says what is wrong.
pub fn server_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must be an http:// or https:// URL with a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must have no user name, password, query or fragment".to_owned());
    }
    // What people have at hand is ISE's feed URL; a base that ends in a file's name can only be such a mistake.
    if [".xml", ".json", ".zip"].iter().any(|end| url.path().ends_with(end)) {
        return Err(format!(
            "must be the server's base URL only, such as {}, without {}",
            url.origin().ascii_serialization(),
            url.path()
        ));
    }
    Ok(url)
}

/// `2h`, `1h 30m`, `90s`, or `HH:MM:SS`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || "is not a duration such as \"2h\", \"90s\" or \"00:30:00\"".to_owned();
    let signed: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
    Duration::try_from(signed).map_err(|_| bad())
}

/// A headend's id, by the rule of [`bundles::report::is_headend_id`]. It stands in URLs and in files' names as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeadendId(String);

impl HeadendId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeadendId {
    type Err = BadHeadendId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_headend_id(text) { Ok(Self(text.to_owned())) } else { Err(BadHeadendId) }
    }
}

impl TryFrom<String> for HeadendId {
    type Error = BadHeadendId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HeadendId> for String {
    fn from(id: HeadendId) -> Self {
        id.0
    }
}

impl fmt::Display for HeadendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no headend's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a headend's id: 1 to 253 letters, digits, dots, underscores and hyphens, of which the first is a letter or a \
     digit"
)]
pub struct BadHeadendId;

/// One mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with what.
    pub what: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds mistakes.
    #[error("{}", mistakes.to_text(path))]
    Mistakes {
        /// Which file.
        path: PathBuf,
        /// All of them.
        mistakes: Mistakes,
    },
}

/// For messages: one mistake a line, as compilers write them.
#[derive(Debug)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    fn to_text(&self, path: &Path) -> String {
        let line = |mistake: &Mistake| format!("{}:{}: {}", path.display(), mistake.line, mistake.what.trim_end());
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Reasoned for ConfigError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { .. } | Self::Mistakes { .. } => Reason::BadRequest,
        }
    }
}

#[cfg(test)]
mod tests;
