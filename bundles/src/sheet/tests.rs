use std::process::Command;

use super::*;
use crate::bundle::Contents;
use crate::fake::{Edition, Feed, Options, Origin, Release};

fn started() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

fn release() -> Release {
    Release::of(&Feed::make(&Edition::after(), &Options::small()), Serial::new(42).unwrap(), started())
}

fn file(name: &str, bytes: &[u8]) -> FileRef {
    FileRef { name: FileName::parse(name).unwrap(), sha256: Digest::of(bytes), length: bytes.len() as u64 }
}

fn of_bundle(zip: FileRef) -> Sheet {
    let (origin, release) = (Origin::new(1, started()), release());
    let metadata = origin.metadata(1, started() + jiff::SignedDuration::from_hours(2160), &release.targets());
    let open = |file: &FileRef| release.open(file);
    let json = release.manifest.to_json();
    let contents = Contents::new(&json, &metadata, &open).unwrap();
    Sheet::of_bundle(zip, *contents.root(), contents.facts().valid_until, contents.manifest())
}

#[test]
fn it_fits_one_page_of_plain_text() {
    for sheet in [
        of_bundle(file("posture-bundle-42.zip", b"zip")),
        Sheet::of_offline_zip(file("posture-offline-42.zip", b"zip"), &release().manifest),
    ] {
        let text = sheet.to_string();
        assert!(text.is_ascii(), "{text}");
        assert!(text.lines().all(|line| line.len() <= COLUMNS && line.trim_end() == line), "{text}");
        assert!(text.lines().count() <= LINES, "{} lines:\n{text}", text.lines().count());
        for word in ["Media number", "Scanned with", "Carried by", "300418.0.0.0", "osgroupsV2.tar.gz", "number 42"] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}

#[test]
fn digests_stand_in_groups_of_four() {
    let digest = Digest::of(b"zip");
    let text = of_bundle(file("posture-bundle-42.zip", b"zip")).to_string();
    let joined: String = text.split_whitespace().collect();
    assert!(joined.contains(&digest.to_string()), "{text}");
    assert!(text.contains(&groups(&digest)[0]));
    assert_eq!(groups(&digest)[0].split(' ').map(str::len).collect::<Vec<_>>(), [4; 8]);
}

/// The commands for Linux, as printed.
fn linux_commands(text: &str) -> Vec<String> {
    let commands =
        text.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("sha256sum"));
    commands.map(str::to_owned).collect()
}

#[test]
fn its_commands_for_linux_agree_with_the_file_and_with_no_other() {
    let bytes = b"what a zip holds";
    let zip = file("posture-bundle-42.zip", bytes);
    let text = of_bundle(zip.clone()).to_string();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write(zip.name.as_str(), bytes);
    write("posture-bundle-42.zip.sha256", crate::offline_zip::sha256_line(&zip.sha256, &zip.name).as_bytes());
    let commands = linux_commands(&text);
    assert_eq!(commands.len(), 2, "{text}");
    let run = |command: &String| {
        let output = Command::new("sh").args(["-c", command]).current_dir(folder.path()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let printed: Vec<_> = commands.iter().map(run).collect();
    assert!(printed.iter().all(|(agrees, _)| *agrees), "{printed:?}");
    assert!(printed[0].1.starts_with(&zip.sha256.to_string()), "{printed:?}");
    assert!(printed[1].1.ends_with(": OK\n"), "{printed:?}");

    write(zip.name.as_str(), b"what a zip held.");
    assert!(!run(&commands[1]).0);
}

#[test]
fn what_came_in_with_a_url_gives_no_orders_to_a_printer() {
    let mut manifest = release().manifest;
    manifest.source.url = Some(format!("https://h/\u{1b}[2J{}", "x".repeat(200)));
    let text = Sheet::of_offline_zip(file("posture-offline-42.zip", b"zip"), &manifest).to_string();
    assert!(text.lines().all(|line| line.len() <= COLUMNS && line.chars().all(|c| !c.is_control())), "{text}");
}
