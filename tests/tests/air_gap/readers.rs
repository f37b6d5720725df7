//! Zips as whoever carries them sees them: every reader reads them, checksums agree, and scanners see what is inside.

use anyhow::{Result, ensure};
use bundles::fake::{Options, RealChart};
use bundles::{Component, FileName};
use tests::lab::LabUpstream;
use tests::peers::{self, Clamscan, clamscan::MARKER};
use tests::world::World;

use crate::setting::origin;

#[tokio::test]
async fn every_reader_reads_both_zips_as_upstreams_bytes() -> Result<()> {
    let (origin, _) = origin().await?;
    let upstream = origin.upstream_digests()?;
    let ise = origin.build_zip(&["--ise"]).await?;
    ensure!(peers::every_zip_reader(&ise)? == upstream, "the readers agree with each other alone");
    let bundle = peers::every_zip_reader(&origin.bundle().await?)?;
    for (name, digest) in &upstream {
        let path = format!("targets/{digest}.{}-{name}", &digest[..16]);
        ensure!(bundle.get(&path) == Some(digest), "{path} is not among {bundle:#?}");
    }
    Ok(())
}

/// A feed whose chart for Linux holds what the scanner looks for, and one that does not.
fn charts(planted: bool) -> Result<Options> {
    let text = if planted { std::str::from_utf8(MARKER)? } else { "nothing of interest" };
    // Enough of it to be deflated: the marker must not stand in the zip as it is.
    let chart = format!("<chart><!-- {text} -->{}</chart>", "<row>of a chart</row>".repeat(100)).into_bytes();
    let member = FileName::parse("Linux_ANTIMALWARE.xml")?;
    let chart = RealChart { component: Component::AvAsChartLinux, member, first: chart.clone(), second: chart };
    Ok(Options { charts: vec![chart], ..Options::small() })
}

#[tokio::test]
async fn a_scanner_finds_what_is_inside_of_an_archive_inside_of_the_zip() -> Result<()> {
    let scanner = Clamscan::new()?;
    for planted in [true, false] {
        let upstream = LabUpstream::builder().options(charts(planted)?);
        let world = World::builder().upstream(upstream).build().await?;
        world.sync().await?.success()?;
        for kind in [&[][..], &["--ise"]] {
            let zip = world.build_zip(kind).await?;
            let bytes = std::fs::read(&zip)?;
            ensure!(
                !bytes.windows(MARKER.len()).any(|window| window == MARKER),
                "it is to be found by unpacking alone"
            );
            ensure!(scanner.finds_marker(&zip)? == planted, "planted: {planted}, in {}", zip.display());
        }
    }
    Ok(())
}
