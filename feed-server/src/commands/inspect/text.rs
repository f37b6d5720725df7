//! What was understood, for people.

use std::fmt::Write as _;

use bundles::Component;
use bundles::index::Reading;

use super::inspection::{FileFacts, Inspection, Row};
use super::source::Kind;
use crate::sync::versions::VersionFrom;

/// The whole output. A String takes whatever is written to it, so what `writeln!` answers says nothing.
pub(super) fn of(inspection: &Inspection, archives: bool) -> String {
    let mut text = String::new();
    head(&mut text, inspection);
    let components = inspection.update_information.iter().filter(|row| row.files > 0).count();
    let _ = writeln!(text, "\n{}, {}", count(inspection.files.len(), "file"), count(components, "component"));
    for (number, file) in inspection.files.iter().enumerate() {
        one_file(&mut text, number + 1, file);
    }
    panel(&mut text, inspection, archives);
    hosts(&mut text, inspection);
    unmapped(&mut text, inspection);
    not_used(&mut text, inspection);
    // Values come from outside, and could give orders to a terminal.
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn head(text: &mut String, inspection: &Inspection) {
    let kind = match inspection.kind {
        Kind::File => "an index in a file",
        Kind::Url => "an index, as upstream sent it",
        Kind::Zip => "a zip",
        Kind::Capture => "a capture",
    };
    let _ = writeln!(text, "{}: {kind}", inspection.source);
    let Some(index) = &inspection.index else {
        let _ = writeln!(text, "  index        none in it: each file is taken by its name alone");
        return;
    };
    let _ = writeln!(text, "  index        {} bytes, {}, root <{}>", index.length, index.encoding, index.root);
    let _ = writeln!(text, "  sha256       {}", index.sha256);
    let _ = writeln!(text, "  relative to  {}", index.base);
    let reading = match index.reading {
        Reading::Entries => "entries: each archive with what stands beside it",
        Reading::Partly => {
            "entries, and lists of locators with nothing beside them: PARTLY AN UNKNOWN DIALECT (docs/first-contact.md)"
        }
        Reading::LocatorsOnly => {
            "locators only: an UNKNOWN DIALECT, mirrored all the same, versions by what is inside or by digest \
             (docs/first-contact.md)"
        }
    };
    let _ = writeln!(text, "  read as      {reading}");
}

fn one_file(text: &mut String, number: usize, file: &FileFacts) {
    let _ = writeln!(text, "\n{number}. {} -> {}", file.name, file.component);
    let decided = match &file.decided {
        Some(decided) => {
            let whose = if decided.own { "[upstream.components]" } else { "built in" };
            format!("pattern \"{}\" ({whose}) on \"{}\"", decided.pattern, decided.text)
        }
        None => "matched nothing".to_owned(),
    };
    let _ = writeln!(text, "   decided by  {decided}");
    let version = match (&file.version, file.version_from) {
        (Some(version), Some(from)) => format!("{} ({})", version.short(), from_words(from)),
        (Some(_) | None, _) => "not in the index".to_owned(),
    };
    let _ = writeln!(text, "   version     {version}");
    if let Some(named) = &file.named {
        let checksum = named.checksum.as_deref().unwrap_or("none in the index");
        let size = named.size.map_or_else(|| "none in the index".to_owned(), |size| format!("{size} bytes"));
        let _ = writeln!(text, "   checksum    {checksum}");
        let _ = writeln!(text, "   size        {size}");
        let _ = writeln!(text, "   from        {}", named.url);
        let _ = writeln!(text, "   stands in   {}, line {}", named.element, named.line);
    } else {
        let _ = writeln!(text, "   stands in   the zip, and no index names it");
    }
    if let Some(archive) = &file.archive {
        let inside = archive
            .version
            .as_ref()
            .map_or_else(|| "no version inside".to_owned(), |v| format!("version {} inside", v.short()));
        let members = count(usize::try_from(archive.members).unwrap_or(usize::MAX), "file");
        let _ = writeln!(
            text,
            "   archive     {} bytes, opens to {} bytes, {members}, {inside}",
            archive.length, archive.payload_length
        );
        let _ = writeln!(text, "   sha256      {}", archive.sha256);
    }
    if let Some(problem) = &file.problem {
        let _ = writeln!(text, "   PROBLEM     {problem}");
    }
}

fn from_words(from: VersionFrom) -> &'static str {
    match from {
        VersionFrom::Index => "from the index",
        VersionFrom::Inside => "found inside the archive",
        VersionFrom::Digest => "no version anywhere: the content's digest stands in",
    }
}

fn panel(text: &mut String, inspection: &Inspection, archives: bool) {
    let label = |row: &Row| row.label.map_or_else(|| format!("{} version", row.component), str::to_owned);
    let width = inspection.update_information.iter().map(|row| label(row).chars().count()).max().unwrap_or(0);
    text.push_str("\nUpdate Information\n");
    for row in &inspection.update_information {
        let version = match (&row.version, row.version_from) {
            (Some(version), Some(from)) => format!("{}  ({})", version.short(), from_words(from)),
            (Some(_) | None, _) if row.files == 0 => "–  (no file of it is there)".to_owned(),
            (Some(_) | None, _) if inspection.kind == Kind::Url && !archives => {
                "–  (not in the index; --archives looks inside)".to_owned()
            }
            (Some(_) | None, _) => "–  (not in the index)".to_owned(),
        };
        let _ = writeln!(text, "{:<width$}  {version}", label(row));
    }
}

fn hosts(text: &mut String, inspection: &Inspection) {
    if inspection.hosts.is_empty() {
        return;
    }
    text.push_str("\nHosts\n");
    for host in &inspection.hosts {
        let files = if host.files == 0 { "nothing".to_owned() } else { count(host.files, "file") };
        if host.allowed {
            let _ = writeln!(text, "  {}: {files} from it; allowed by [upstream] {}", host.host, host.line);
        } else if host.files == 0 {
            let _ = writeln!(text, "  {}: named, and {files} is fetched from it", host.host);
        } else {
            let _ = writeln!(
                text,
                "  {}: {files} from it; NOT ALLOWED, every run would fail. What allows it under [upstream], if it is right:\n      {}",
                host.host, host.line
            );
        }
    }
}

fn unmapped(text: &mut String, inspection: &Inspection) {
    if inspection.unmapped.is_empty() {
        return;
    }
    text.push_str("\nMatched nothing\n");
    for unmapped in &inspection.unmapped {
        let or: Vec<String> = unmapped.or.iter().map(Component::to_string).collect();
        let _ = writeln!(
            text,
            "  {} is carried as {}. If it is a part of Update Information, add to the configuration:\n      \
             [upstream.components]\n      {}\n    (or, in the place of that component, {})",
            unmapped.name,
            unmapped.component,
            unmapped.line,
            or.join(", ")
        );
    }
}

fn not_used(text: &mut String, inspection: &Inspection) {
    let total = inspection.not_used.len() + inspection.not_used_left_out + inspection.members_left.len();
    let _ = writeln!(text, "\nNot used: {}", if total == 0 { "nothing".to_owned() } else { count(total, "value") });
    for unused in &inspection.not_used {
        let _ = writeln!(
            text,
            "  line {}: {} {:?} in {}: {}",
            unused.line, unused.kind, unused.value, unused.element, unused.why
        );
    }
    for member in &inspection.members_left {
        let _ = writeln!(text, "  member {:?}: {}", member.name, member.why);
    }
    if inspection.not_used_left_out > 0 {
        let _ = writeln!(text, "  and {} more", inspection.not_used_left_out);
    }
}
