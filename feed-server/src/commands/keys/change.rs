//! `feed-server keys rotate|threshold|renew`

use std::path::PathBuf;

use bundles::Reason;
use bundles::report::Failure;
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::super::Global;
use super::passphrase::Source;
use crate::http::api::views::KeysChange;

const REPOSITORIES: [&str; 2] = ["online", "offline"];
const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// Which roots, and who signs them.
#[derive(Debug, Args)]
struct Which {
    /// Of this repository only
    #[arg(long, value_name = "REPOSITORY", value_parser = PossibleValuesParser::new(REPOSITORIES))]
    repository: Option<String>,
    /// Sign with this root key too, which is not in the data directory; may be given several times
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    passphrase: Source,
}

impl Which {
    fn repositories(&self) -> Vec<String> {
        self.repository.iter().cloned().collect()
    }
}

/// Which keys to replace, and by what.
#[derive(Debug, Args)]
pub struct Rotate {
    /// Whose keys
    #[arg(required = true, value_name = "ROLE", value_parser = PossibleValuesParser::new(ROLES))]
    roles: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// Replace only this root key: its id, or at least the first 8 characters of it; may be given several times
    #[arg(long, value_name = "KEY-ID")]
    remove: Vec<String>,
    /// A new root key that was made elsewhere (`keys generate`): its public half; may be given several times
    #[arg(long, value_name = "FILE", requires = "repository")]
    public: Vec<PathBuf>,
    /// How many new root keys to make here [default: as many as are replaced, or none with --public]
    #[arg(long, value_name = "N")]
    root_keys: Option<u64>,
    /// How many root keys have to sign from now on
    #[arg(long, value_name = "M")]
    threshold: Option<u64>,
}

impl Rotate {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<()> {
        let public = self.public.iter().map(|path| {
            let unreadable = |error: &dyn std::fmt::Display| {
                let message = format!("{} is not what `keys generate` writes to FILE.pub: {error}", path.display());
                Failure::new(Reason::BadRequest, message)
            };
            let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
            serde_json::from_str(&text).map_err(|error| unreadable(&error))
        });
        let wanted = KeysChange {
            repositories: self.which.repositories(),
            public: public.collect::<Result<_, _>>()?,
            roles: self.roles,
            remove: self.remove,
            root_keys: self.root_keys,
            threshold: self.threshold,
        };
        super::change(global, &wanted, &self.which.key, &self.which.passphrase).await
    }
}

/// How many keys.
#[derive(Debug, Args)]
pub struct Threshold {
    /// How many root keys have to sign from now on
    #[arg(value_name = "M")]
    threshold: u64,
    #[command(flatten)]
    which: Which,
}

impl Threshold {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<()> {
        let repositories = self.which.repositories();
        let wanted = KeysChange { repositories, threshold: Some(self.threshold), ..KeysChange::default() };
        super::change(global, &wanted, &self.which.key, &self.which.passphrase).await
    }
}

/// Which roots.
#[derive(Debug, Args)]
pub struct Renew {
    #[command(flatten)]
    which: Which,
}

impl Renew {
    pub(super) async fn run(self, global: &Global) -> anyhow::Result<()> {
        let wanted = KeysChange { repositories: self.which.repositories(), ..KeysChange::default() };
        super::change(global, &wanted, &self.which.key, &self.which.passphrase).await
    }
}
