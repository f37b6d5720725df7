//! What else brings new files to whoever has the older ones, and what each costs: curl, zsync, rsync, and patches by `zstd`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bundles::{FileName, Limits, archive};
use tokio::process::Command as TokioCommand;
use url::Url;

use crate::peers::Nginx;
use crate::wire::{Exchange, WireTap};

/// A file that changes, in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As the vendor publishes it.
    pub archive: Vec<u8>,
    /// As headends hold it.
    pub payload: Vec<u8>,
}

impl Version {
    /// What an archive opens to.
    ///
    /// # Errors
    /// It does not.
    pub fn open(name: &FileName, archive: Vec<u8>) -> Result<Self> {
        let limits = Limits::default();
        let mut payload = Vec::new();
        archive::open(&mut Cursor::new(&archive), name, &limits, &mut payload)?;
        Ok(Self { archive, payload })
    }
}

/// The files that change, by their archives' names.
pub type Files = BTreeMap<FileName, Version>;

/// One way to bring what changed, and what it cost.
#[derive(Debug, Clone)]
pub struct Way {
    /// For people.
    pub name: String,
    /// Bytes that told the content.
    pub content: u64,
    /// All bytes of all answers, where that is something else and can be seen.
    pub all: Option<u64>,
    /// How long it took.
    pub time: Option<Duration>,
}

/// Both versions on disk, and a web server that has the new one.
#[derive(Debug)]
pub struct Others<'a> {
    old: PathBuf,
    new: PathBuf,
    scratch: PathBuf,
    files: &'a Files,
    _nginx: Nginx,
    tap: WireTap,
}

impl<'a> Others<'a> {
    /// Lays everything out in an empty folder.
    ///
    /// # Errors
    /// A file cannot be written, or a program is missing.
    pub async fn new(folder: &Path, old: &Files, new: &'a Files) -> Result<Self> {
        let [olds, news, scratch] = ["old", "new", "scratch"].map(|name| folder.join(name));
        fs::create_dir(&scratch)?;
        for (directory, files) in [(&olds, old), (&news, new)] {
            fs::create_dir(directory)?;
            for (name, file) in files {
                fs::write(directory.join(name.as_str()), &file.archive)?;
                fs::write(tar_of(directory, name), &file.payload)?;
            }
        }
        let nginx = Nginx::start_fast(&news, None, "").await?;
        let tap = WireTap::before(&Url::parse(&format!("http://{}/", nginx.address()))?).await?;
        Ok(Self { old: olds, new: news, scratch, files: new, _nginx: nginx, tap })
    }

    /// All of them, in the order of the table.
    ///
    /// # Errors
    /// A program is missing, or brings something else.
    pub async fn all(&self) -> Result<Vec<Way>> {
        let mut ways = vec![self.curl().await?];
        for of in [Of::Archives, Of::Tars] {
            ways.push(self.zsync(of).await?);
        }
        ways.push(self.rsync()?);
        for of in [Of::Archives, Of::Tars] {
            let began = Instant::now();
            let patches = self.patches(of)?;
            let (content, time) = (patches.values().sum(), Some(began.elapsed()));
            ways.push(Way { name: format!("zstd -19 --patch-from, {}", of.name()), content, all: None, time });
        }
        Ok(ways)
    }

    async fn curl(&self) -> Result<Way> {
        let began = Instant::now();
        for (name, file) in self.files {
            let into = self.scratch.join("curl");
            let url = self.tap.url()?.join(name.as_str())?;
            run(TokioCommand::new("curl").args(["-sf", "-o"]).arg(&into).arg(url.as_str())).await?;
            ensure!(fs::read(&into)? == file.archive, "curl brings another {name}");
        }
        self.way("whole archives, by curl".to_owned(), began)
    }

