//! The doctor: takes every step of a poll towards the server, tells what it sees at each, and changes nothing. Metadata is
//! verified against what is held, and what is learnt is kept in memory only; nothing is reported.

mod chain;
mod disk;
mod line;
mod report;
mod tunnel;
mod way;

use std::path::Path;
use std::time::Instant;

use bundles::diagnosis::Verdict;
use bundles::report::Failure;
use bundles::signed::RoleFacts;
use bundles::{Reason, Reasoned as _};
use url::Url;

pub use bundles::diagnosis::Mark;
pub use chain::ChainFacts;
pub use disk::DirectoryFacts;
pub use line::{Check, Line};
pub use report::{ClockFacts, Report, RepositoryFacts, ServerFacts};

use crate::clock::Edge;
use crate::fetch::FetchError;
use crate::proxy::Proxy;
use crate::refusals::{Asker, Refusals};
use crate::report::{ReportError, may_carry_token};
use crate::repository::{Repository, RepositoryError, Side, Store, below};
use crate::settings::{Local, Remote, Settings, SettingsError};
use line::Notes;
use way::Way;

/// Seconds that a clock may be off without a word. NTP keeps it within one; people set clocks by hand within five minutes.
const TOLERATED_SECONDS: u64 = 300;

/// Seconds beyond which signatures and certificates are judged wrongly: online metadata lives for days.
const TOO_MANY_SECONDS: u64 = 86_400;

/// Examines this headend's way to its server; `tell` hears each line as it is made.
pub async fn examine(config: Option<&Path>, data: &Path, edge: Edge, tell: impl FnMut(&Line) + 'static) -> Report {
    let mut notes = Notes::new(tell);
    let mut report = Report::new(edge.now());
    match Local::load(config, data) {
        Ok(local) => with(&local, edge, &mut notes, &mut report).await,
        Err(error) => notes.note(Line::failed(Check::Settings, Failure::of(&error))),
    }
    notes.rest_not_tried();
    report.verdict = Verdict::of(notes.into_lines());
    report
}

async fn with(local: &Local, edge: Edge, notes: &mut Notes, report: &mut Report) {
    let settings = settings(local, notes);
    let server = local.server().cloned();
    let way = server.as_ref().and_then(|server| match opened(local, server, edge) {
        Ok(opened) => Some((server, opened)),
        // The same mistake ended the settings, where there are some.
        Err(error) => {
            notes.note_once(Line::failed(Check::Settings, Failure::of(&error)));
            None
        }
    });
    let mut offset = None;
    if let Some((server, (proxy, way))) = &way {
        let enrolment = local.enrolment.as_ref();
        report.server = Some(ServerFacts {
            url: (*server).clone(),
            proxy: proxy.as_ref().map(ToString::to_string),
            repository: enrolment.map(|enrolment| enrolment.repository.path()),
            headend: settings.as_ref().map(|settings| settings.id.clone()),
            config_file: local.config_file.clone(),
        });
        // Before enrolling, the side that most headends are enrolled with.
        let side = enrolment.map_or(Side::Online, |enrolment| enrolment.repository);
        let answered = way.walk(side, notes).await;
        report.chains = way.chains();
        let server_says = answered.as_ref().and_then(|head| head.date);
        offset = server_says.map(|date| date.as_second() - edge.now().as_second());
        if answered.is_some() {
            let Some(settings) = &settings else {
                for step in [Check::Repository, Check::Report] {
                    notes.note(Line::new(step, Mark::None, "this headend is not enrolled"));
                }
                return finish(local, edge, offset, notes, report);
            };
            if let Some(remote) = &settings.remote {
                report.repository = repository(settings, remote, edge, notes).await;
                if report.repository.is_some() {
                    token(settings, remote, notes).await;
                }
            }
        }
    } else if settings.is_some() {
        notes.network_not_needed("there is no server: releases come with `feed-client import`");
    }
    finish(local, edge, offset, notes, report);
}

fn opened(local: &Local, server: &Url, edge: Edge) -> Result<(Option<Proxy>, Way), SettingsError> {
    let proxy = local.proxy(server)?;
    // The way itself is tried all the same: it is an operator who asks.
    let refusals = Refusals::new(Asker::Timer, &local.paths, edge);
    let held = proxy.as_ref().and_then(|proxy| refusals.refusal(proxy).transpose());
    let held = held.map(|held| held.map_or_else(FetchError::from, FetchError::proxy_held).whole_message());
    let (verifier, http) = (local.verifier()?, local.http(server)?);
    let way = Way { server: server.clone(), proxy: proxy.clone(), held, verifier, http };
    Ok((proxy, way))
}

fn settings(local: &Local, notes: &mut Notes) -> Option<Settings> {
    let file = local
        .config_file
        .as_ref()
        .map_or_else(|| "no configuration file".to_owned(), |file| file.display().to_string());
    match local.clone().settings() {
        Ok(settings) => {
            let seen = format!("{file}; enrolled as {} with the repository {}", settings.id, settings.side);
            let line = Line::new(Check::Settings, Mark::Ok, seen);
            notes.note(match &settings.remote {
                Some(remote) => line.about(&remote.server),
                None => line,
            });
            Some(settings)
        }
        // The way to a server is worth a look before enrolling, too.
        Err(error @ SettingsError::NotEnrolled) if local.server().is_some() => {
            notes.note(Line::new(Check::Settings, Mark::Warning, format!("{file}; {}", error.whole_message())));
            None
        }
        Err(error) => {
            notes.note(Line::failed(Check::Settings, Failure::of(&error)));
            None
        }
    }
}

