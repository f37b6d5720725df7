//! Bundles that are genuine and not to be taken, and those that are not genuine.

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bundles::MemberPath;
use bundles::fake::Edition;
use bundles::offline_zip::{self, Member};
use tests::world::{Output, World, shows_edition};

use crate::setting::{nothing_is_left, origin, published, refused, relay};

/// A bundle as its members, in its order.
type Members = Vec<(String, Vec<u8>)>;

fn unpacked(zip: &Path) -> Result<Members> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(zip)?)?;
    let mut members = Members::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        members.push((entry.name()?.into_owned(), content));
    }
    Ok(members)
}

/// As bundles are written, so that what is wrong with it is its content alone.
fn packed(members: &Members) -> Result<Vec<u8>> {
    let members: Vec<_> = members
        .iter()
        .map(|(name, content)| {
            let open = move || Ok(Box::new(Cursor::new(content)) as Box<dyn std::io::Read>);
            Ok(Member {
                name: MemberPath::parse(name)?,
                length: content.len() as u64,
                sha256: None,
                open: Box::new(open),
            })
        })
        .collect::<Result<_>>()?;
    Ok(offline_zip::write(Cursor::new(Vec::new()), &members, &mut |_| {})?.into_inner())
}

/// A relay and a headend that hold the first release, before something is tried on them.
struct FarSide {
    relay: World,
    before: tests::peers::Digests,
}

impl FarSide {
    async fn with(root: &str, first: &Path) -> Result<Self> {
        let relay = relay(root).headends(1).build().await?;
        relay.headend(0).enroll_for_imports(root).await?;
        relay.import(first).await?.success()?;
        relay.headend(0).import(first).await?.success()?;
        let before = published(&relay)?;
        Ok(Self { relay, before })
    }

    /// From now on, both have another clock.
    async fn clock_off(&mut self, offset: &str) -> Result<()> {
        self.relay.clock_off(offset);
        self.relay.restart_server().await?;
        self.before = published(&self.relay)?;
        Ok(())
    }

    /// Both refuse a bundle with one of these reasons, and nothing changes. Gives what they said.
    async fn refuses(&self, zip: &Path, clock: Option<&str>, reasons: &[&str]) -> Result<[Output; 2]> {
        let headend = self.relay.headend(0);
        let running = headend.current();
        let import = headend.invocation(["import".as_ref(), zip.as_os_str()]);
        let import = clock.iter().fold(import, |import, offset| import.with_clock_off(offset));
        let outputs = [self.relay.import(zip).await?, import.output().await?];
        for output in &outputs {
            refused(output, reasons)?;
        }
        ensure!(published(&self.relay)? == self.before, "what is served is unchanged");
        ensure!(headend.current() == running && running.is_some(), "what runs is unchanged");
        nothing_is_left(&self.relay)?;
        Ok(outputs)
    }
}

#[tokio::test]
async fn an_expired_bundle_is_refused_and_what_is_served_is_served_on() -> Result<()> {
    let (origin, root) = origin().await?;
    let mut far = FarSide::with(&root, &origin.bundle().await?).await?;
    origin.upstream().publish(Edition::after())?;
    origin.sync().await?.success()?;
    let second = origin.bundle().await?;
    far.clock_off("+100d").await?;
    // Ninety days after it was built.
    for output in far.refuses(&second, Some("+100d"), &["expired"]).await? {
        ensure!(output.code() == Some(12) && output.stderr.contains("10 days ago"), "{output}");
    }
    shows_edition(&far.relay.feed_server(["status"]).await?.success()?.stdout, &Edition::before())?;
    let index = far.relay.get("web/secure/spa/posture-update.xml").await?;
    ensure!(index.status() == 200, "expiry takes nothing away: {index:?}");
    Ok(())
}

#[tokio::test]
async fn a_bundle_from_the_future_points_at_the_clock() -> Result<()> {
    let (mut origin, root) = origin().await?;
    let far = FarSide::with(&root, &origin.bundle().await?).await?;
    origin.upstream().publish(Edition::after())?;
    origin.clock_off("+5d");
    origin.restart_server().await?;
    origin.sync().await?.success()?;
    let future = origin.bundle().await?;
    for output in far.refuses(&future, None, &["clock"]).await? {
        ensure!(output.code() == Some(12) && output.stderr.contains("clock"), "{output}");
    }
    Ok(())
}

