//! The checks, one after the other.

use std::io::{self, Read, Seek};

use super::*;
use crate::archive;
use crate::bundle::{check_claims, check_clock, check_expiry, check_serial, part_of};
use crate::release::ReleasedFile;
use crate::signed::{self, SignedError, SignedManifest, Verified, peek};

/// Every check, in their order, with results as they come.
pub(super) fn run<F: Read + Seek>(bundle: &mut Bundle<F>, trust: &Trust<'_>, limits: &Limits) -> Inspection {
    let facts = bundle.facts().clone();
    let (members, length) = bundle.size();
    let mut lines = vec![
        Line::new(Check::Whole, Mark::Ok, format!("{members} members, {length} bytes")),
        line(Check::Names, bundle.check_names(), "as bundles have them"),
    ];
    let metadata = match bundle.metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            lines.push(Line::failed(Check::RootChain, Failure::of(&error)));
            lines.extend(AFTER_ROOTS.map(not_tried));
            return Inspection::new(Some(facts), None, trust, lines);
        }
    };
    let (chain, verified) = signatures(trust, &metadata);
    let signer = verified.as_ref().map(|(verified, signers)| signer(verified, &metadata, *signers != Signers::Others));
    lines.extend(chain);
    let Some((verified, signers)) = verified else {
        lines.extend(AFTER_SIGNATURES.map(not_tried));
        return Inspection::new(Some(facts), None, trust, lines);
    };
    let signed = match bundle.manifest(&verified) {
        Ok(signed) => signed,
        Err(error) => {
            fail(&mut lines, Check::Signatures, &error);
            lines.extend(AFTER_SIGNATURES.map(not_tried));
            return Inspection::new(Some(facts), signer, trust, lines);
        }
    };
    let is_older_release =
        matches!(check_serial(signed.manifest(), &verified, trust), Err(BundleError::Rollback { .. }));
    if signers == Signers::TrustedBefore && is_older_release {
        // The numbers of releases say it, which people know: the line of that check fails.
        let older =
            Line::new(Check::Signatures, Mark::Warning, "by the trusted origin, and older than those seen here");
        lines.iter_mut().filter(|line| line.step == Check::Signatures).for_each(|line| *line = older.clone());
    }
    if let Err(error) = check_claims(&facts, signed.manifest(), &verified, &metadata) {
        fail(&mut lines, Check::Signatures, &error);
    }
    lines.extend(in_time(&signed, &verified, trust));
    let manifest = signed.manifest();
    let members = bundle.check_members(manifest, &verified, &metadata);
    lines.push(line(Check::Members, members, "exactly those of the release"));
    lines.extend(content(bundle, &signed, limits));
    Inspection::new(Some(facts), signer, trust, lines)
}

const AFTER_SIGNATURES: [Check; 6] =
    [Check::Clock, Check::ValidUntil, Check::Newest, Check::Members, Check::Files, Check::Archives];

const AFTER_ROOTS: [Check; 7] =
    [Check::Signatures, Check::Clock, Check::ValidUntil, Check::Newest, Check::Members, Check::Files, Check::Archives];

fn not_tried(check: Check) -> Line<Check> {
    Line::new(check, Mark::NotTried, "")
}

fn line(check: Check, result: Result<(), BundleError>, seen: &str) -> Line<Check> {
    match result {
        Ok(()) => Line::new(check, Mark::Ok, seen),
        Err(error) => Line::failed(check, Failure::of(&error)),
    }
}

/// In place of what this check came to before, unless it failed already.
fn fail(lines: &mut [Line<Check>], check: Check, error: &BundleError) {
    if let Some(line) = lines.iter_mut().find(|line| line.step == check && line.result != Mark::Failed) {
        *line = Line::failed(check, Failure::of(error));
    }
}

/// Who signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signers {
    /// The origin that is trusted here.
    Trusted,
    /// That origin, before it signed what was seen here.
    TrustedBefore,
    /// Somebody else.
    Others,
}

/// The lines of root chain and signatures; and what they vouch for, where anything does. What is not signed under the
/// trusted root may still be signed under its own: then the rest is looked at by that, and nothing of it is trusted.
fn signatures(trust: &Trust<'_>, metadata: &Metadata) -> (Vec<Line<Check>>, Option<(Verified, Signers)>) {
    let newest = metadata.roots.len();
    let roots = match newest {
        1 => "root 1 alone".to_owned(),
        newest => format!("roots 1 to {newest}, each signed by the one before"),
    };
    let error = match authenticate(trust, metadata) {
        Ok(verified) => {
            let roles = verified.roles().iter().map(ToString::to_string);
            let lines = vec![
                Line::new(Check::RootChain, Mark::Ok, roots),
                Line::new(Check::Signatures, Mark::Ok, "by the trusted origin").with(roles),
            ];
            return (lines, Some((verified, Signers::Trusted)));
        }
        Err(error) => error,
    };
    let first = metadata.roots.first().map(String::as_str).unwrap_or_default();
    let (root, signers) = match error {
        BundleError::Signed(SignedError::Rollback { .. }) => (trust.root, Signers::TrustedBefore),
        _ => (first.as_bytes(), Signers::Others),
    };
    let own = signed::authenticate(root, metadata, None).ok();
    let failure = Failure::of(&error);
    let is_by_others = matches!(error, BundleError::OtherOrigin { .. });
    let lines = match (&own, is_by_others) {
        (Some(_), true) => vec![
            Line::failed(Check::RootChain, failure),
            Line::new(Check::Signatures, Mark::Warning, "they fit, but nobody trusted vouches for them"),
        ],
        (Some(_), false) => {
            vec![Line::new(Check::RootChain, Mark::Ok, roots), Line::failed(Check::Signatures, failure)]
        }
        (None, true) => vec![Line::failed(Check::RootChain, failure), not_tried(Check::Signatures)],
        (None, false) => vec![
            Line::new(Check::RootChain, Mark::None, "nothing to be said of it: the signatures do not fit"),
            Line::failed(Check::Signatures, failure),
        ],
    };
    (lines, own.map(|own| (own, signers)))
}

