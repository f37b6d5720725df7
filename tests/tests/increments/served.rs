//! What is served to whom, opened with programs that others wrote.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bundles::Digest;
use bundles::increment::{HEADER_BYTES, available_dictionary};
use tests::peers;
use tests::world::World;

use super::{ALL, Repository, ask, get, get_with, open, prepared, two_releases};

/// The frame of a `dcz`, by zstd's own program.
fn zstd_patch(directory: &Path, base: &[u8], packed: &[u8]) -> Result<Vec<u8>> {
    let [old, frame] = ["old", "frame"].map(|name| directory.join(name));
    std::fs::write(&old, base)?;
    std::fs::write(&frame, &packed[HEADER_BYTES..])?;
    let mut patch = std::ffi::OsString::from("--patch-from=");
    patch.push(&old);
    let output = Command::new("zstd").args(["-d", "-c"]).arg(patch).arg(&frame).output();
    let output = output.context("zstd is missing; run tests/run, which installs it")?;
    ensure!(output.status.success(), "zstd: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

#[tokio::test]
async fn an_update_fetches_what_changed() -> Result<()> {
    let world = World::builder().build().await?;
    let files = two_releases(&world).await?;
    let scratch = tempfile::tempdir()?;
    let mut increments = 0;
    let mut wire = 0;
    for (then, now, base) in &files {
        let signed = get(&world, now, &[])?;
        ensure!(signed.coding() == "identity" && signed.header("vary").is_some(), "{now}: {}", signed.head);
        let answer = get_with(&world, now, base)?;
        println!(
            "{now}: {} of {}: head {}, body {}\n{}",
            answer.coding(),
            signed.body.len(),
            answer.head.len(),
            answer.body.len(),
            answer.head
        );
        ensure!(open(base, &answer, signed.body.len())? == signed.body, "{now}");
        ensure!(answer.etag()? != signed.etag()?, "{now}");
        if now.ends_with("timestamp.json") {
            // Nobody names the one that he holds. Which of these is the smaller is a matter of some bytes of a signature.
            ensure!(matches!(answer.coding(), "zstd" | "gzip"), "{}", answer.head);
            wire += answer.wire();
        } else if then != now {
            ensure!(answer.coding() == "dcz", "{now} changed: {}", answer.head);
            ensure!(zstd_patch(scratch.path(), base, &answer.body)? == signed.body, "{now}");
            increments += 1;
            wire += answer.wire();
        }
    }
    ensure!(increments > 3, "{increments}");
    let root = get(&world, "/repo/metadata/2.root.json", &[])?;
    println!("root: head {}, body {}\n{}", root.head.len(), root.body.len(), root.head);
    println!("on the wire: {} in {} answers", wire + root.wire(), increments + 2);
    ensure!(root.status() == 404 && root.wire() < 300, "{}", root.head);

    let (_, payload, _) = files.last().context("a payload")?;
    ensure!(get(&world, payload, &[("accept-encoding", "zstd")])?.coding() == "zstd", "{payload}");
    let metrics = world.metrics().await?;
    for encoding in ["identity", "dcz", "zstd", "gzip"] {
        let sent = metrics.value("posture_feed_sent_bytes_total", &[("encoding", encoding)]);
        ensure!(sent.is_some_and(|sent| sent > 0.0), "{encoding}: {sent:?}");
    }
    Ok(())
}

#[tokio::test]
async fn who_asks_for_something_else_gets_it() -> Result<()> {
    let world = World::builder().build().await?;
    let files = two_releases(&world).await?;
    let (_, path, base) = files.iter().rev().find(|(then, now, _)| then != now).context("a payload changed")?;
    let signed = get(&world, path, &[])?.body;

    // Whatever the header says, what comes is the content.
    let known = available_dictionary(&Digest::of(base));
    let unknown = available_dictionary(&Digest::of(b"something else"));
    for (accept, dictionary, coding) in [
        (ALL, known.as_str(), "dcz"),
        (ALL, &unknown, "zstd"),
        (ALL, ":", "zstd"),
        (ALL, ":!!!!:", "zstd"),
        (ALL, &known[1..], "zstd"),
        (ALL, "", "zstd"),
        ("dcz", &unknown, "identity"),
        ("gzip, zstd;q=0.5", &known, "gzip"),
        ("dcz;q=0, gzip", &known, "gzip"),
        ("identity", &known, "identity"),
        ("br, identity;q=0", &known, "identity"),
        ("*", &known, "dcz"),
        (";;;,q=1", &known, "identity"),
    ] {
        let answer = get(&world, path, &[("accept-encoding", accept), ("available-dictionary", dictionary)])?;
        ensure!(answer.coding() == coding, "{accept} {dictionary}: {}", answer.head);
        ensure!(open(base, &answer, signed.len())? == signed, "{accept} {dictionary}");
        ensure!(answer.header("vary") == Some("accept-encoding, available-dictionary"), "{}", answer.head);
        let pattern = answer.header("use-as-dictionary").context("a payload is a dictionary")?;
        ensure!(pattern.starts_with("match=\"*-"), "{pattern}");
    }

    // A part is one of the content itself, and HEAD says what GET would.
    let with = [("accept-encoding", ALL), ("available-dictionary", known.as_str())];
    let part = get(&world, path, &[with[0], with[1], ("range", "bytes=3-9")])?;
    ensure!(part.status() == 206 && part.coding() == "identity" && part.body == signed[3..10], "{}", part.head);
    let whole = get(&world, path, &with)?;
    let head = ask(&world, "HEAD", path, &with)?;
    let line = |name| (head.header(name), whole.header(name));
    for name in ["etag", "content-length", "content-encoding", "vary", "use-as-dictionary"] {
        let (of_head, of_get) = line(name);
        ensure!(of_head.is_some() && of_head == of_get, "{name}: {}", head.head);
    }

    // Tags differ, and each is known again, whatever is offered then.
    let tags = [
        whole.etag()?,
        get(&world, path, &[("accept-encoding", "zstd")])?.etag()?,
        get(&world, path, &[("accept-encoding", "gzip")])?.etag()?,
        get(&world, path, &[])?.etag()?,
    ];
    for (number, tag) in tags.iter().enumerate() {
        ensure!(tags.iter().skip(number + 1).all(|other| other != tag), "{tags:?}");
        for others in [&with[..], &[("accept-encoding", ALL)], &[]] {
            let headers: Vec<_> = others.iter().copied().chain([("if-none-match", tag.as_str())]).collect();
            let answer = get(&world, path, &headers)?;
            ensure!(answer.status() == 304 && answer.etag()? == *tag, "{headers:?}: {}", answer.head);
            ensure!(answer.header("vary").is_some(), "{}", answer.head);
        }
        let other = get(&world, &files[3].1, &[("if-none-match", tag)])?;
        ensure!(other.status() == 200, "it is a tag of other content");
    }

    // curl, with and without.
    let url = world.server_url()?.join(path)?;
    ensure!(peers::curl(&url, None)? == signed);
    let compressed = Command::new("curl").args(["--silent", "--fail", "--compressed", url.as_str()]).output()?;
    ensure!(compressed.status.success() && compressed.stdout == signed, "curl --compressed gets the same");
    // Archives are left as they are.
    let archive = world.server_url()?.join("web/secure/spa/r/2/conditions.tar.gz")?;
    let archive = get(&world, archive.path(), &[("accept-encoding", ALL)])?;
    ensure!(archive.coding() == "identity" && archive.header("vary").is_none(), "{}", archive.head);
    Ok(())
}

#[tokio::test]
async fn a_kill_while_preparing_harms_nothing() -> Result<()> {
    let mut world = World::builder().build().await?;
    world.sync().await?.success()?;
    let output = world.feed_server(["crash-points"]).await?.success()?;
    let points: Vec<String> =
        output.stdout.lines().filter(|point| point.starts_with("prepare.")).map(str::to_owned).collect();
    ensure!(points.len() == 3, "{points:?}");
    for (number, point) in points.iter().enumerate() {
        world.stop_server().await?;
        world.upstream().publish_next()?;
        world.sync().await?.success()?;
        world.crash_at(point);
        // It may die before or after it listens.
        let _ = world.start_server().await;
        let status = world.server_ended().await?;
        ensure!(status.code().is_none(), "{point} is never come by: {status}");
        world.crash_nowhere();

        world.start_server().await?;
        world.released(number as u64 + 2).await?;
        prepared(&world).await.with_context(|| format!("after a kill at {point}"))?;
        for (path, sha256) in Repository::now(&world)?.payloads()? {
            for accept in ["gzip", "zstd"] {
                let answer = get(&world, &path, &[("accept-encoding", accept)])?;
                ensure!(answer.coding() == accept, "{point}: {}", answer.head);
                ensure!(Digest::of(&open(&[], &answer, 64 << 20)?) == sha256, "{point}: {path}");
            }
        }
    }
    Ok(())
}
