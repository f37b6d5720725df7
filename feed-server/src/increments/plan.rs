//! What is worth preparing: a pure function of what is served and what was served before.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bundles::increment::base_of;
use bundles::release::FileRef;
use bundles::{Digest, Manifest};

use super::history;
use crate::config::Increments;
use crate::publish::{Published, Served};
use crate::store::{Coding, Form, MetadataHistory};

/// A form that should be there.
pub type Wanted = Form;

/// Names of files that are compressed already; of those, another form saves nothing.
const COMPRESSED: [&str; 12] =
    [".gz", ".tgz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".cab", ".msi", ".dmg", ".pkg", ".exe"];

/// What should be there, in the order in which it is useful: what holders of the newest releases lack comes first.
///
/// `releases` are the retained ones, newest first, each with the digest of its manifest's bytes; of these the published one
/// and older ones count.
#[must_use]
pub fn plan(
    published: &Published,
    releases: &[(Manifest, Digest)],
    history: &MetadataHistory,
    settings: &Increments,
) -> Vec<Wanted> {
    let mut planning = Planning { settings, wanted: Vec::new(), seen: HashSet::new(), lengths: lengths(published) };
    let at = releases.iter().position(|(manifest, _)| Some(manifest.serial) == published.serial());
    let releases = at.map_or(&[][..], |at| &releases[at..]);
    if let Some(((newest, stable), earlier)) = releases.split_first() {
        for (then, then_stable) in earlier.iter().take(settings.from_last) {
            for (payload, base) in bases(newest, then) {
                planning.increment(payload.sha256, base.sha256);
            }
            planning.increment(*stable, *then_stable);
        }
    }
    for (name, newest) in history::current(published) {
        let earlier = history.get(&name).into_iter().flatten();
        let reach = settings.from_last.saturating_mul(history::WITH_A_RELEASE);
        for base in earlier.filter(|base| **base != newest.sha256).take(reach) {
            planning.wants(newest.sha256, Coding::Dcz { base: *base });
        }
    }
    for coding in [Coding::Zstd, Coding::Gzip] {
        for content in whole(published, releases) {
            planning.wants(content, coding);
        }
    }
    planning.wanted
}

/// The payloads of a release, each with the earlier one that it can be told by.
fn bases<'m>(newest: &'m Manifest, then: &'m Manifest) -> impl Iterator<Item = (&'m FileRef, &'m FileRef)> {
    newest.components.iter().flat_map(|now| {
        let then = then.components.iter().find(|then| then.component == now.component);
        let then = then.map_or(&[][..], |then| &then.files);
        now.files.iter().filter_map(|file| Some((&file.payload, base_of(&file.payload, &now.files, then)?)))
    })
}

/// What is to be had compressed: what is text, and the newest release's payloads, in the order of their paths.
fn whole(published: &Published, releases: &[(Manifest, Digest)]) -> Vec<Digest> {
    let digests = |manifest: &Manifest| manifest.files().into_iter().map(|file| file.sha256).collect::<Vec<_>>();
    let newest: HashSet<Digest> = releases.iter().take(1).flat_map(|(manifest, _)| digests(manifest)).collect();
    // Who asks for an older release's content is rare; where it was prepared when it was the newest, it still is.
    let older: HashSet<Digest> = releases.iter().skip(1).flat_map(|(manifest, _)| digests(manifest)).collect();
    let mut paths: Vec<(&str, &Arc<Served>)> = published.served().collect();
    paths.sort_unstable_by_key(|(path, _)| *path);
    let may_gain = |(path, served): &(&str, &Arc<Served>)| {
        let is_text = matches!(served.content_type, "application/json" | "application/xml")
            || served.content_type.starts_with("text/");
        let is_compressed = COMPRESSED.iter().any(|ending| path.to_ascii_lowercase().ends_with(ending));
        let is_of_newest = newest.contains(&served.sha256);
        !is_compressed && (is_of_newest || (is_text && !older.contains(&served.sha256)))
    };
    paths.into_iter().filter(may_gain).map(|(_, served)| served.sha256).collect()
}

fn lengths(published: &Published) -> HashMap<Digest, u64> {
    published.served().map(|(_, served)| (served.sha256, served.length)).collect()
}

struct Planning<'a> {
    settings: &'a Increments,
    wanted: Vec<Wanted>,
    seen: HashSet<Wanted>,
    /// Of everything that is served.
    lengths: HashMap<Digest, u64>,
}

impl Planning<'_> {
    /// An increment over content that is served as well.
    fn increment(&mut self, of: Digest, base: Digest) {
        if of != base && self.fits(&base) {
            self.wants(of, Coding::Dcz { base });
        }
    }

    fn wants(&mut self, of: Digest, coding: Coding) {
        let form = Form { of, coding };
        if self.fits(&of) && self.seen.insert(form) {
            self.wanted.push(form);
        }
    }

    fn fits(&self, content: &Digest) -> bool {
        self.lengths.get(content).is_some_and(|length| (1..=self.settings.max_payload).contains(length))
    }
}
