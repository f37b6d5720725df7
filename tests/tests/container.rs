//! The container image: built by buildah, run as clusters run it (a number for a user, a root that nobody can write to, process 1), and
//! asked for its health as they ask.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tests::peers::debian::run;
use tests::peers::{curl, static_programs};
use tests::shared::workspace;
use tests::world::{DEADLINE, Invocation, Running, World, wait_for, wait_until};
use url::Url;

const USER: u32 = 65532;

/// Process 1 of namespaces of its own sees the image's root, which cannot be written to, the volume, the configuration, devices and names, as
/// whatever runs containers provides them.
const RUN: &str = "
    mount --make-rprivate /
    mkdir --parents \"$1/dev\"
    touch \"$1/etc/hosts\" \"$1/etc/resolv.conf\"
    mount --bind \"$1\" \"$1\"
    mount --bind /etc/hosts \"$1/etc/hosts\"
    mount --bind /dev \"$1/dev\"
    mount --bind /etc/resolv.conf \"$1/etc/resolv.conf\"
    mount --bind \"$2\" \"$1/var/lib/posture-feed\"
    mount --bind \"$3\" \"$1/etc/posture-feed\"
    mount --options remount,bind,ro \"$1\"
    root=$1
    shift 3
    exec env --ignore-environment \"$@\"";

/// An image that buildah built and opened.
struct Image {
    storage: tempfile::TempDir,
    root: PathBuf,
    config: Value,
}

