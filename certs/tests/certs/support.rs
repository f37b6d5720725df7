//! What the tests share: moments, a lab chain, and the vendor's real one where the data is present.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use certs::lab::Chain;
use certs::{Anchors, DEFAULT_ANCHOR};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A moment within the validity of the lab's default chain.
pub(crate) fn noon() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

/// RSA keys take long to make; most tests need no fresh ones.
pub(crate) fn chain() -> &'static Chain {
    static CHAIN: OnceLock<Chain> = OnceLock::new();
    CHAIN.get_or_init(|| Chain::builder().loopback().build().unwrap())
}

/// The folder of real data, or a printed reason to skip.
pub(crate) fn shared(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("POSTURE_FEED_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = root.join("data").join(folder);
    if !folder.is_dir() {
        eprintln!("skipped: {} is absent; set POSTURE_FEED_SHARED to try the real data", folder.display());
        return None;
    }
    Some(folder)
}

/// The chain that www.cisco.com served in 2023, leaf and intermediate, and the root's own certificate.
pub(crate) fn real_chain() -> Option<(Vec<CertificateDer<'static>>, CertificateDer<'static>)> {
    let folder = shared("certs")?;
    let read = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let presented = vec![read("www.cisco.com_2023.pem"), read("HydrantID_Server_CA_O1.pem")];
    Some((presented, read("IdenTrust_Commercial_Root_CA_1.pem")))
}

pub(crate) fn default_anchors() -> Anchors {
    Anchors::load(&[DEFAULT_ANCHOR.to_owned()], Path::new(".")).unwrap()
}
