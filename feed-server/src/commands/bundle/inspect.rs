//! `feed-server bundle inspect`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use bundles::bundle::{Bundle, Trust};
use bundles::inspection::{self, Here, Inspection, ZipFacts};
use bundles::report::Failure;
use bundles::{Component, Digest, Limits, Reason, Version};
use clap::Args;

use crate::app::role;
use crate::clock;
use crate::commands::door::Door;
use crate::commands::{Global, failed, output};
use crate::config::{Config, Role, UpstreamKind};
use crate::http::api::views::{ReleaseSummary, TrustView};
use crate::upstream::read_root;

/// What `inspect` takes.
#[derive(Debug, Args)]
pub struct Arguments {
    /// posture-bundle-<number>.zip
    zip: PathBuf,
    /// Hold it to this root of the origin's offline repository, and to nothing that is here: needs no data directory
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
}

/// Shows what is in a bundle, every check and its result, and whether it can be imported here. Changes nothing.
///
/// # Errors
/// The failure of the first check that failed; or the zip, the root or the data directory cannot be read.
pub(super) async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { zip, root } = arguments;
    let (file, length) = super::open(&zip)?;
    let (here, limits) = match root {
        Some(root) => {
            let trusted = read_root(&root).map_err(failed)?;
            (Known::root_alone(trusted), global.config()?.limits)
        }
        None if is_a_relay_to_be(&global.config()?) => {
            let config = global.config()?;
            let root = config.upstream.root.as_deref().map(read_root).transpose().map_err(failed)?;
            (Known::relay_to_be(root.unwrap_or_default(), &config), config.limits)
        }
        None => {
            let trust: TrustView = Door::with(global, async |door| door.get("/api/v1/trust").await).await?;
            let limits = trust.limits.clone();
            (Known::of(trust, global)?, limits)
        }
    };
    let name = zip.file_name().unwrap_or(zip.as_os_str()).to_string_lossy().into_owned();
    let work = move || inspect(file, name, length, here, &limits);
    let inspection = tokio::task::spawn_blocking(work).await??;
    if global.json {
        output::print_json(&inspection)?;
    } else {
        output::print(&inspection.to_string())?;
    }
    Ok(inspection.verdict.into_result()?)
}

/// What is known where the bundle is looked at.
struct Known {
    trust: Option<TrustView>,
    root: Vec<u8>,
    here: Option<Here>,
    /// Why no bundle is imported here.
    refuses: Option<&'static str>,
}

impl Known {
    fn root_alone(root: Vec<u8>) -> Self {
        Self {
            trust: None,
            root,
            here: None,
            refuses: Some("it was held to the given root alone; import it on a relay or a headend"),
        }
    }

    /// A relay that is configured and holds nothing yet: its first import makes it.
    fn relay_to_be(root: Vec<u8>, config: &Config) -> Self {
        let what = format!("relay to be made in {}", config.data.directory.display());
        let here = Here { what, serial: None, versions: BTreeMap::new() };
        Self { trust: None, root, here: Some(here), refuses: None }
    }

    fn of(trust: TrustView, global: &Global) -> anyhow::Result<Self> {
        let is_origin = trust.role == Role::Origin.as_str();
        let versions = trust.release.as_ref().map(versions).transpose()?.unwrap_or_default();
        let directory = global.config()?.data.directory;
        let here = Here {
            what: format!("{} in {}", trust.role, directory.display()),
            serial: trust.release.as_ref().map(|release| release.serial),
            versions,
        };
        let refuses = is_origin.then_some("an origin makes releases itself and imports no bundles; a relay does");
        Ok(Self { root: trust.root.clone().into_bytes(), here: Some(here), refuses, trust: Some(trust) })
    }
}

/// Whether the first import here would make a relay. Where it cannot be known, opening the data directory tells why.
fn is_a_relay_to_be(config: &Config) -> bool {
    config.upstream.kind == UpstreamKind::Mirror && !role::is_mirror(&config.data.directory).unwrap_or(true)
}

fn versions(release: &ReleaseSummary) -> anyhow::Result<BTreeMap<Component, Version>> {
    let pairs = release.components.iter().map(|it| Ok((it.component.parse()?, it.version.parse()?)));
    pairs.collect()
}

fn inspect(file: File, name: String, length: u64, known: Known, limits: &Limits) -> anyhow::Result<Inspection> {
    let mut file = BufReader::new(file);
    let unreadable = |error: std::io::Error| {
        let message = format!("{name} cannot be read to its end ({error}); check the medium, or copy it anew");
        Failure::new(Reason::Storage, message)
    };
    let (sha256, _) = Digest::of_reader(&mut file).map_err(unreadable)?;
    let view = known.trust.as_ref();
    let trust = Trust {
        root: &known.root,
        held: view.and_then(|view| view.held.as_ref()),
        highest_serial: view.and_then(|view| view.highest_serial),
        signed_time: view.and_then(|view| view.signed_time),
        now: clock::now(),
    };
    let inspection = match Bundle::open(file, limits) {
        Ok(mut bundle) => inspection::inspect(&mut bundle, &trust, limits),
        Err(error) => Inspection::of_no_bundle(&error, &trust),
    };
    let mut inspection = inspection.with_zip(ZipFacts { name, length, sha256 });
    if let Some(here) = known.here {
        inspection = inspection.with_here(here);
    }
    Ok(match known.refuses {
        Some(why) => inspection.not_importable(why),
        None => inspection,
    })
}
