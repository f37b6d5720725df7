//! Signed metadata as an attacker or an origin's administrator would make it, from what a server has published.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What a server has, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What is in a server's tree, as any web server could serve it.
///
/// # Errors
/// It cannot be read.
pub fn files_of_server(data: &Path, side: &str) -> Result<Files> {
    let tree = data.join("tree").join(side);
    let mut files = Files::new();
    for entry in
        walkdir::WalkDir::new(&tree).into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file())
    {
        let path = format!("{side}/{}", entry.path().strip_prefix(&tree)?.display());
        files.insert(path, std::fs::read(entry.path())?);
    }
    Ok(files)
}

/// A key to sign with, under whatever id.
#[derive(Debug, Clone)]
pub struct Key {
    pair: std::sync::Arc<Ed25519KeyPair>,
    /// What its signatures are filed under.
    pub id: String,
}

impl Key {
    /// One that nobody trusts.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn of_a_stranger() -> Result<Self> {
        Self::of(Ed25519KeyPair::generate().map_err(|_| anyhow!("no randomness"))?)
    }

    /// A stolen one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let der = std::fs::read(path).with_context(|| path.display().to_string())?;
        Self::of(Ed25519KeyPair::from_pkcs8(&der).map_err(|_| anyhow!("{} is no key", path.display()))?)
    }

    fn of(pair: Ed25519KeyPair) -> Result<Self> {
        let mut key = Self { pair: std::sync::Arc::new(pair), id: String::new() };
        key.id = hex::encode(Sha256::digest(canonical(&key.public())));
        Ok(key)
    }

    /// As it stands in a root.
    #[must_use]
    pub fn public(&self) -> Value {
        let public = hex::encode(self.pair.public_key().as_ref());
        json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": public } })
    }

    fn sign(&self, signed: &Value) -> Value {
        json!({ "keyid": self.id, "sig": hex::encode(self.pair.sign(&canonical(signed)).as_ref()) })
    }
}

/// The four top-level roles of a repository, to be changed and signed anew.
#[derive(Debug, Clone)]
pub struct Forged {
    /// `repo` or `offline`.
    side: String,
    files: Files,
    roles: BTreeMap<&'static str, Value>,
    keys: BTreeMap<&'static str, Vec<Key>>,
}

/// In the order in which the next one names the one before.
const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

