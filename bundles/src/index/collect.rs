//! From elements to entries.

use std::collections::HashSet;

use url::Url;

use super::patterns::{Decision, stem};
use super::scan::{Element, Field, Leaf, Place};
use super::values::{self, Sureness};
use super::{Entry, IndexError, Patterns, Unused, UnusedKind};
use crate::{Checksum, Component, FileName, Limits, Version};

/// A feed of this many values that are not understood is not understood at all; the rest is only counted.
const MAX_UNUSED: usize = 1_000;

/// More texts than these say nothing more about which component an entry is.
const MAX_HINTS: usize = 16;

/// Gathers entries while the walk hands over elements, children before parents.
pub(super) struct Collector<'a> {
    base: &'a Url,
    patterns: &'a Patterns,
    limits: &'a Limits,
    found: Vec<Found>,
    /// With where it stands, since parents end after their children and people read from the top.
    unused: Vec<(usize, Unused)>,
    unused_left_out: usize,
}

/// An entry whose surroundings are not all known yet.
pub(super) struct Found {
    pub(super) entry: Entry,
    component: Option<(Component, Decision)>,
}

/// A field of a group, with what the child element that it came from says of it.
struct Member {
    field: Field,
    hints: Vec<String>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(base: &'a Url, patterns: &'a Patterns, limits: &'a Limits) -> Self {
        Self { base, patterns, limits, found: Vec::new(), unused: Vec::new(), unused_left_out: 0 }
    }

    /// Takes an element that ended, or gives it back as a mere field of its parent.
    pub(super) fn ended(&mut self, element: Element) -> Result<Option<Element>, IndexError> {
        if element.is_leaf && !element.is_root && !stands_alone(&element) {
            return Ok(Some(element));
        }
        let Element { name, path, begin, attributes, text, leaves, is_root, .. } = element;
        let mut members: Vec<Member> =
            attributes.into_iter().chain(text).map(|field| Member { field, hints: Vec::new() }).collect();
        for Leaf { attributes, text } in leaves {
            let hints = hints_of(attributes.iter());
            members.push(Member { field: text, hints });
            for attribute in attributes {
                self.not_used(&path, &attribute, None);
            }
        }
        let hints = hints_of(members.iter().map(|member| &member.field));
        let version = self.group(&name, &path, is_root, members, &hints)?;
        self.complete_inner(begin, &path, is_root, &hints, version);
        if self.found.len() > self.limits.index_entries {
            return Err(self.too_many());
        }
        Ok(None)
    }

    fn too_many(&self) -> IndexError {
        IndexError::TooLarge { what: "entries", limit: self.limits.index_entries as u64 }
    }

    /// Makes the entries of one element. Gives back its version where it has no entry of its own.
    fn group(
        &mut self,
        name: &str,
        path: &str,
        is_root: bool,
        members: Vec<Member>,
        hints: &[String],
    ) -> Result<Option<(Version, Field)>, IndexError> {
        let sized = members.iter().any(|m| is_promise(&m.field));
        let chosen = choose_locators(&members, sized);
        let (located, rest): (Vec<_>, Vec<_>) = members.into_iter().enumerate().partition(|(n, _)| chosen.contains(n));
        let mut rest: Vec<Field> = rest.into_iter().map(|(_, member)| member.field).collect();

        let mut files: Vec<Found> = Vec::new();
        for (_, member) in located {
            let Some(url) = self.resolve(&member.field)? else {
                self.not_used(path, &member.field, Some("it is the index itself"));
                continue;
            };
            let file = file_name(&url, &member.field, &rest)?;
            // Several addresses of one file in one element are mirrors of each other.
            if let Some(same) = files.iter_mut().find(|found| found.entry.name == file) {
                if same.entry.url != url {
                    self.not_used(path, &member.field, Some("another address of the same file"));
                }
                same.entry.places.push(member.field.place);
                continue;
            }
            let own: Vec<String> = member.hints.iter().chain(hints).cloned().collect();
            let subject = format!("{} {} {}", own.join(" "), name, member.field.label.trim_start_matches('@'));
            let component = self.patterns.by_name(&file).or_else(|| self.patterns.matching(&subject));
            let Field { value, line, place, .. } = member.field;
            if files.len() >= self.limits.index_entries {
                return Err(self.too_many());
            }
            files.push(Found { entry: Entry::new(url, value, file, path, line, place), component });
        }

        let alone = files.len() == 1;
        let version = take_version(&mut rest, files.len() > 1);
        if let [found] = files.as_mut_slice() {
            found.entry.checksum = take_checksum(&mut rest);
            found.entry.size = take_size(&mut rest);
        }
        // On a root, `version` is mostly the format's; it counts where all is about one component.
        let shared = !files.is_empty() && (!is_root || one_component(&files));
        if let (true, Some((version, _))) = (shared, &version) {
            for found in &mut files {
                found.entry.version = Some(version.clone());
            }
        }
        self.found.append(&mut files);
        for field in rest {
            let why = (!alone && is_promise(&field) && shared).then_some("several locators stand beside it");
            self.not_used(path, &field, why);
        }
        Ok(if shared { None } else { version })
    }