#[tokio::test]
async fn what_the_origin_did_not_sign_is_refused() -> Result<()> {
    let (genuine, root) = origin().await?;
    let first = genuine.bundle().await?;
    let far = FarSide::with(&root, &first).await?;
    ensure!(packed(&unpacked(&first)?)? == std::fs::read(&first)?, "a bundle that is packed anew is the same bundle");

    genuine.upstream().publish(Edition::after())?;
    genuine.sync().await?.success()?;
    let second = genuine.bundle().await?;
    let (other, _) = origin().await?;
    let others_first = other.bundle().await?;
    // The same content under other keys, with a higher number.
    other.upstream().publish(Edition::after())?;
    other.sync().await?.success()?;
    let others = other.bundle().await?;

    let file = far.relay.directory().join("forged.zip");
    let forged = |members: &Members| -> Result<PathBuf> {
        std::fs::write(&file, packed(members)?)?;
        Ok(file.clone())
    };
    far.refuses(&others, None, &["signature"]).await?;
    far.refuses(&others_first, None, &["signature"]).await?;

    // A file of it changed, in every place where there is one.
    let members = unpacked(&second)?;
    for at in 0..members.len() {
        let mut changed = members.clone();
        let middle = changed[at].1.len() / 2;
        changed[at].1[middle] ^= 1;
        let zip = forged(&changed)?;
        if changed[at].0 == "README.txt" {
            // It says nothing that any program relies on, and another version of this one may write it otherwise.
            far.relay.feed_server(["bundle".as_ref(), "inspect".as_ref(), zip.as_os_str()]).await?.success()?;
            far.relay.headend(0).client(["inspect".as_ref(), zip.as_os_str()]).await?.success()?;
            continue;
        }
        let reasons = ["digest_mismatch", "signature", "bad_archive"];
        far.refuses(&zip, None, &reasons).await.with_context(|| format!("{} is changed", changed[at].0))?;
    }

    // Metadata of one, targets of another: of another origin, and of another release.
    let is_metadata = |name: &str| name.starts_with("metadata/");
    let of = |metadata: &Members, targets: &Members| -> Members {
        let metadata = metadata.iter().filter(|(name, _)| is_metadata(name));
        let (head, rest): (Vec<_>, Vec<_>) =
            targets.iter().filter(|(name, _)| !is_metadata(name)).partition(|(name, _)| !name.contains('/'));
        head.into_iter().chain(metadata).chain(rest).cloned().collect()
    };
    let (old, others) = (unpacked(&first)?, unpacked(&others)?);
    far.refuses(&forged(&of(&others, &members))?, None, &["signature"]).await?;
    far.refuses(&forged(&of(&members, &others))?, None, &["bad_archive", "signature", "digest_mismatch"]).await?;
    far.refuses(&forged(&of(&members, &old))?, None, &["bad_archive", "signature", "digest_mismatch"]).await?;
    far.refuses(&forged(&of(&old, &members))?, None, &["bad_archive", "signature", "digest_mismatch"]).await?;

    // And the genuine one is taken all the same.
    far.relay.import(&second).await?.success()?;
    far.relay.headend(0).import(&second).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn an_older_bundle_is_told_by_the_numbers_of_releases() -> Result<()> {
    let (origin, root) = origin().await?;
    let first = origin.bundle().await?;
    let mut far = FarSide::with(&root, &first).await?;
    origin.upstream().publish(Edition::after())?;
    origin.sync().await?.success()?;
    let second = origin.bundle().await?;
    far.relay.import(&second).await?.success()?;
    far.relay.headend(0).import(&second).await?.success()?;
    far.before = published(&far.relay)?;
    let imports = far.refuses(&first, None, &["rollback"]).await?;
    let inspections = [
        far.relay.feed_server(["bundle".as_ref(), "inspect".as_ref(), first.as_os_str()]).await?,
        far.relay.headend(0).client(["inspect".as_ref(), first.as_os_str()]).await?,
    ];
    for output in imports.into_iter().chain(inspections) {
        let output = output.failed_with(12)?;
        // Inspecting tells it in lines, on the other stream.
        let said = format!("{} {}", output.stdout, output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in ["holds release 1, and release 2 was seen here before", "carry in the newest"] {
            ensure!(said.contains(part), "{part:?} is not in: {said}");
        }
        ensure!(!said.contains("metadata has version"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn roots_rotate_through_bundles() -> Result<()> {
    // So far ahead that the origin's first offline root has too little of its life left.
    const LATER: &str = "+250d";
    let (mut origin, root) = origin().await?;
    let mut far = FarSide::with(&root, &origin.bundle().await?).await?;

    origin.upstream().publish(Edition::after())?;
    origin.clock_off(LATER);
    origin.restart_server().await?;
    origin.sync().await?.success()?;
    let second = origin.bundle().await?;
    let names: Vec<_> = unpacked(&second)?.into_iter().map(|(name, _)| name).collect();
    for root in ["metadata/1.root.json", "metadata/2.root.json"] {
        ensure!(names.iter().any(|name| name == root), "{root} is not in the bundle: {names:?}");
    }
    far.clock_off(LATER).await?;
    far.relay.import(&second).await?.success()?;
    let import = far.relay.headend(0).invocation(["import".as_ref(), second.as_os_str()]).with_clock_off(LATER);
    import.output().await?.success()?;
    // Whoever comes late, with the first root alone, can follow; whoever was given the second one needs no first.
    for given in [root, origin.offline_root().await?] {
        let mut late = relay(&given).stopped().build().await?;
        late.clock_off(LATER);
        late.start_server().await?;
        late.import(&second).await?.success()?;
        shows_edition(&late.feed_server(["status"]).await?.success()?.stdout, &Edition::after())?;
    }
    Ok(())
}
