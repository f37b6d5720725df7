//! Whether new releases are held back here, since when and why: somebody holds them, or content was withdrawn that upstream
//! still serves.

use std::collections::BTreeSet;

use bundles::release::FileRef;
use bundles::{Digest, FileName, Manifest, Serial};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Batch, Store, StoreError, Table, Who};

const HOLDING: &str = "holding";

/// What keeps new releases from being made or followed; nothing where both are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Holding {
    /// Somebody holds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Content was withdrawn, and is not to come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<Withdrawal>,
}

/// Somebody holds releases, until they are resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hold {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Who.
    pub by: Who,
    /// Why, in their words.
    pub reason: String,
}

/// Old content was released again, and what it took the place of is withdrawn: until upstream serves nothing of that any
/// more, or releases are resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawal {
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Who did it.
    pub by: Who,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The release that was made of the old content.
    #[schema(value_type = u64)]
    pub serial: Serial,
    /// The release that it has the content of.
    #[schema(value_type = u64)]
    pub content_of: Serial,
    /// What is not to come back.
    pub files: Vec<WithdrawnFile>,
}

/// Content that was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct WithdrawnFile {
    /// What it was called.
    #[schema(value_type = String)]
    pub name: FileName,
    /// Its digest.
    #[schema(value_type = String)]
    pub sha256: Digest,
}

impl From<&FileRef> for WithdrawnFile {
    fn from(file: &FileRef) -> Self {
        Self { name: file.name.clone(), sha256: file.sha256 }
    }
}

impl Holding {
    /// Whether anything keeps new releases from being made.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.is_some() || self.withdrawal.is_some()
    }

    /// Since when.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        let since = [self.hold.as_ref().map(|hold| hold.since), self.withdrawal.as_ref().map(|it| it.since)];
        since.into_iter().flatten().min()
    }

    /// The sentence about a release that would bring what `files` are, and is held back; `None` where it may be made.
    #[must_use]
    pub fn keeps_back<'a>(&self, files: impl IntoIterator<Item = &'a FileRef>) -> Option<String> {
        if let Some(hold) = &self.hold {
            return Some(hold.sentence("new content is held back"));
        }
        let withdrawal = self.withdrawal.as_ref()?;
        let brought = withdrawal.among(files);
        (!brought.is_empty()).then(|| withdrawal.sentence(&brought))
    }
}

impl Hold {
    /// What is held, since when, by whom, why, and what ends it.
    #[must_use]
    pub fn sentence(&self, what: &str) -> String {
        let Self { since, by, reason } = self;
        format!(
            "{what}: {by} holds releases since {since} ({reason}); `feed-server release resume --reason TEXT` ends it"
        )
    }
}

impl Withdrawal {
    /// What of it is among these, by name.
    #[must_use]
    pub fn among<'a>(&self, files: impl IntoIterator<Item = &'a FileRef>) -> BTreeSet<FileName> {
        let withdrawn: BTreeSet<Digest> = self.files.iter().map(|file| file.sha256).collect();
        files.into_iter().filter(|file| withdrawn.contains(&file.sha256)).map(|file| file.name.clone()).collect()
    }

    /// What is kept back, since when, by whom, and what ends it.
    #[must_use]
    pub fn sentence(&self, brought: &BTreeSet<FileName>) -> String {
        let Self { since, by, content_of, serial, reason, .. } = self;
        let names: Vec<_> = brought.iter().map(FileName::as_str).collect();
        let why = reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!(
            "new content is held back: it has {} still, withdrawn by {by} at {since}{why} with release {serial}, which has the \
             content of {content_of} again; it ends when that is gone or another one, or with `feed-server release resume \
             --reason TEXT`",
            names.join(", ")
        )
    }
}

