//! The folder of real public data beside the workspace. It is no part of the project: whoever lacks it misses the
//! trials on real input, and is told so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bundles::fake::{Options, RealChart};
use bundles::{Component, FileName};

/// Where the workspace is.
#[must_use]
pub fn workspace() -> &'static Path {
    // The manifest of this crate lies one folder below.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The folder `data/<folder>` of `POSTURE_FEED_SHARED`, or of `../shared` beside the workspace.
///
/// # Errors
/// The sentence to print where it is absent.
pub fn data(folder: &str) -> Result<PathBuf, String> {
    let root = std::env::var_os("POSTURE_FEED_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let folder = root.join("data").join(folder);
    if folder.is_dir() {
        return Ok(folder);
    }
    Err(format!("{} is absent; set POSTURE_FEED_SHARED to try the real data", folder.display()))
}

/// The real charts of macOS and Linux, each in its two versions.
///
/// # Errors
/// The sentence to print where the data is absent or a file cannot be read.
pub fn charts() -> Result<Vec<RealChart>, String> {
    let folder = data("charts")?;
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
    let listed = std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // `<system>_<kind>_<version>.xml`: the version is what tells the two files of a chart apart.
    let mut versions: BTreeMap<(Component, String), Vec<PathBuf>> = BTreeMap::new();
    for path in listed.flatten().map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut parts = name.splitn(3, '_');
        let (Some(system), Some(kind), Some(_)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let component = match system {
            "Mac" => Component::AvAsChartMacosx,
            "Linux" => Component::AvAsChartLinux,
            _ => continue,
        };
        versions.entry((component, format!("{system}_{kind}.xml"))).or_default().push(path);
    }
    let mut charts = Vec::new();
    for ((component, member), mut paths) in versions {
        paths.sort();
        let (Some(first), Some(second)) = (paths.first(), paths.last()) else { continue };
        let member = FileName::parse(&member).map_err(|error| error.to_string())?;
        charts.push(RealChart { component, member, first: read(first)?, second: read(second)? });
    }
    Ok(charts)
}

/// A fake feed of realistic size, with the real charts of macOS and Linux in it where the data is present. Says where
/// it is not.
#[must_use]
pub fn realistic() -> Options {
    let charts = charts().unwrap_or_else(|absent| {
        eprintln!("(made-up macOS and Linux charts: {absent})");
        Vec::new()
    });
    Options { charts, ..Options::default() }
}
