//! axe-core, which looks for what keeps people out of a page who use a keyboard, a screen reader, or few colours.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Chromium;
use crate::shared::workspace;

/// Where `tests/run` puts it.
const AXE: &str = "target/axe-core/package/axe.min.js";

/// What it finds and weighs as serious or critical; what is less than that is advice.
const LOOK: &str = "
    const found = await axe.run(document, { resultTypes: ['violations'] });
    return found.violations.filter(it => ['serious', 'critical'].includes(it.impact)).map(it => ({
        rule: it.id, help: it.help,
        at: it.nodes.map(node => node.target.join(' ') + ': ' + (node.failureSummary ?? '')),
    }));
";

/// Something that keeps people out.
#[derive(Debug, Clone, Deserialize)]
pub struct Barrier {
    /// The rule's name.
    pub rule: String,
    /// What should be.
    pub help: String,
    /// Where it is not, and why.
    pub at: Vec<String>,
}

/// Looks for barriers in the page that is open.
///
/// # Errors
/// axe-core is missing, or does not run.
pub async fn axe(chromium: &Chromium) -> Result<Vec<Barrier>> {
    let path = workspace().join(AXE);
    let source = std::fs::read_to_string(&path)
        .with_context(|| format!("{} is missing; run tests/run, which installs it", path.display()))?;
    let found = chromium.run(&format!("{source};\n{LOOK}"), &[]).await?;
    serde_json::from_value(found).context("what axe-core found")
}