/// What of the newest release goes when `again` takes its place: archives, payloads and the vendor's zip that `again` does
/// not have; the index alone where nothing else differs. What was withdrawn before and is not in `again` stays so.
#[must_use]
pub fn withdrawn(newest: &Manifest, again: &Manifest, before: Option<&Withdrawal>) -> Vec<WithdrawnFile> {
    let kept: BTreeSet<Digest> = again.files().iter().map(|file| file.sha256).collect();
    let index = newest.index.as_ref().map(|index| index.sha256);
    let files = newest.files();
    let gone = files.iter().filter(|file| !kept.contains(&file.sha256));
    let (of_index, gone): (Vec<&FileRef>, Vec<&FileRef>) = gone.copied().partition(|file| Some(file.sha256) == index);
    let gone = if gone.is_empty() { of_index } else { gone };
    let mut all: BTreeSet<WithdrawnFile> = gone.into_iter().map(WithdrawnFile::from).collect();
    let before = before.into_iter().flat_map(|before| &before.files);
    all.extend(before.filter(|file| !kept.contains(&file.sha256)).cloned());
    all.into_iter().collect()
}

impl Store {
    /// Whether new releases are held back, and why.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn holding(&self) -> Result<Holding, StoreError> {
        Ok(self.state(HOLDING)?.unwrap_or_default())
    }
}

impl Batch {
    /// Puts what holds releases back, in place of what did.
    ///
    /// # Errors
    /// As [`Batch::put`].
    pub fn put_holding(&mut self, holding: &Holding) -> Result<(), StoreError> {
        if holding.is_held() {
            return self.put_state(HOLDING, holding);
        }
        self.remove(Table::State, HOLDING);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, start};

    fn withdrawal(newest: &Manifest, again: &Manifest, before: Option<&Withdrawal>) -> Withdrawal {
        let files = withdrawn(newest, again, before);
        let (serial, content_of) = (newest.serial, again.serial);
        Withdrawal { since: start(), by: Who::Program, reason: None, serial, content_of, files }
    }

    #[test]
    fn what_is_withdrawn_is_what_the_other_release_lacks() {
        let mut world = World::new();
        let [first, second, third] = [(); 3].map(|()| world.release());
        let gone = withdrawal(&second, &first, None);
        assert!(gone.among(first.files()).is_empty());
        let index = second.index.as_ref().map(|index| index.sha256);
        let kept: Vec<_> = first.files().iter().map(|file| file.sha256).collect();
        for file in second.files() {
            let is_withdrawn = gone.files.iter().any(|it| it.sha256 == file.sha256);
            assert_eq!(is_withdrawn, !kept.contains(&file.sha256) && Some(file.sha256) != index, "{}", file.name);
        }
        // What was withdrawn before stays so, unless it is what is wanted now.
        let both = withdrawal(&third, &first, Some(&gone));
        assert!(!both.among(second.files()).is_empty() && !both.among(third.files()).is_empty());
        let back = withdrawal(&first, &second, Some(&gone));
        assert!(back.among(second.files()).is_empty() && !back.among(first.files()).is_empty());
    }

    #[test]
    fn an_index_alone_is_withdrawn_where_nothing_else_differs() {
        let mut world = World::new();
        let first = world.release();
        let mut second = first.clone();
        second.index.as_mut().unwrap().sha256 = Digest::of(b"another");
        let index = second.index.as_ref().unwrap();
        let gone = withdrawal(&second, &first, None);
        assert_eq!(gone.files, [WithdrawnFile { name: index.name.clone(), sha256: index.sha256 }]);
    }

    #[test]
    fn a_hold_keeps_everything_back_and_a_withdrawal_what_is_in_it() {
        let mut world = World::new();
        let [first, second] = [(); 2].map(|()| world.release());
        assert_eq!(Holding::default().keeps_back(second.files()), None);
        let withdrawal = Some(withdrawal(&second, &first, None));
        let withdrawn = Holding { withdrawal, hold: None };
        assert_eq!(withdrawn.keeps_back(first.files()), None);
        let sentence = withdrawn.keeps_back(second.files()).unwrap();
        assert!(sentence.contains("release resume") && sentence.contains(".tar.gz"), "{sentence}");
        let hold = Hold { since: start(), by: Who::Nobody, reason: "bad chart".to_owned() };
        let held = Holding { hold: Some(hold), withdrawal: None };
        assert!(held.keeps_back(first.files()).unwrap().contains("bad chart"));
        assert_eq!(held.since(), Some(start()));
    }
}