impl Forged {
    /// What is in a server's tree, with the keys from its key directory.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of_server(data: &Path, side: &str) -> Result<Self> {
        let files = files_of_server(data, side)?;
        let name = if side == "repo" { "online" } else { "offline" };
        let mut keys = BTreeMap::new();
        for role in ROLES {
            keys.insert(role, vec![Key::read(&data.join("keys").join(format!("{name}-{role}.der")))?]);
        }
        let mut forged = Self { side: side.to_owned(), files, roles: BTreeMap::new(), keys };
        let newest_root =
            (1..).take_while(|version| forged.files.contains_key(&forged.path(&format!("{version}.root")))).last();
        let root = forged.read(&format!("{}.root", newest_root.context("no root")?))?;
        let timestamp = forged.read("timestamp")?;
        let snapshot = forged.read(&format!("{}.snapshot", timestamp["meta"]["snapshot.json"]["version"]))?;
        let targets = forged.read(&format!("{}.targets", snapshot["meta"]["targets.json"]["version"]))?;
        for (role, signed) in ROLES.into_iter().zip([root, targets, snapshot, timestamp]) {
            forged.roles.insert(role, signed);
        }
        Ok(forged)
    }

    /// Where a role's file is, such as `1.root`.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        format!("{}/metadata/{name}.json", self.side)
    }

    /// What is served.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What is served, to be changed without being signed.
    pub fn files_mut(&mut self) -> &mut Files {
        &mut self.files
    }

    /// What a role says; changes count when it is published.
    ///
    /// # Errors
    /// There is no such role.
    pub fn role(&mut self, role: &str) -> Result<&mut Value> {
        self.roles.get_mut(role).with_context(|| role.to_owned())
    }

    /// The version of a role.
    #[must_use]
    pub fn version(&self, role: &str) -> u64 {
        self.roles.get(role).and_then(|signed| signed["version"].as_u64()).unwrap_or_default()
    }

    /// What a role is signed with from now on; the root does not learn of it by this.
    pub fn sign_with(&mut self, role: &'static str, keys: Vec<Key>) {
        self.keys.insert(role, keys);
    }

    /// The keys that a role is signed with.
    #[must_use]
    pub fn keys(&self, role: &str) -> Vec<Key> {
        self.keys.get(role).cloned().unwrap_or_default()
    }

    /// Lets the root name these keys for a role, and signs it with them.
    ///
    /// # Errors
    /// There is no root.
    pub fn entrust(&mut self, role: &'static str, keys: Vec<Key>, threshold: u64) -> Result<()> {
        let root = self.role("root")?;
        for key in &keys {
            root["keys"][&key.id] = key.public();
        }
        let ids: Vec<&String> = keys.iter().map(|key| &key.id).collect();
        root["roles"][role] = json!({ "keyids": ids, "threshold": threshold });
        self.sign_with(role, keys);
        Ok(())
    }

    /// Signs a role as its next version, and whatever names it.
    ///
    /// # Errors
    /// There is no such role.
    pub fn publish(&mut self, role: &str) -> Result<()> {
        let next = self.version(role) + 1;
        self.publish_as(role, next)
    }

    /// The same as a version of one's choice.
    ///
    /// # Errors
    /// There is no such role.
    pub fn publish_as(&mut self, role: &str, version: u64) -> Result<()> {
        self.role(role)?["version"] = version.into();
        let signed = self.role(role)?.clone();
        let signatures: Vec<Value> = self.keys(role).iter().map(|key| key.sign(&signed)).collect();
        self.put(role, &json!({ "signed": signed, "signatures": signatures }))
    }

    /// Serves this as a role's file, and lets what names it name it; that has to be published next.
    ///
    /// # Errors
    /// There is no such role.
    pub fn put(&mut self, role: &str, file: &Value) -> Result<()> {
        let bytes = serde_json::to_vec(file)?;
        let version = file["signed"]["version"].clone();
        let named = json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": hex::encode(Sha256::digest(&bytes)) } });
        match role {
            "targets" => self.role("snapshot")?["meta"]["targets.json"] = named,
            "snapshot" => self.role("timestamp")?["meta"]["snapshot.json"] = named,
            _ => {}
        }
        let name = if role == "timestamp" { role.to_owned() } else { format!("{version}.{role}") };
        self.files.insert(self.path(&name), bytes);
        Ok(())
    }

    /// What is served as a role's file.
    ///
    /// # Errors
    /// It is not there, or no metadata.
    pub fn file(&self, name: &str) -> Result<Value> {
        let bytes = self.files.get(&self.path(name)).with_context(|| name.to_owned())?;
        Ok(serde_json::from_slice(bytes)?)
    }

    fn read(&self, name: &str) -> Result<Value> {
        Ok(self.file(name)?["signed"].clone())
    }
}

/// Canonical JSON (OLPC's): what signatures are over.
fn canonical(value: &Value) -> Vec<u8> {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(members) => {
                let sorted: BTreeMap<_, _> = members.iter().collect();
                out.push('{');
                for (index, (name, member)) in sorted.into_iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    text(name, out);
                    out.push(':');
                    write(member, out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write(item, out);
                }
                out.push(']');
            }
            Value::String(string) => text(string, out),
            other => out.push_str(&other.to_string()),
        }
    }
    fn text(string: &str, out: &mut String) {
        out.push('"');
        out.push_str(&string.replace('\\', "\\\\").replace('"', "\\\""));
        out.push('"');
    }
    let mut out = String::new();
    write(value, &mut out);
    out.into_bytes()
}