    /// zsync: the control file and the ranges that it says are lacking. Of an archive it tells the content inside, where that
    /// saves something.
    async fn zsync(&self, of: Of) -> Result<Way> {
        for name in self.files.keys() {
            let new = of.path(&self.new, name);
            let file = new.file_name().context("a file has a name")?;
            let mut control = new.clone().into_os_string();
            control.push(".zsync");
            run(TokioCommand::new("zsyncmake")
                .arg("-u")
                .arg(file)
                .arg("-o")
                .arg(control)
                .arg(&new)
                .current_dir(&self.new))
            .await?;
        }
        let began = Instant::now();
        for (name, file) in self.files {
            let old = of.path(&self.old, name);
            let url = self.tap.url()?.join(&format!("{}.zsync", of.file_name(name)))?;
            let into = self.scratch.join("zsync");
            run(TokioCommand::new("zsync")
                .arg("-i")
                .arg(&old)
                .arg("-o")
                .arg(&into)
                .arg(url.as_str())
                .current_dir(&self.scratch))
            .await?;
            // From inside of an archive it makes one that opens to the same.
            let brought = fs::read(&into)?;
            let brought =
                if brought.starts_with(&[0x1f, 0x8b]) { Version::open(name, brought)?.payload } else { brought };
            ensure!(brought == file.payload, "zsync brings another {name}");
        }
        self.way(format!("zsync, {}", of.name()), began)
    }

    /// rsync's own protocol: it says what it sent, of which content cannot be told from the rest.
    fn rsync(&self) -> Result<Way> {
        let copy = self.scratch.join("rsync");
        fs::create_dir(&copy)?;
        for name in self.files.keys() {
            fs::copy(tar_of(&self.old, name), tar_of(&copy, name))?;
        }
        let began = Instant::now();
        let output = Command::new("rsync")
            .args(["--no-whole-file", "--checksum", "--compress", "--stats"])
            .args(self.files.keys().map(|name| tar_of(&self.new, name)))
            .arg(&copy)
            .output()
            .context("rsync is needed here")?;
        ensure!(output.status.success(), "rsync: {}", String::from_utf8_lossy(&output.stderr));
        let time = Some(began.elapsed());
        for (name, file) in self.files {
            ensure!(fs::read(tar_of(&copy, name))? == file.payload, "rsync brings another {name}");
        }
        let stats = String::from_utf8_lossy(&output.stdout);
        let sent =
            stats.lines().find_map(|line| line.strip_prefix("Total bytes sent:")).context("rsync's statistics")?;
        let content = sent.chars().filter(char::is_ascii_digit).collect::<String>().parse()?;
        Ok(Way { name: "rsync --compress, opened tars".to_owned(), content, all: None, time })
    }

    /// The size of each file's patch by the `zstd` program at level 19.
    ///
    /// # Errors
    /// It is missing.
    pub fn patches(&self, of: Of) -> Result<BTreeMap<FileName, u64>> {
        let patch = |name: &FileName| {
            let into = self.scratch.join("patch.zst");
            let output = Command::new("zstd")
                .args(["-19", "-q", "-f", "--patch-from"])
                .arg(of.path(&self.old, name))
                .arg(of.path(&self.new, name))
                .arg("-o")
                .arg(&into)
                .output()
                .context("zstd is needed here")?;
            ensure!(output.status.success(), "zstd: {}", String::from_utf8_lossy(&output.stderr));
            Ok((name.clone(), fs::metadata(&into)?.len()))
        };
        self.files.keys().map(patch).collect()
    }

    fn way(&self, name: String, began: Instant) -> Result<Way> {
        let time = Some(began.elapsed());
        let answers = self.tap.take()?;
        let content = answers.iter().map(|it| it.body_bytes as u64).sum();
        Ok(Way { name, content, all: Some(answers.iter().map(Exchange::answer_bytes).sum()), time })
    }
}

/// What of a release is brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// The vendor's archives.
    Archives,
    /// What they open to.
    Tars,
}

impl Of {
    fn name(self) -> &'static str {
        match self {
            Self::Archives => "archives",
            Self::Tars => "opened tars",
        }
    }

    fn file_name(self, name: &FileName) -> String {
        match self {
            Self::Archives => name.to_string(),
            Self::Tars => name.as_str().trim_end_matches(".gz").to_owned(),
        }
    }

    fn path(self, directory: &Path, name: &FileName) -> PathBuf {
        directory.join(self.file_name(name))
    }
}

fn tar_of(directory: &Path, name: &FileName) -> PathBuf {
    Of::Tars.path(directory, name)
}

/// Without blocking the tap that it speaks through.
async fn run(command: &mut TokioCommand) -> Result<()> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("{program} is needed here"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
