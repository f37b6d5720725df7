//! Who may vouch for upstream's hosts: one set of roots for all, and others for single hosts.

use std::collections::BTreeMap;

use certs::Anchors;

use super::UpstreamError;
use crate::config;

#[cfg(test)]
mod tests;

/// By host, as URLs write it.
pub type ByHost = BTreeMap<String, Anchors>;

/// The anchors of `[upstream] trust_anchors`, and by host those that `allowed_hosts` gives of its own.
///
/// # Errors
/// A name is unknown, or a file cannot be used.
pub fn load(config: &config::Upstream) -> Result<(Anchors, ByHost), UpstreamError> {
    let default = Anchors::load(&config.trust_anchors, &config.base_dir).map_err(UpstreamError::Anchors)?;
    let mut hosts = ByHost::new();
    for allowed in &config.allowed_hosts {
        let Some(anchors) = &allowed.trust_anchors else { continue };
        let loaded = Anchors::load(anchors, &config.base_dir);
        let loaded = loaded.map_err(|source| UpstreamError::HostAnchors { host: allowed.host.clone(), source })?;
        hosts.insert(allowed.host.clone(), loaded);
    }
    Ok((default, hosts))
}