    /// Tells the entries within an element what it says: its version, where all of them are one component, and its
    /// names, where nothing nearer said which component they are.
    fn complete_inner(
        &mut self,
        begin: usize,
        path: &str,
        is_root: bool,
        hints: &[String],
        version: Option<(Version, Field)>,
    ) {
        // Elements end in their order, so what was found since this one began is what lies within it.
        let outside = self.found.partition_point(|found| found.entry.start() < begin);
        let inner = &mut self.found[outside..];
        if inner.is_empty() {
            if let Some((_, field)) = version {
                self.not_used(path, &field, None);
            }
            return;
        }
        if !is_root {
            let named = hints.join(" ");
            for found in inner.iter_mut().filter(|found| found.component.is_none()) {
                found.component = self.patterns.matching(&named);
            }
        }
        let Some((version, field)) = version else { return };
        if !is_root && one_component(inner) {
            for found in inner.iter_mut().filter(|found| found.entry.version.is_none()) {
                found.entry.version = Some(version.clone());
            }
        } else {
            self.not_used(path, &field, Some("it stands beside no locator"));
        }
    }

    /// The absolute URL of a locator; `None` where it is the index's own.
    fn resolve(&self, field: &Field) -> Result<Option<Url>, IndexError> {
        let locator = || field.value.chars().take(200).collect::<String>();
        let line = field.line;
        let mut url =
            self.base.join(&field.value).map_err(|source| IndexError::Locator { locator: locator(), line, source })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(IndexError::Scheme { locator: locator(), scheme: url.scheme().to_owned(), line });
        }
        url.set_fragment(None);
        let mut own = self.base.clone();
        own.set_fragment(None);
        Ok((url != own).then_some(url))
    }

    fn not_used(&mut self, path: &str, field: &Field, why: Option<&'static str>) {
        let Some(unused) = unused_of(path, field, why) else { return };
        if self.unused.len() < MAX_UNUSED {
            self.unused.push(unused);
        } else {
            self.unused_left_out += 1;
        }
    }

    /// The entries, each with its component, and what was not used.
    pub(super) fn finish(self) -> (Vec<Entry>, NotUsed) {
        let completed = |Found { mut entry, component }: Found| {
            entry.decide(component, self.patterns);
            entry
        };
        let entries = self.found.into_iter().map(completed).collect();
        (entries, NotUsed { values: self.unused, left_out: self.unused_left_out })
    }
}

/// What was not used, with where it stands.
pub(super) struct NotUsed {
    values: Vec<(usize, Unused)>,
    left_out: usize,
}

impl NotUsed {
    /// Less what became an entry after all, with what was found among words, in the index's order.
    pub(super) fn finish(mut self, made: &[Entry], more: Vec<(usize, Unused)>) -> (Vec<Unused>, usize) {
        let used: HashSet<usize> = made.iter().flat_map(|entry| &entry.places).map(|place| place.range.start).collect();
        self.values.retain(|(at, _)| !used.contains(at));
        self.values.extend(more);
        self.values.sort_by_key(|(at, _)| *at);
        let beyond = self.values.len().saturating_sub(MAX_UNUSED);
        self.values.truncate(MAX_UNUSED);
        (self.values.into_iter().map(|(_, unused)| unused).collect(), self.left_out + beyond)
    }
}

/// A value as it is told where it was not used, with where it stands; `None` where it looks like nothing.
pub(super) fn unused_of(path: &str, field: &Field, why: Option<&'static str>) -> Option<(usize, Unused)> {
    let Field { name, value, .. } = field;
    let kind = if values::is_url(value) || values::is_archive_locator(value) {
        UnusedKind::Locator
    } else if values::looks_like_checksum(name, value) {
        UnusedKind::Digest
    } else if values::looks_like_version(name, value) {
        UnusedKind::Version
    } else {
        return None;
    };
    let unused = Unused {
        kind,
        value: value.chars().take(500).collect(),
        element: if field.label.is_empty() { path.to_owned() } else { format!("{path}/{}", field.label) },
        line: field.line,
        why,
    };
    Some((field.place.range.start, unused))
}

/// Whether an element without child elements is an entry of its own rather than a field of its parent: its attributes
/// hold a locator, or its text is one and checksum, size or version are attributes beside it.
fn stands_alone(element: &Element) -> bool {
    let sized = element.attributes.iter().any(is_promise);
    let is_locator = |field: &Field| {
        !field.name.is_empty()
            && (values::is_archive_locator(&field.value)
                || (sized && values::is_locator_name(&field.name) && is_weak_locator(&field.value)))
    };
    let versioned = element.attributes.iter().any(|field| values::version(&field.name, &field.value).is_some());
    let text_is_locator = element
        .text
        .as_ref()
        .is_some_and(|text| values::is_archive_locator(&text.value) || (sized && is_weak_locator(&text.value)));
    element.attributes.iter().any(is_locator) || (text_is_locator && (sized || versioned))
}

fn is_weak_locator(value: &str) -> bool {
    values::is_url(value) || values::is_file_name(value)
}

