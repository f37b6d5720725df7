//! Names that are known for what they are. What else looks like an address or a host's name is found in the text itself.

use bundles::support::{Kind, Redaction};

use super::facts::Facts;
use crate::config::Config;
use crate::store::Who;
use crate::store::audit::{Act, AuditRecord};
use crate::store::evidence::ChainRecord;

/// A country's code names nobody.
const SHORTEST: usize = 3;

pub(super) fn add(redaction: &mut Redaction, config: Option<&Config>, facts: Option<&Facts>) {
    redaction.keep(crate::VERSION);
    redaction.add(Kind::Host, &rustix::system::uname().nodename().to_string_lossy());
    if let Some(config) = config {
        configured(redaction, config);
    }
    let Some(facts) = facts else { return };
    for release in &facts.release_views {
        release.components.iter().for_each(|component| redaction.keep(&component.version));
    }
    for headend in facts.headends.iter().flatten() {
        redaction.add(Kind::Headend, &headend.id);
        let reports = headend.report.iter().flat_map(|report| report.report.components.values());
        reports.for_each(|version| redaction.keep(&version.to_string()));
    }
    for token in &facts.tokens {
        redaction.add(Kind::Token, &token.name);
        token.made_by.iter().for_each(|who| somebody(redaction, who));
    }
    for record in facts.audit_view.iter().flat_map(|audit| &audit.records) {
        recorded(redaction, record);
    }
    for import in facts.import_views.iter().flat_map(|imports| &imports.imports) {
        import.token.iter().for_each(|token| redaction.add(Kind::Token, token));
        import.user.iter().for_each(|user| redaction.add(Kind::Name, user));
        import.versions.values().for_each(|version| redaction.keep(&version.to_string()));
    }
    let Ok(status) = &facts.status else { return };
    status.holding.hold.iter().for_each(|hold| somebody(redaction, &hold.by));
    status.holding.withdrawal.iter().for_each(|withdrawal| somebody(redaction, &withdrawal.by));
    status
        .update_information
        .versions
        .iter()
        .filter_map(|row| row.version.as_ref())
        .for_each(|it| redaction.keep(&it.to_string()));
    for chain in status.upstream_chain.iter().flat_map(|presented| &presented.chains) {
        certified(redaction, chain);
    }
    if let Some(certificate) = &status.server_certificate {
        certificate.names.iter().for_each(|name| certified_for(redaction, name));
        distinguished(redaction, &certificate.subject);
        distinguished(redaction, &certificate.issuer);
    }
}

/// What stands in the configuration; hosts of several labels, URLs and addresses are found in its text.
fn configured(redaction: &mut Redaction, config: &Config) {
    for allowed in &config.upstream.allowed_hosts {
        redaction.add(Kind::Host, &allowed.host);
    }
    let proxy = &config.upstream.proxy;
    proxy.username.iter().for_each(|name| redaction.add(Kind::Name, name));
    for entry in &proxy.bypass {
        let host =
            entry.trim_start_matches('*').trim_start_matches('.').split([':', '/', '[']).next().unwrap_or_default();
        redaction.discover(&format!("https://{host}/"));
    }
}

fn recorded(redaction: &mut Redaction, record: &AuditRecord) {
    let doing = &record.doing;
    somebody(redaction, &doing.who);
    let Some(object) = &doing.object else { return };
    match doing.act {
        Act::TokenAdd | Act::TokenRevoke => redaction.add(Kind::Token, object),
        Act::HeadendAdd | Act::HeadendToken | Act::HeadendRemove | Act::Report => redaction.add(Kind::Headend, object),
        Act::IseAdd | Act::IseRemove => redaction.add(Kind::Name, object),
        // Of what was refused it is a headend's id or a token's name, if it is no number or role.
        Act::Read | Act::Other
            if object.parse::<u64>().is_err() && !["online", "offline"].contains(&object.as_str()) =>
        {
            redaction.add(Kind::Headend, object);
        }
        Act::Read
        | Act::Other
        | Act::Sync
        | Act::Import
        | Act::ReleaseHold
        | Act::ReleaseResume
        | Act::ReleaseRepublish
        | Act::KeysInit
        | Act::KeysChange
        | Act::KeysCancel
        | Act::KeysSign
        | Act::Backup
        | Act::Login
        | Act::Logout
        | Act::AuditForget => {}
    }
}

fn somebody(redaction: &mut Redaction, who: &Who) {
    match who {
        Who::Token { name } => redaction.add(Kind::Token, name),
        Who::User { name } => redaction.add(Kind::Name, name),
        Who::Headend { id } => redaction.add(Kind::Headend, id),
        Who::Nobody | Who::Program => {}
    }
}

fn certified(redaction: &mut Redaction, chain: &ChainRecord) {
    redaction.discover(&format!("https://{}/", chain.host));
    for certificate in &chain.certificates {
        certificate.sans.iter().for_each(|name| certified_for(redaction, name));
        distinguished(redaction, &certificate.subject);
        distinguished(redaction, &certificate.issuer);
    }
}

/// An alternative name: a host's, or an address.
fn certified_for(redaction: &mut Redaction, name: &str) {
    redaction.discover(&format!("https://{}/", name.trim_start_matches("*.")));
}

/// The parts of `C=CH, O=Example Bank, CN=Inspection`.
fn distinguished(redaction: &mut Redaction, name: &str) {
    let parts = name.split(", ").filter_map(|part| part.split_once('=')).map(|(_, value)| value);
    parts.filter(|part| part.chars().count() >= SHORTEST).for_each(|part| redaction.add(Kind::Name, part));
}
