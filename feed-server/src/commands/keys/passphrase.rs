//! Where a passphrase comes from on a command line: a file, or a terminal. Never an argument, which others can see.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::super::failed;
use super::super::output::print;
use crate::config::Signing;
use crate::publish::{Key, KeyError, Passphrase, Sources};
use crate::upstream::Environment;

/// Where it comes from.
#[derive(Debug, Clone, Default, Args)]
pub struct Source {
    /// The passphrase of encrypted keys, one line that others cannot read; without it, it is asked for on the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Source {
    /// That of a key that is there.
    pub(super) fn of(&self, key: &Path) -> Result<Passphrase, KeyError> {
        match self.in_file()? {
            Some(passphrase) => Ok(passphrase),
            None => asked(&format!("Passphrase of {}: ", key.display()), key),
        }
    }

    /// One for a key that is written: typed twice, since nobody sees what is typed.
    fn new_for(&self, key: &Path) -> Result<Passphrase, KeyError> {
        let passphrase = match self.in_file()? {
            Some(passphrase) => passphrase,
            None => {
                let passphrase = asked(&format!("New passphrase of {}: ", key.display()), key)?;
                if !passphrase.is(&asked("Once more: ", key)?) {
                    return Err(KeyError::BadPassphrase { what: "the two passphrases are not the same" });
                }
                passphrase
            }
        };
        if passphrase.is_empty() {
            return Err(KeyError::BadPassphrase { what: "the passphrase is empty" });
        }
        Ok(passphrase)
    }

    fn in_file(&self) -> Result<Option<Passphrase>, KeyError> {
        let passphrase_file = self.passphrase_file.clone();
        Sources::new(Signing { passphrase_file, base_dir: PathBuf::new() }, Environment::of_process()).passphrase()
    }
}

fn asked(prompt: &str, key: &Path) -> Result<Passphrase, KeyError> {
    if !io::stdin().is_terminal() {
        return Err(KeyError::Locked { path: key.to_owned() });
    }
    let typed = rpassword::prompt_password(prompt);
    let typed = typed.map_err(|source| KeyError::Io { act: "read a passphrase for", path: key.to_owned(), source })?;
    Ok(Passphrase::new(Zeroizing::new(typed)))
}

/// A key, and its passphrase.
#[derive(Debug, Args)]
pub struct File {
    /// The private key's file, which is written anew
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    source: Source,
}

pub(super) fn generate(file: &Path, encrypt: bool, source: &Source) -> anyhow::Result<()> {
    let passphrase = if encrypt { Some(source.new_for(file).map_err(failed)?) } else { None };
    let (key, public) = Key::generate(file, passphrase.as_ref()).map_err(failed)?;
    print(&format!(
        "The private key is in {}, its public half in {}.\nIts SHA-256: {}\n",
        file.display(),
        public.display(),
        key.fingerprint()
    ))
}

/// Encrypts a key that is not, or gives it another passphrase; the old one is asked for on the terminal.
pub(super) fn encrypt(File { file, source }: &File) -> anyhow::Result<()> {
    let old = || Source::default().of(file);
    let key = Key::rewrite(file, old, || source.new_for(file).map(Some)).map_err(failed)?;
    print(&format!(
        "{} is encrypted now (SHA-256 of the public key: {}). Where a server signs with it, set [signing] passphrase_file. What \
         was there before may be found on the disk, and in backups, for as long as nothing took its place.\n",
        file.display(),
        key.fingerprint()
    ))
}

pub(super) fn decrypt(File { file, source }: &File) -> anyhow::Result<()> {
    let key = Key::rewrite(file, || source.of(file), || Ok(None)).map_err(failed)?;
    print(&format!(
        "{} is not encrypted any more (SHA-256 of the public key: {}): whoever reads the file can sign.\n",
        file.display(),
        key.fingerprint()
    ))
}