/// A checksum or a size: what makes any URL or file name beside it a locator.
fn is_promise(field: &Field) -> bool {
    values::size(&field.name, &field.value).is_some()
        || (values::checksum(&field.name, &field.value).is_some() && !values::is_label_name(&field.name))
}

/// Which of a group's fields are its locators. Names such as `x.tar.gz` count only where there is no better one.
fn choose_locators(members: &[Member], sized: bool) -> Vec<usize> {
    let where_all = |test: &dyn Fn(&Field) -> bool| -> Vec<usize> {
        let fields = members.iter().enumerate().filter(|(_, m)| !m.field.name.is_empty());
        fields.filter(|(_, m)| test(&m.field)).map(|(n, _)| n).collect()
    };
    let strong = |field: &Field| values::is_archive_locator(&field.value);
    let label = |field: &Field| values::is_label_name(&field.name);
    let tests: [&dyn Fn(&Field) -> bool; 5] = [
        &|field| strong(field) && !label(field),
        &|field| sized && values::is_locator_name(&field.name) && is_weak_locator(&field.value),
        &|field| strong(field),
        &|field| sized && values::is_url(&field.value) && !label(field),
        &|field| sized && values::is_file_name(&field.value),
    ];
    tests.iter().map(|test| where_all(*test)).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The last part of the URL's path; where that ends unlike an archive, a file name that stands beside it.
fn file_name(url: &Url, locator: &Field, beside: &[Field]) -> Result<FileName, IndexError> {
    if !values::ends_as_archive(url.path()) {
        let named = beside.iter().filter(|field| values::is_archive_locator(&field.value));
        if let Some(name) = named.filter_map(|field| FileName::parse(&field.value).ok()).next() {
            return Ok(name);
        }
    }
    values::file_name_of(url).map_err(|source| IndexError::Name {
        locator: locator.value.chars().take(200).collect(),
        line: locator.line,
        source,
    })
}

fn hints_of<'f>(fields: impl Iterator<Item = &'f Field>) -> Vec<String> {
    fields
        .filter(|field| !values::is_archive_locator(&field.value) && !values::is_url(&field.value))
        .filter_map(|field| values::hint(&field.name, &field.value))
        .take(MAX_HINTS)
        .map(str::to_owned)
        .collect()
}

fn one_component(found: &[Found]) -> bool {
    let component = |found: &Found| match &found.component {
        Some((component, _)) => component.clone(),
        None => Component::other(stem(found.entry.name.as_str())),
    };
    found.first().map(component).is_some_and(|first| found.iter().all(|other| component(other) == first))
}

/// The surest version of a group. Where several locators share the group and several versions are equally sure, nobody
/// knows which is whose, and none is taken.
fn take_version(fields: &mut Vec<Field>, shared: bool) -> Option<(Version, Field)> {
    let mut best: Option<(Sureness, usize, Version)> = None;
    let mut disputed = false;
    for (number, field) in fields.iter().enumerate() {
        let Some((sureness, version)) = values::version(&field.name, &field.value) else { continue };
        match &best {
            Some((other, _, known)) if *other == sureness => disputed |= *known != version,
            Some((other, ..)) if *other < sureness => {}
            Some(_) | None => {
                best = Some((sureness, number, version));
                disputed = false;
            }
        }
    }
    let (_, number, version) = best.filter(|_| !(disputed && shared))?;
    Some((version, fields.remove(number)))
}

fn take_checksum(fields: &mut Vec<Field>) -> Option<Checksum> {
    let all =
        fields.iter().enumerate().filter_map(|(n, field)| Some((n, values::checksum(&field.name, &field.value)?)));
    let (number, checksum) = all.max_by_key(|(n, checksum)| (values::strength(checksum), std::cmp::Reverse(*n)))?;
    fields.remove(number);
    Some(checksum)
}

fn take_size(fields: &mut Vec<Field>) -> Option<u64> {
    let (number, size) =
        fields.iter().enumerate().find_map(|(n, field)| Some((n, values::size(&field.name, &field.value)?)))?;
    fields.remove(number);
    Some(size)
}

impl Entry {
    pub(super) fn new(url: Url, locator: String, name: FileName, element: &str, line: usize, place: Place) -> Self {
        Self {
            component: Component::other(name.as_str()),
            decided: None,
            locator,
            url,
            name,
            version: None,
            checksum: None,
            size: None,
            element: element.to_owned(),
            line,
            places: vec![place],
        }
    }

    /// Settles which component it is: by what was found so far, else by the elements around it.
    pub(super) fn decide(&mut self, found: Option<(Component, Decision)>, patterns: &Patterns) {
        let decided = found
            .or_else(|| patterns.by_name(&self.name))
            .or_else(|| patterns.matching(self.element.split_once('/').map_or("", |(_, inner)| inner)));
        (self.component, self.decided) = match decided {
            Some((component, decision)) => (component, Some(decision)),
            None => (Component::other(stem(self.name.as_str())), None),
        };
    }

    /// Where its first locator stands.
    pub(super) fn start(&self) -> usize {
        self.places.first().map_or(0, |place| place.range.start)
    }
}
