//! Other forms of the signed content, through the real server and to the real client.

mod headends;
mod readers;
mod served;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use bundles::increment::{Unpacking, available_dictionary};
use bundles::{Digest, Manifest};
use tests::world::{DEADLINE, World, wait_until};

const ALL: &str = "dcz, zstd, gzip";

/// An answer as it came over the wire.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    fn coding(&self) -> &str {
        self.header("content-encoding").unwrap_or("identity")
    }

    fn etag(&self) -> Result<String> {
        Ok(self.header("etag").context("no ETag")?.to_owned())
    }

    fn wire(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let server = world.server_url()?;
    let address = (server.host_str().context("a host")?, server.port().context("a port")?);
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.get_mut().write_all(format!("{request}\r\n").as_bytes())?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head)? > 0, "the answer ends early: {head}");
    }
    let mut answer = Answer { head, body: Vec::new() };
    if method != "HEAD" && answer.status() != 304 {
        let length: usize = answer.header("content-length").context("no length")?.parse()?;
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    ask(world, "GET", path, headers)
}

/// With this content at hand.
fn get_with(world: &World, path: &str, base: &[u8]) -> Result<Answer> {
    let dictionary = available_dictionary(&Digest::of(base));
    get(world, path, &[("accept-encoding", ALL), ("available-dictionary", &dictionary)])
}

/// What a reader of the repository comes by.
struct Repository {
    timestamp: String,
    snapshot: String,
    targets: String,
    stable: String,
    manifest: Manifest,
}

impl Repository {
    fn now(world: &World) -> Result<Self> {
        let json = |path: &str| -> Result<serde_json::Value> {
            let answer = get(world, path, &[])?;
            ensure!(answer.status() == 200, "{path}: {}", answer.head);
            Ok(serde_json::from_slice(&answer.body)?)
        };
        let timestamp = "/repo/metadata/timestamp.json".to_owned();
        let version = json(&timestamp)?["signed"]["meta"]["snapshot.json"]["version"].to_string();
        let snapshot = format!("/repo/metadata/{version}.snapshot.json");
        let version = json(&snapshot)?["signed"]["meta"]["targets.json"]["version"].to_string();
        let targets = format!("/repo/metadata/{version}.targets.json");
        let stable = &json(&targets)?["signed"]["targets"]["stable.json"]["hashes"]["sha256"];
        let stable = format!("/repo/targets/{}.stable.json", stable.as_str().context("a digest")?);
        let manifest = Manifest::from_json(&get(world, &stable, &[])?.body)?;
        Ok(Self { timestamp, snapshot, targets, stable, manifest })
    }

    fn metadata(&self) -> [&str; 4] {
        [&self.timestamp, &self.snapshot, &self.targets, &self.stable]
    }

    /// Paths and digests of the payloads.
    fn payloads(&self) -> Result<Vec<(String, Digest)>> {
        let files = self.manifest.components.iter().flat_map(|released| &released.files);
        let path = |file: &bundles::release::ReleasedFile| {
            let (name, sha256) = (file.payload.target_name()?, file.payload.sha256);
            Ok((format!("/repo/targets/{}", name.served_as(&sha256)), sha256))
        };
        files.map(path).collect()
    }
}

/// A server with two releases, everything prepared, and what the first one served: (path then, path now, bytes then).
async fn two_releases(world: &World) -> Result<Vec<(String, String, Vec<u8>)>> {
    world.sync().await?.success()?;
    world.released(1).await?;
    prepared(world).await?;
    let before = Repository::now(world)?;
    let mut held = Vec::new();
    for path in before.metadata() {
        held.push((path.to_owned(), get(world, path, &[])?.body));
    }
    for (path, _) in before.payloads()? {
        let body = get(world, &path, &[])?.body;
        held.push((path, body));
    }
    world.upstream().publish_next()?;
    world.sync().await?.success()?;
    world.released(2).await?;
    prepared(world).await?;
    let after = Repository::now(world)?;
    let paths = after.metadata().map(str::to_owned).into_iter();
    let paths: Vec<String> = paths.chain(after.payloads()?.into_iter().map(|(path, _)| path)).collect();
    ensure!(paths.len() == held.len(), "both releases have the same files");
    Ok(held.into_iter().zip(paths).map(|((then, bytes), now)| (then, now, bytes)).collect())
}

/// Waits until the preparing thread has come to the last of its work: gzip comes last.
async fn prepared(world: &World) -> Result<()> {
    wait_until(DEADLINE, "everything is prepared", async || {
        let everything = || -> Result<bool> {
            let repository = Repository::now(world)?;
            let mut paths: Vec<String> = repository.payloads()?.into_iter().map(|(path, _)| path).collect();
            paths.push(repository.targets);
            let is_there = |path: &String| Ok(get(world, path, &[("accept-encoding", "gzip")])?.coding() == "gzip");
            paths.iter().map(is_there).try_fold(true, |all, one: Result<bool>| Ok(all && one?))
        };
        everything().unwrap_or(false)
    })
    .await
}

fn open(base: &[u8], answer: &Answer, limit: usize) -> Result<Vec<u8>> {
    let mut unpacking = match answer.coding() {
        "dcz" => Unpacking::increment(base, limit as u64, Vec::new())?,
        "zstd" => Unpacking::zstd(limit as u64, Vec::new())?,
        "gzip" => {
            let mut opened = Vec::new();
            flate2::read::GzDecoder::new(&answer.body[..]).read_to_end(&mut opened)?;
            return Ok(opened);
        }
        _ => return Ok(answer.body.clone()),
    };
    unpacking.push(&answer.body)?;
    Ok(unpacking.finish()?)
}