impl Image {
    fn build() -> Result<Self> {
        let storage = tempfile::tempdir()?;
        let at = storage.path();
        let settings = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            at.join("graph"),
            at.join("run")
        );
        fs::write(at.join("storage.conf"), settings)?;
        let mut image = Self { storage, root: PathBuf::new(), config: Value::Null };
        let mut build = image.with_storage(workspace().join("deploy/container/build"));
        run(build.arg("--programs").arg(static_programs()?).args(["--tag", "posture-feed:trial"]))?;
        image.config = serde_json::from_str(&image.buildah(&["inspect", "--type", "image", "posture-feed:trial"])?)?;
        image.config = image.config["Docker"]["config"].clone();
        image.buildah(&["from", "--name", "trial", "posture-feed:trial"])?;
        image.root = PathBuf::from(image.buildah(&["mount", "trial"])?.trim());
        Ok(image)
    }

    fn with_storage(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("CONTAINERS_STORAGE_CONF", self.storage.path().join("storage.conf"));
        command.env("BUILDAH_ISOLATION", "chroot");
        command
    }

    fn buildah(&self, arguments: &[&str]) -> Result<String> {
        let output = self.with_storage("buildah").args(arguments).output();
        let output = output.context("buildah is missing; run tests/run, which installs it")?;
        ensure!(output.status.success(), "buildah {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn words(&self, key: &str) -> Vec<&str> {
        self.config[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The image's environment, entry point and arguments, as the user that it names.
    fn command<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        let mut words = self.words("Env");
        words.extend(["/usr/sbin/chroot", "--userspec=65532:65532", "--groups="]);
        words.push(self.root.to_str().unwrap_or_default());
        words.extend(self.words("Entrypoint"));
        words.extend(arguments);
        words
    }

    fn invocation(&self, volume: &Path, config: &Path, arguments: &[&str]) -> Invocation {
        let unshare = ["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-euc", RUN, "sh"];
        Invocation::new(Path::new("/usr/bin/unshare"))
            .args(unshare)
            .args([&self.root, volume, config])
            .args(self.command(arguments))
    }

    /// A command inside of the container whose process 1 that is.
    fn inside(&self, process: Pid, words: &[&str]) -> Invocation {
        let process = process.as_raw_nonzero().to_string();
        let enter = ["--target", &process, "--mount", "--pid", "--", "env", "--ignore-environment"];
        // The entry point is not part of it.
        let command = self.command(&[]);
        let command = &command[..command.len() - self.words("Entrypoint").len()];
        Invocation::new(Path::new("/usr/bin/nsenter")).args(enter).args(command).args(words)
    }

    fn health(&self, process: Pid) -> Invocation {
        self.inside(process, &self.words_of_health())
    }

    fn words_of_health(&self) -> Vec<&str> {
        self.config["Healthcheck"]["Test"].as_array().into_iter().flatten().skip(1).filter_map(Value::as_str).collect()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Its mounts go with it.
        let _ = self.buildah(&["rm", "--all"]);
    }
}

/// Process 1 in there, by its number out here.
async fn first_process(unshare: &Running) -> Result<Pid> {
    let children = format!("/proc/{0}/task/{0}/children", unshare.id());
    wait_for(DEADLINE, "the container has a process", async || {
        let number = fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()?;
        Pid::from_raw(number)
    })
    .await
}

#[tokio::test]
async fn it_runs_with_a_read_only_root_as_nobody_and_tells_its_health() -> Result<()> {
    let image = tokio::task::spawn_blocking(Image::build).await??;
    ensure!(image.config["User"] == "65532:65532", "{}", image.config);
    ensure!(image.config["Volumes"]["/var/lib/posture-feed"].is_object(), "{}", image.config);
    ensure!(image.config["Healthcheck"]["Test"][0] == "CMD", "there is no shell for a health check");
    ensure!(image.words("Cmd") == ["serve"], "{}", image.config);
    let owner = fs::metadata(image.root.join("var/lib/posture-feed"))?;
    ensure!(std::os::unix::fs::MetadataExt::uid(&owner) == USER, "a named volume would be root's");

    // As Kubernetes hands out a volume: root's, for a group.
    let volume = tempfile::tempdir()?;
    chown(volume.path(), None, Some(USER))?;
    fs::set_permissions(volume.path(), fs::Permissions::from_mode(0o2770))?;
    // Its own configuration is good, and opens the ports that are exposed.
    let own = image.root.join("etc/posture-feed");
    image.invocation(volume.path(), &own, &["check-config"]).output().await?.success()?;
    let shipped: toml::Table = fs::read_to_string(own.join("feed-server.toml"))?.parse()?;
    for (key, port) in [("address", "8080"), ("metrics_address", "9090")] {
        ensure!(shipped["listen"][key].as_str() == Some(&format!("0.0.0.0:{port}")), "{shipped}");
        ensure!(image.config["ExposedPorts"][format!("{port}/tcp")].is_object(), "{}", image.config);
    }

    // With an upstream, on free ports.
    let mirror = "/var/lib/posture-feed/mirror";
    let world = World::builder().stopped().set("data", "directory", mirror).metrics_listener().build().await?;
    let config = world.config();
    ensure!(config.file_name() == Some(OsStr::new("feed-server.toml")), "{}", config.display());
    let folder = config.parent().context("a file lies somewhere")?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    let asked = image.invocation(volume.path(), folder, &["health"]).output().await?;
    ensure!(!asked.status.success(), "no server runs, and is healthy");

    let serving = image.invocation(volume.path(), folder, &image.words("Cmd"));
    let mut server = serving.start(&world.directory().join("container.log"))?;
    let process = first_process(&server).await?;
    let healthy = async || image.health(process).output().await.is_ok_and(|output| output.status.success());
    wait_until(DEADLINE, "the container is healthy", healthy).await.with_context(|| server.tail())?;
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))?;
    for line in ["NSpid:\t", "Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532"] {
        ensure!(status.contains(line), "{line:?} is not in {status}");
    }
    let first = status.lines().find(|line| line.starts_with("NSpid:")).is_some_and(|line| line.ends_with("\t1"));
    ensure!(first && status.contains("CapEff:\t0000000000000000"), "{status}");

    // It works: a run, a release, and what headends fetch.
    image.inside(process, &["feed-server", "sync"]).output().await?.success()?;
    let said: Value = serde_json::from_slice(&fs::read(volume.path().join("mirror/listening.json"))?)?;
    let address = said["address"].as_str().context("an address")?;
    let timestamp = Url::parse(&format!("http://{address}/repo/metadata/timestamp.json"))?;
    curl(&timestamp, None)?;
    let monitoring = said["metrics_address"].as_str().context("an address")?;
    curl(&Url::parse(&format!("http://{monitoring}/readyz"))?, None)?;

    // Stopped, it is asked in vain; it ends as process 1 does when its container is stopped.
    kill_process(process, Signal::STOP)?;
    ensure!(!image.health(process).output().await?.status.success(), "it is stopped, and healthy");
    kill_process(process, Signal::CONT)?;
    kill_process(process, Signal::TERM)?;
    ensure!(server.end(DEADLINE).await?.success(), "{}", server.tail());
    ensure!(!volume.path().join("mirror/listening.json").exists(), "it did not end well");

    // The data is there for the next one.
    let again = image.invocation(volume.path(), folder, &["status", "--json"]).output().await?.success()?;
    ensure!(again.json::<Value>()?["role"] == "origin", "{again}");
    Ok(())
}
