//! The vendor's own zip, on the real binaries: fetched beside the feed, carried byte for byte to whoever wants it, and
//! needed whole.

use anyhow::{Context, Result, ensure};
use bundles::fake::{Edition, Feed, Options, ZipShape};
use bundles::{Digest, Manifest};
use tests::lab::{Fault, OFFLINE_ZIP, Target};
use tests::peers;
use tests::world::World;

/// The zip as upstream has it now.
fn upstreams(world: &World) -> Result<Vec<u8>> {
    let url = world.upstream().url_of(OFFLINE_ZIP);
    let ca = world.directory().join("upstream-ca.pem");
    world.upstream().write_ca(&ca)?;
    peers::curl(&url, Some(&ca))
}

async fn release(world: &World, serial: u64) -> Result<Manifest> {
    let shown = world.feed_server(["release", "show", &serial.to_string(), "--json"]).await?.success()?;
    Ok(Manifest::from_json(shown.stdout.as_bytes())?)
}

#[tokio::test]
async fn it_is_served_byte_for_byte_and_another_zip_alone_makes_a_release() -> Result<()> {
    let world = World::builder().with_offline_zip().build().await?;
    world.sync().await?.success()?;
    let vendors = upstreams(&world)?;
    let base = world.server_url()?;
    for name in ["offline/posture-offline.zip", "offline/posture-offline-1.zip"] {
        ensure!(peers::curl(&base.join(name)?, None)? == vendors, "{name} is not the vendor's");
    }
    // As an auditor does it.
    let folder = world.directory().join("audit");
    std::fs::create_dir(&folder)?;
    for name in ["posture-offline.zip", "posture-offline.zip.sha256"] {
        std::fs::write(folder.join(name), peers::curl(&base.join(&format!("offline/{name}"))?, None)?)?;
    }
    let checked = std::process::Command::new("sha256sum")
        .args(["-c", "posture-offline.zip.sha256"])
        .current_dir(&folder)
        .output()
        .context("sha256sum")?;
    ensure!(checked.status.success(), "{checked:?}");

    let first = release(&world, 1).await?;
    ensure!(first.offline_zip.as_ref().is_some_and(|zip| zip.sha256 == Digest::of(&vendors)), "{first:?}");
    let who = first.source.vouched_by.clone().context("somebody vouched")?;
    ensure!(who.starts_with("TLS to localhost, root ") && who.contains(", SHA-256 "), "{who}");
    let shown = world.feed_server(["release", "show", "1"]).await?.success()?.stdout;
    ensure!(shown.contains(&who) && shown.contains("the vendor's own"), "{shown}");
    let status = world.feed_server(["status"]).await?.success()?.stdout;
    ensure!(status.contains("the vendor's feed") && status.contains(&who), "{status}");

    // Nothing new: nothing is fetched again.
    world.upstream().clear_requests();
    ensure!(world.sync().await?.success()?.stdout.contains("up to date"));
    let requests = world.upstream().requests();
    ensure!(requests.iter().all(|request| request.status == 304), "{requests:?}");
    ensure!(requests.iter().any(|request| request.path.ends_with(OFFLINE_ZIP)), "{requests:?}");

    world.upstream().pack_anew()?;
    world.sync().await?.success()?;
    let (second, packed) = (release(&world, 2).await?, upstreams(&world)?);
    ensure!(packed != vendors && second.components == first.components && second.index == first.index);
    ensure!(peers::curl(&base.join("offline/posture-offline.zip")?, None)? == packed);
    ensure!(peers::curl(&base.join("offline/posture-offline-1.zip")?, None)? == vendors, "the old one stays");

    for (repository, flags) in
        [("repo", &["keys", "export-root"][..]), ("offline", &["keys", "export-root", "--offline"])]
    {
        let root = world.directory().join(format!("{repository}-root.json"));
        std::fs::write(&root, world.feed_server(flags).await?.success()?.stdout)?;
        let targets = peers::python_tuf(&base.join(repository)?, &root, &world.directory().join(repository))?;
        let digest = Digest::of(&packed).to_string();
        let path = format!("{}-{OFFLINE_ZIP}", &digest[..16]);
        ensure!(targets.get(&path) == Some(&digest), "{repository}: {path} is not among {targets:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_zip_that_does_not_come_whole_changes_nothing() -> Result<()> {
    let world = World::builder().with_offline_zip().impatient().build().await?;
    world.sync().await?.success()?;
    let served = upstreams(&world)?;
    for (fault, code, reason) in [
        (Fault::NotFound, 13, "http_status"),
        (Fault::HtmlPage, 13, "not_a_feed"),
        (Fault::Truncated, 14, "truncated"),
        (Fault::GzipBomb, 14, "too_large"),
        (Fault::TenGigabytes, 14, "too_large"),
        (Fault::WrongChecksum, 14, "bad_archive"),
    ] {
        world.upstream().publish(Edition::after())?;
        world.upstream().break_at(fault, Target::OfflineZip)?;
        let counter = async || {
            let metrics = world.metrics().await?;
            anyhow::Ok(metrics.value("posture_feed_sync_total", &[("result", reason)]).unwrap_or(0.0))
        };
        let before = counter().await?;
        let failed = world.sync().await?.failed_with(code)?;
        for part in ["offline_zip_url", &format!("({reason})")] {
            ensure!(failed.stderr.contains(part), "{fault}: {part}: {failed}");
        }
        ensure!(counter().await? > before, "{fault}");
        let metrics = world.metrics().await?;
        ensure!(metrics.value("posture_feed_release_serial", &[]) == Some(1.0), "{fault}");
        let base = world.server_url()?;
        ensure!(peers::curl(&base.join("offline/posture-offline.zip")?, None)? == served, "{fault}");
        let staged = std::fs::read_dir(world.data().join("staging"))?.count();
        ensure!(staged == 0, "{fault} leaves {staged} files in staging");
        world.upstream().mend()?;
    }
    world.sync().await?.success()?;
    ensure!(release(&world, 2).await?.offline_zip.is_some_and(|zip| zip.sha256 != Digest::of(&served)));
    Ok(())
}

#[tokio::test]
async fn the_doctor_tells_of_it_and_asks_for_its_host() -> Result<()> {
    let world = World::builder().with_offline_zip().stopped().build().await?;
    let well = world.feed_server(["doctor"]).await?.success()?.stdout;
    ensure!(well.lines().any(|line| line.contains("zip") && line.contains(OFFLINE_ZIP)), "{well}");
    world.upstream().break_at(Fault::NotFound, Target::OfflineZip)?;
    let ill = world.feed_server(["doctor"]).await?.failed_with(13)?;
    ensure!(ill.stdout.contains("offline_zip_url") && ill.stdout.contains("archives"), "{ill}");
    let request = world.feed_server(["doctor", "--request"]).await?.success()?.stdout;
    ensure!(request.contains("localhost"), "{request}");
    Ok(())
}

/// Where the enclave's feed would be, had it a way there.
const NOWHERE: &str = "https://www.cisco.com/web/secure/spa/";

#[tokio::test]
async fn a_zip_that_is_brought_by_hand_becomes_a_release_and_is_served_as_it_came() -> Result<()> {
    let shapes =
        [ZipShape::flat(), ZipShape::default(), ZipShape { index: Some("feed.xml".to_owned()), ..ZipShape::flat() }];
    let world = World::builder().without_upstream().headends(1).build().await?;
    let mut edition = Edition::before();
    for (serial, shape) in (1..).zip(&shapes) {
        let bytes = Feed::make(&edition, &Options::small()).offline_zip(&NOWHERE.parse()?, shape);
        let path = world.directory().join("brought.zip");
        std::fs::write(&path, &bytes)?;
        world
            .feed_server(["bundle".as_ref(), "import".as_ref(), "--vendor".as_ref(), path.as_os_str()])
            .await?
            .success()?;
        let manifest = release(&world, serial).await?;
        ensure!(manifest.source.sha256 == Some(Digest::of(&bytes)), "{manifest:?}");
        ensure!(manifest.source.vouched_by.is_some_and(|who| who.contains("operator")));
        let base = world.server_url()?;
        ensure!(peers::curl(&base.join("offline/posture-offline.zip")?, None)? == bytes, "{shape:?}");
        let index = String::from_utf8(peers::curl(&base.join("web/secure/spa/posture-update.xml")?, None)?)?;
        ensure!(index.contains(&format!("/web/secure/spa/r/{serial}/")), "{index}");
        edition = edition.next();
    }
    // Headends get what is in it, as from an online feed.
    world.enroll(0).await?;
    world.headend(0).client(["update"]).await?.success()?;
    ensure!(world.headend(0).current().is_some_and(|path| path.ends_with("releases/3")));

    // Without an index there is none for ISE nodes that ask for it: no older one, and a sentence.
    let bytes =
        Feed::make(&edition, &Options::small()).offline_zip(&NOWHERE.parse()?, &ZipShape::default().without_index());
    let path = world.directory().join("brought.zip");
    std::fs::write(&path, &bytes)?;
    let import = ["bundle".as_ref(), "import".as_ref(), "--vendor".as_ref(), path.as_os_str()];
    // Its versions are those inside of the archives, which count otherwise here: somebody has to look.
    let refused = world.feed_server(import).await?.failed_with(12)?;
    ensure!(refused.stderr.contains("came with an index"), "{refused}");
    let accepted = import.into_iter().chain(["--accept-version-rollback".as_ref()]);
    world.feed_server(accepted).await?.success()?;
    let manifest = release(&world, 4).await?;
    ensure!(manifest.index.is_none() && manifest.components.len() == 5, "{manifest:?}");
    let answer = world.get("web/secure/spa/posture-update.xml").await?;
    ensure!(answer.status() == 503, "{answer:?}");
    let problem = answer.text().await?;
    ensure!(problem.contains("/offline/posture-offline.zip"), "{problem}");
    ensure!(peers::curl(&world.server_url()?.join("offline/posture-offline.zip")?, None)? == bytes);
    Ok(())
}