fn signer(verified: &Verified, metadata: &Metadata, is_trusted: bool) -> Signer {
    #[derive(Deserialize)]
    struct Signatures {
        signatures: Vec<Signature>,
    }
    #[derive(Deserialize)]
    struct Signature {
        keyid: String,
    }
    let ids = |text: &str| {
        let parsed = serde_json::from_str::<Signatures>(text).map(|it| it.signatures).unwrap_or_default();
        parsed.into_iter().map(|signature| signature.keyid.escape_debug().take(64).collect()).collect()
    };
    let newest = metadata.roots.last().map(String::as_str).unwrap_or_default();
    let keys = [
        ("root", newest),
        ("timestamp", &metadata.timestamp),
        ("snapshot", &metadata.snapshot),
        ("targets", &metadata.targets),
    ];
    let root = RootFacts {
        version: peek::root_version(newest).unwrap_or_default(),
        fingerprint: Digest::of(newest.as_bytes()),
        expires: verified.root().expires,
    };
    Signer { is_trusted, root, keys: keys.into_iter().map(|(role, text)| (role, ids(text))).collect() }
}

fn in_time(signed: &SignedManifest, verified: &Verified, trust: &Trust<'_>) -> [Line<Check>; 3] {
    let manifest = signed.manifest();
    let (until, time) = (verified.valid_until(), trust.time());
    let by = if time > trust.now { ", by the newest signed time seen here" } else { "" };
    let left = format!("{until}, for another {}{by}", span(until.duration_since(time)));
    // Whole seconds, as everything signed has them.
    let now = jiff::Timestamp::from_second(trust.now.as_second()).unwrap_or(trust.now);
    let made = format!("made {}, and it is {now}", manifest.created);
    let newest = match trust.highest_serial {
        Some(highest) if highest == manifest.serial => format!("release {highest} again, which is here already"),
        Some(highest) => format!("release {} after release {highest}", manifest.serial),
        None => format!("release {}; none was seen here before", manifest.serial),
    };
    [
        line(Check::Clock, check_clock(manifest, trust), &made),
        line(Check::ValidUntil, check_expiry(verified, trust), &left),
        line(Check::Newest, check_serial(manifest, verified, trust), &newest),
    ]
}

/// The lines of files and archives. An archive is read once for both.
fn content<F: Read + Seek>(bundle: &mut Bundle<F>, signed: &SignedManifest, limits: &Limits) -> [Line<Check>; 2] {
    let manifest = signed.manifest();
    let (mut files, mut opened, mut unopened) = (0, 0, 0);
    let (mut bad_files, mut bad_archives) = (Vec::new(), Vec::new());
    for released in manifest.components.iter().flat_map(|released| &released.files) {
        match open(bundle, released, limits) {
            Ok(true) => (files, opened) = (files + 1, opened + 1),
            Ok(false) => match bundle.hash(&released.archive) {
                Ok(()) => (files, unopened) = (files + 1, unopened + 1),
                Err(error) => bad_files.push(Failure::of(&error)),
            },
            // Which of the two it is: damaged on the way, or signed as it is.
            Err(failure) => match bundle.hash(&released.archive) {
                Ok(()) => bad_archives.push(failure),
                Err(error) => bad_files.push(Failure::of(&error)),
            },
        }
    }
    for file in manifest.index.iter().chain(&manifest.offline_zip) {
        match bundle.hash(file) {
            Ok(()) => files += 1,
            Err(error) => bad_files.push(Failure::of(&error)),
        }
    }
    let mut archives = format!("{opened} opened to what is signed");
    if unopened > 0 {
        archives.push_str(&format!(", {unopened} are not compressed"));
    }
    let not_opened = || Line::new(Check::Archives, Mark::NotTried, format!("{archives}; others are damaged"));
    let archives = if bad_archives.is_empty() && !bad_files.is_empty() {
        not_opened()
    } else {
        told(Check::Archives, bad_archives, &archives)
    };
    [told(Check::Files, bad_files, &format!("{files} with the signed SHA-256")), archives]
}

/// One line for all: the first that failed, and the others below it.
fn told(check: Check, failed: Vec<Failure>, seen: &str) -> Line<Check> {
    let mut failed = failed.into_iter();
    match failed.next() {
        Some(first) => Line::failed(check, first).with(failed.map(|failure| failure.message)),
        None => Line::new(check, Mark::Ok, seen),
    }
}

/// Whether an archive is compressed, and then opens to the signed payload and is the signed one itself.
fn open<F: Read + Seek>(bundle: &mut Bundle<F>, released: &ReleasedFile, limits: &Limits) -> Result<bool, Failure> {
    let file = &released.archive;
    if file == &released.payload {
        return Ok(false);
    }
    let content = bundle.open_file(file).map_err(|error| Failure::of(&error))?;
    let opened = archive::open_stream(content, file, limits, &mut io::sink());
    let about = |message: String| {
        let name = part_of(file).map_or_else(|_| file.name.to_string(), |part| part.to_string());
        format!("the bundle's {name}: {message}")
    };
    let opened = opened.map_err(|error| Failure::new(error.reason(), about(error.whole_message())))?;
    if opened.archive == *file && opened.payload == released.payload {
        return Ok(true);
    }
    let message = "it does not open to the payload that is signed".to_owned();
    Err(Failure::new(crate::Reason::DigestMismatch, about(message)))
}
