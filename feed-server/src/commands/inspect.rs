//! `feed-server inspect`: what the reader makes of an index, a zip or a capture, and what it makes nothing of. Changes
//! nothing.

mod inspection;
mod source;
mod text;

use std::str::FromStr;

use bundles::index::Patterns;
use bundles::report::Failure;
use bundles::{Component, Reason, Version};
use clap::Args;
use url::Url;

use self::inspection::Inspection;
use super::{Global, failed, output};
use crate::upstream::UpstreamError;

/// What `inspect` takes.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// An index (https URL or file), the vendor's posture-offline.zip, or a capture
    #[arg(value_name = "SRC")]
    src: String,
    /// What relative locators in a file or zip are relative to [default: upstream.url of the configuration]
    #[arg(long, value_name = "URL")]
    base: Option<Url>,
    /// Which version a component must have, such as conditions=300418.0.0.0; may be given several times
    #[arg(long, value_name = "COMPONENT=VERSION")]
    expect: Vec<Expectation>,
    /// Of a URL: fetch the archives as well, open them, and hold them to what the index promises
    #[arg(long)]
    archives: bool,
}

/// One `--expect`.
#[derive(Debug, Clone)]
struct Expectation {
    component: Component,
    version: Version,
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (component, version) =
            text.split_once('=').ok_or("write COMPONENT=VERSION, such as supported-os=101.6.3.0")?;
        let component = component.parse().map_err(|_| {
            let known: Vec<String> = Component::KNOWN.iter().map(ToString::to_string).collect();
            format!("{component:?} is no component; write one of {}, or other-<name>", known.join(", "))
        })?;
        let version = version.parse().map_err(|_| format!("{version:?} is no version; write dotted numbers"))?;
        Ok(Self { component, version })
    }
}

/// Prints what the reader understood and what it did not use.
///
/// # Errors
/// It cannot be read at all. After the output: a version is not the expected one, or an archive is not what it should be.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let config = global.config()?;
    let patterns = Patterns::with_overrides(config.upstream.components.clone())
        .map_err(|error| failed(UpstreamError::Patterns(error)))?;
    let material =
        source::open(&arguments.src, arguments.base.as_ref(), arguments.archives, &config, &patterns).await?;
    let limits = config.limits.clone();
    let read = move || Inspection::of(&material, &patterns, &limits, &config.upstream);
    let inspection = tokio::task::spawn_blocking(read).await??;
    if global.json {
        output::print_json(&inspection)?;
    } else {
        output::print(&text::of(&inspection, arguments.archives))?;
    }
    let differences: Vec<String> =
        arguments.expect.iter().filter_map(|expected| difference(&inspection, expected)).collect();
    if !differences.is_empty() {
        let message = format!("{}; compare with the vendor's page or ISE's Update Information", differences.join("; "));
        return Err(Failure::new(Reason::Expectation, message).into());
    }
    if let Some(problem) = inspection.first_problem() {
        return Err(problem.clone().into());
    }
    if !arguments.expect.is_empty() && !global.json {
        let met = arguments.expect.iter().map(|expected| format!("{} {}", expected.component, expected.version));
        output::print(&format!("\nAs expected: {}.\n", met.collect::<Vec<_>>().join(", ")))?;
    }
    Ok(())
}

/// What is not as expected.
fn difference(inspection: &Inspection, Expectation { component, version }: &Expectation) -> Option<String> {
    let row = inspection.update_information.iter().find(|row| row.component == *component);
    match row.map(|row| (row.files, &row.version)) {
        Some((_, Some(found))) if found == version => None,
        Some((_, Some(found))) => Some(format!("{component} is {found}, and --expect says {version}")),
        Some((0, None)) | None => Some(format!("{component} is not there, and --expect says {version}")),
        Some((_, None)) => Some(format!(
            "the version of {component} is not in the index, and --expect says {version}; of a URL, --archives looks inside \
             the archives"
        )),
    }
}
