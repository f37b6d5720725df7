//! A server, its origin, and a headend with the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bundles::{Component, Digest, Manifest};
use serde_json::Value;

use crate::origin::{Origin, Payload, Release};
use crate::server::{Request, Server};

pub(crate) const TOKEN: &str = "pf_token_of_the_tests";

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) origin: Origin,
}

/// The usual content of release `serial`: conditions change with each, the chart never, and there are default policies.
pub(crate) fn release(serial: u64) -> Release {
    let policy = format!("<policy release=\"{serial}\"/>");
    let checks = format!("<checks release=\"{serial}\"/>");
    Release::new(serial)
        .with(
            Component::Conditions,
            &format!("{}.0.0.0", 280_000 + serial),
            Payload::of(
                "conditions",
                &[
                    ("checks.xml", checks.as_bytes()),
                    ("defaults/policy-a.xml", policy.as_bytes()),
                    ("defaults/policy-b.xml", policy.as_bytes()),
                ],
            ),
        )
        .with(Component::AvAsChartLinux, "33.0.0.0", Payload::of("linux", &[("chart.xml", &[b'c'; 100_000])]))
}

impl World {
    /// A server with release 1, and a headend that is not enrolled.
    pub(crate) fn new() -> Self {
        Self::with_server(Server::start())
    }

    pub(crate) fn with_server(server: Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut world = Self { directory, server, origin: Origin::new("repo") };
        world.publish(&release(1));
        fs::write(world.path("root.json"), world.origin.root_file()).unwrap();
        fs::write(world.path("token"), format!("{TOKEN}\n")).unwrap();
        world
    }

    /// A server with release 1, and a headend that is enrolled.
    pub(crate) fn enrolled() -> Self {
        let world = Self::new();
        world.enroll();
        world
    }

    pub(crate) fn enroll(&self) {
        let (root, token) = (self.path("root.json"), self.path("token"));
        let arguments =
            ["enroll", "--server", &self.server.url, "--id", "vpn-1", "--root", text(&root), "--token-file"];
        let output = self.command().args(arguments).arg(token).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        self.server.take_requests();
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    pub(crate) fn data(&self, below: &str) -> PathBuf {
        self.path("data").join(below)
    }

    /// Writes the configuration to where it is looked for.
    pub(crate) fn configure(&self, toml: &str) {
        fs::create_dir_all(self.path("data")).unwrap();
        fs::write(self.data("feed-client.toml"), toml).unwrap();
    }

    /// A hook of this shell script, configured; more configuration may follow.
    pub(crate) fn hook(&self, script: &str, more: &str) {
        let program = self.path("hook");
        // A new file each time: writing over a program that still runs is refused.
        let _ = fs::remove_file(&program);
        fs::write(&program, format!("#!/bin/sh\ncd {}\n{script}\n", text(self.directory.path()))).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        self.configure(&format!("[apply]\nhook = {program:?}\n{more}"));
    }

    pub(crate) fn publish(&mut self, release: &Release) -> Manifest {
        let manifest = self.origin.add(release);
        self.origin.publish(&self.server);
        manifest
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feed-client"));
        command.current_dir(self.directory.path()).arg("--data").arg(self.path("data"));
        let of_ours = |name: &str| name.starts_with("POSTURE_FEED") || name.to_ascii_uppercase().ends_with("_PROXY");
        for (variable, _) in std::env::vars().filter(|(name, _)| of_ours(name)) {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// `feed-client … --json`, which has to succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Value {
        let output = self.command().args(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `feed-client … --json`, which has to fail: exit code, reason and message.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command().args(arguments).arg("--json").output().unwrap();
        assert!(!output.status.success(), "{arguments:?} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        let stderr = stderr(&output);
        let last = stderr.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("no JSON at the end of: {stderr}"));
        let text = |key: &str| error["error"][key].as_str().unwrap().to_owned();
        (output.status.code().unwrap_or(-1), text("reason"), text("message"))
    }

    /// The same, when only code and reason matter; nothing that runs may change by it.
    pub(crate) fn refuses(&self, arguments: &[&str]) -> (i32, String) {
        let before = self.visible();
        let (code, reason, message) = self.fails(arguments);
        assert!(message.len() > 20, "{message:?} is no sentence");
        assert_eq!(self.visible(), before, "{reason}: what runs changed");
        (code, reason)
    }

    /// Everything that readers of `current` see.
    pub(crate) fn visible(&self) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
        let current = self.data("current");
        current.is_dir().then(|| files_below(&current))
    }

    pub(crate) fn current(&self) -> Option<u64> {
        let target = fs::read_link(self.data("current")).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    pub(crate) fn releases(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(self.data("releases")) else { return Vec::new() };
        let mut serials: Vec<u64> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        serials.sort_unstable();
        serials
    }

    /// The reports that the server got since the last look at its requests.
    pub(crate) fn reports(&self) -> Vec<bundles::report::Report> {
        reports(&self.server.take_requests())
    }

    /// Every release that is visible is whole: manifest, payloads as the manifest says, everything opened.
    pub(crate) fn assert_whole(&self) {
        for serial in self.releases() {
            let folder = self.data("releases").join(serial.to_string());
            let manifest = Manifest::from_json(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
            assert_eq!(manifest.serial.get(), serial);
            for released in &manifest.components {
                for file in &released.files {
                    let bytes = fs::read(folder.join("payloads").join(file.payload.name.as_str())).unwrap();
                    assert_eq!(Digest::of(&bytes), file.payload.sha256);
                    let stem = file.payload.name.as_str().strip_suffix(".tar").unwrap();
                    let opened = folder.join(released.component.to_string()).join(stem);
                    let mut tar = tar::Archive::new(bytes.as_slice());
                    for entry in tar.entries().unwrap() {
                        let mut entry = entry.unwrap();
                        let mut content = Vec::new();
                        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
                        assert_eq!(fs::read(opened.join(entry.path().unwrap())).unwrap(), content);
                    }
                }
            }
        }
        if fs::symlink_metadata(self.data("current")).is_ok() {
            let current = self.current().expect("the link names a release");
            assert!(self.releases().contains(&current), "current points at {current}, which is not here");
        }
    }
}

pub(crate) fn reports(requests: &[Request]) -> Vec<bundles::report::Report> {
    let puts = requests.iter().filter(|request| request.method == "PUT");
    puts.map(|request| {
        assert_eq!(request.path, "/api/v1/headends/vpn-1/report");
        assert_eq!(request.authorization.as_deref(), Some(&*format!("Bearer {TOKEN}")));
        bundles::report::Report::from_json(&request.body).unwrap()
    })
    .collect()
}

pub(crate) fn files_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
