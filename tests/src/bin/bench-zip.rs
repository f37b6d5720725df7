//! A bundle of a release with an archive of 100 MB, built beside `zip -0` of the same files, in one run. Run it with
//! `cargo run --release -p tests --bin bench-zip`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Read, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bundles::bundle::{self, Contents};
use bundles::fake::{Edition, Feed, Options, Origin, Release};
use bundles::release::FileRef;
use bundles::{Digest, Serial};
use clap::Parser;
use jiff::{SignedDuration, Timestamp};

/// Times of `zip -0` that building a bundle may take (design, section 12).
const TIME_BAR: f64 = 1.2;

/// Measures the building of a bundle beside what zips the same files without compressing them
#[derive(Debug, Parser)]
struct Arguments {
    /// Size of the large archive, in megabytes
    #[arg(long, default_value_t = 100)]
    megabytes: u64,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Fail where a bar is not met
    #[arg(long)]
    strict: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tests::bench::exit(measure(&arguments), arguments.strict)
}

fn measure(arguments: &Arguments) -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let release = release(arguments.megabytes * 1_000_000)?;
    let started = Timestamp::from_second(1_750_000_000)?;
    let metadata =
        Origin::new(1, started).metadata(1, started + SignedDuration::from_hours(24 * 90), &release.targets());
    let mut names = BTreeSet::new();
    for file in bundle::carried(&release.manifest) {
        std::fs::write(folder.path().join(file.name.as_str()), &release.files[&file.sha256])?;
        names.insert(file.name.to_string());
    }
    let json = release.manifest.to_json();
    let open = |file: &FileRef| -> std::io::Result<Box<dyn Read>> {
        Ok(Box::new(File::open(folder.path().join(file.name.as_str()))?))
    };
    let contents = Contents::new(&json, &metadata, &open)?;
    drop(release);

    let (ours, theirs) = (folder.path().join("ours.zip"), folder.path().join("theirs.zip"));
    let (mut builds, mut hashed, mut zips, mut summed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds.max(1) {
        for zip in [&ours, &theirs] {
            let _ = std::fs::remove_file(zip);
        }
        let began = Instant::now();
        let out = BufWriter::with_capacity(256 << 10, File::create(&ours)?);
        bundle::write(out, &contents, &mut |_| {})?.flush()?;
        builds.push(began.elapsed());
        Digest::of_reader(&mut File::open(&ours)?)?;
        hashed.push(began.elapsed());

        let began = Instant::now();
        run(folder.path(), "zip", ["-0", "-q", "theirs.zip"].into_iter().chain(names.iter().map(String::as_str)))?;
        zips.push(began.elapsed());
        run(folder.path(), "sha256sum", ["theirs.zip"].into_iter())?;
        summed.push(began.elapsed());
    }
    let ratio = |ours: &mut [Duration], theirs: &mut [Duration]| {
        (median(ours), median(theirs), median(ours).as_secs_f64() / median(theirs).as_secs_f64())
    };
    let (build, zip, plain) = ratio(&mut builds, &mut zips);
    let (build_hashed, zip_hashed, with_digest) = ratio(&mut hashed, &mut summed);
    let met = if plain <= TIME_BAR { "met" } else { "NOT met" };
    println!(
        "| work ({} MB archive, median of {}) | ours | theirs | ratio | bar | |",
        arguments.megabytes,
        arguments.rounds.max(1)
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    println!("| a bundle, beside zip -0 | {} | {} | {plain:.2} | {TIME_BAR} | {met} |", seconds(build), seconds(zip));
    let (build, zip) = (seconds(build_hashed), seconds(zip_hashed));
    println!("| and its SHA-256, beside sha256sum | {build} | {zip} | {with_digest:.2} | | |");
    Ok(plain <= TIME_BAR)
}

fn release(padding: u64) -> Result<Release> {
    let feed = Feed::make(&Edition::after(), &Options { padding, ..Options::small() });
    let serial = Serial::new(1).context("a number")?;
    Ok(Release::of(&feed, serial, Timestamp::from_second(1_750_000_000)?))
}

fn run<'a>(folder: &Path, program: &str, arguments: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut command = Command::new(program);
    let status = command.current_dir(folder).args(arguments).stdout(Stdio::null()).status();
    let status = status.with_context(|| format!("{program} is needed here"))?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