async fn repository(settings: &Settings, remote: &Remote, edge: Edge, notes: &mut Notes) -> Option<RepositoryFacts> {
    let (start, now) = (Instant::now(), edge.now());
    let store = Store::looking_at(&settings.paths.metadata(settings.side));
    let read = async {
        let repository =
            Repository::refresh(&remote.http, &remote.location, &settings.pinned_root, &store, now).await?;
        let roles = repository.verified().roles().to_vec();
        let serial = repository.stable(None).await?.manifest().serial;
        Ok::<_, RepositoryError>(RepositoryFacts { serial, roles })
    };
    match read.await {
        Ok(facts) => {
            let seen = format!("release {}, signed by keys that the enrolled root vouches for", facts.serial);
            let line = Line::new(Check::Repository, Mark::Ok, seen).about(settings.side).took(start.elapsed());
            notes.note(line.with(facts.roles.iter().map(RoleFacts::to_string)));
            Some(facts)
        }
        Err(error) => {
            notes.note(Line::failed(Check::Repository, Failure::of(&error)).about(settings.side).took(start.elapsed()));
            None
        }
    }
}

/// Sends an empty report, which no server keeps: it looks at the token first, and then refuses what is no report.
async fn token(settings: &Settings, remote: &Remote, notes: &mut Notes) {
    let told = match (&settings.token, settings.may_report()) {
        (Some(_), _) => "the token is this headend's; nothing was reported",
        (None, true) => "the certificate is this headend's; nothing was reported",
        (None, false) => {
            let seen = "there is neither a token nor a certificate, so that nothing is reported";
            notes.note(Line::new(Check::Report, Mark::None, seen));
            return;
        }
    };
    let url = below(&remote.server, &format!("api/v1/headends/{}/report", settings.id));
    let start = Instant::now();
    let asked = if may_carry_token(&remote.server) {
        remote.http.try_report(&url, settings.token.as_ref()).await.map_err(ReportError::Fetch)
    } else {
        Err(ReportError::Cleartext { server: remote.server.clone() })
    };
    let line = match asked {
        Ok(()) => Line::new(Check::Report, Mark::Ok, told),
        Err(error) => Line::failed(Check::Report, Failure::of(&error)),
    };
    notes.note(line.about(&settings.id).took(start.elapsed()));
}

fn finish(local: &Local, edge: Edge, offset: Option<i64>, notes: &mut Notes, report: &mut Report) {
    notes.rest_of_network_not_tried();
    notes.note(import_line(local));
    report.disk = disk::examine(&local.paths, notes);
    let clock = ClockFacts { now: edge.now(), offset_seconds: offset };
    notes.note(clock_line(&clock));
    report.clock = Some(clock);
}

/// Whether bundles could be imported, as far as can be told without one.
fn import_line(local: &Local) -> Line {
    if local.enrolment.is_none() {
        return Line::new(Check::Import, Mark::None, "this headend is not enrolled");
    }
    match local.import_root_facts() {
        Some(root) => {
            let seen = format!("bundles signed under root version {}, SHA-256 {}", root.version, root.fingerprint);
            Line::new(Check::Import, Mark::Ok, seen)
        }
        None => Line::new(Check::Import, Mark::None, SettingsError::NoOfflineRoot.to_string()),
    }
}

fn clock_line(clock: &ClockFacts) -> Line {
    let now = clock.now.strftime("%Y-%m-%dT%H:%M:%SZ");
    let Some(offset) = clock.offset_seconds else {
        return Line::new(Check::Clock, Mark::Ok, format!("{now}; not compared with the server's"));
    };
    let apart = match offset {
        0 => "as the server's".to_owned(),
        1.. => format!("{offset} s behind the server's"),
        ..0 => format!("{} s ahead of the server's", offset.unsigned_abs()),
    };
    let seen = format!("{now}, {apart}");
    let apart_by = offset.unsigned_abs();
    if apart_by > TOO_MANY_SECONDS {
        let message = format!(
            "this machine's clock says {seen}; set it by NTP (UDP 123): certificates and signatures are judged by it"
        );
        return Line::failed(Check::Clock, Failure::new(Reason::Clock, message));
    }
    if apart_by > TOLERATED_SECONDS {
        return Line::new(Check::Clock, Mark::Warning, format!("{seen}; set it by NTP (UDP 123)"));
    }
    Line::new(Check::Clock, Mark::Ok, seen)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_clock_is_told_by_how_far_it_is_off() {
        let line = |offset| clock_line(&ClockFacts { now: Timestamp::UNIX_EPOCH, offset_seconds: offset });
        for (offset, mark, words) in [
            (None, Mark::Ok, "not compared"),
            (Some(0), Mark::Ok, "as the server's"),
            (Some(-300), Mark::Ok, "300 s ahead"),
            (Some(301), Mark::Warning, "301 s behind"),
            (Some(-86_400), Mark::Warning, "NTP"),
        ] {
            let line = line(offset);
            assert!(line.result == mark && line.seen.contains(words), "{line:?}");
        }
        let failure = line(Some(i64::MIN)).failure.unwrap();
        assert_eq!(failure.reason, Reason::Clock);
        assert!(failure.message.contains("1970-01-01T00:00:00Z"), "{failure:?}");
    }
}
