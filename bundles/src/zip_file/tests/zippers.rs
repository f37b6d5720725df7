//! What other people's programs write is read, and what ours writes they read.

use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// Runs a program in a directory; `None` where it is not here.
fn run(directory: &Path, program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).current_dir(directory).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        eprintln!("skipped: there is no {program} here");
        return None;
    };
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

const PYTHON: &str = r#"
import sys, zipfile
class Pipe:
    def __init__(self, file): self.file = file
    def write(self, data): return self.file.write(data)
    def flush(self): self.file.flush()
def fill(zip):
    for name in ["feed/", "feed/a.tar.gz", "feed/posture-update.xml", "feed/empty"]: zip.write(name)
with zipfile.ZipFile("python.zip", "w", zipfile.ZIP_DEFLATED) as zip:
    fill(zip)
    zip.comment = b"made by hand"
with open("python-piped.zip", "wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as zip: fill(zip)
with zipfile.ZipFile("python-zip64.zip", "w") as zip:
    for name in ["a.tar.gz", "posture-update.xml", "empty"]:
        with zip.open("feed/" + name, "w", force_zip64=True) as out: out.write(open("feed/" + name, "rb").read())
"#;

#[test]
fn the_usual_zippers_zips_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::create_dir(at.join("feed")).unwrap();
    let files: [(&str, Vec<u8>); 3] = [
        ("a.tar.gz", (0..3_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("empty", Vec::new()),
        ("posture-update.xml", b"<index/>".repeat(1_000)),
    ];
    for (name, content) in &files {
        std::fs::write(at.join("feed").join(name), content).unwrap();
    }
    run(at, "python3", &["-c", PYTHON]);
    run(at, "zip", &["-qr", "info.zip", "feed"]);
    run(at, "zip", &["-qr", "-fz", "info-zip64.zip", "feed"]);
    run(at, "sh", &["-c", "! command -v zip >/dev/null || zip -qr - feed | cat > info-piped.zip"]);
    run(at, "7z", &["a", "-tzip", "7z.zip", "feed"]);
    run(at, "bsdtar", &["-cf", "bsdtar.zip", "--format", "zip", "feed"]);
    run(at, "bsdtar", &["-cf", "bsdtar-dot.zip", "--format", "zip", "./feed"]);
    run(at, "jar", &["cfM", "jar.zip", "feed"]);
    let mut seen = 0;
    for file in std::fs::read_dir(at).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "zip") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mut read =
            all(Cursor::new(&bytes), &both()[1]).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        read.sort();
        assert_eq!(read, files.clone().map(|(name, content)| (format!("feed/{name}"), content)), "{}", path.display());
        // And none of them is a bundle by chance.
        assert!(ZipFile::open(Cursor::new(&bytes), &both()[0]).is_err(), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0, "not one zipper is here");
}

#[test]
fn the_usual_unzippers_take_ours() {
    let directory = tempfile::tempdir().unwrap();
    let zip = ours(&[("bundle.json", &b"{}".repeat(100)), ("targets/a.tar.gz", b"content"), ("targets/empty.gz", b"")]);
    std::fs::write(directory.path().join("ours.zip"), zip).unwrap();
    let listing =
        "import zipfile; z = zipfile.ZipFile('ours.zip'); assert z.testzip() is None; print(len(z.namelist()))";
    for (program, arguments, says) in [
        ("unzip", &["-t", "ours.zip"][..], "No errors detected"),
        ("python3", &["-c", listing], "3"),
        ("7z", &["t", "ours.zip"], "Everything is Ok"),
        ("bsdtar", &["-tf", "ours.zip"], "targets/empty.gz"),
    ] {
        if let Some(output) = run(directory.path(), program, arguments) {
            assert!(output.contains(says), "{program}: {output}");
        }
    }
}
