//! Replays what fuzzing begins with, what it found, and a little of what it does: `CONTRIBUTING.md` says how to fuzz for
//! long.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result, ensure};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tests::fuzz::{TARGETS, Target};

/// Damaged copies of each seed: enough to notice a check that was taken away, within a second or so for each target.
const DAMAGED: usize = 200;

fn replay(target: &Target, input: &[u8]) -> Result<()> {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if outcome.is_err() {
        let kept = std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, bundles::Digest::of(input)));
        std::fs::write(&kept, input)?;
        anyhow::bail!("{} panics at {}; the panic is above", target.name, kept.display());
    }
    Ok(())
}

#[test]
fn no_target_fails_at_its_seeds_or_at_what_was_found() -> Result<()> {
    for target in TARGETS {
        let seeds = (target.seeds)().with_context(|| target.name)?;
        ensure!(!seeds.is_empty(), "{} has no seeds", target.name);
        for input in seeds.iter().chain(&target.found()?) {
            replay(target, input)?;
        }
    }
    Ok(())
}

#[test]
fn no_target_fails_at_damaged_seeds() -> Result<()> {
    for target in TARGETS {
        // Seeded: whoever repeats a failure meets it again.
        let mut random = SmallRng::seed_from_u64(1);
        for seed in (target.seeds)()? {
            for _ in 0..DAMAGED {
                replay(target, &damaged(&seed, &mut random))?;
            }
        }
    }
    Ok(())
}

/// Some bytes changed, a piece cut out or said twice.
fn damaged(seed: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        let end = random.random_range(at..bytes.len().min(at + 64)) + 1;
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at..end].fill(random.random()),
            2 => drop(bytes.drain(at..end)),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Every target here is a target of `cargo fuzz`, and the other way round.
#[test]
fn each_target_can_be_run_for_long() -> Result<()> {
    let manifest = std::fs::read_to_string(tests::fuzz::directory().join("Cargo.toml"))?;
    let manifest: toml::Table = toml::from_str(&manifest)?;
    let bins = manifest.get("bin").and_then(toml::Value::as_array).context("fuzz targets are [[bin]]s")?;
    let named: Vec<_> = bins.iter().filter_map(|bin| bin.get("name")?.as_str()).collect();
    let ours: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    ensure!(named == ours, "tests/fuzz/Cargo.toml has {named:?}, tests::fuzz {ours:?}");
    Ok(())
}
