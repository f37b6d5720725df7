use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, ensure};

use super::{documents, lines};

/// What a heading is called in links, as forges make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    let headings = lines(text).filter(|(language, line)| language.is_none() && line.starts_with('#'));
    let plain: Vec<_> = headings.map(|(_, line)| anchor(line.trim_start_matches('#'))).collect();
    let numbered =
        plain.iter().enumerate().map(|(at, name)| match plain[..at].iter().filter(|before| *before == name).count() {
            0 => name.clone(),
            count => format!("{name}-{count}"),
        });
    numbered.collect()
}

/// The targets of links in a line, those in code left out.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').enumerate().filter(|(index, _)| index % 2 == 0);
    // A link's text may be code, so that its target begins a part of its own.
    let parts = prose.flat_map(|(_, part)| part.match_indices("](").map(move |(at, _)| &part[at + 2..]));
    parts.filter_map(|rest| rest.split_once(')').map(|(target, _)| target)).collect()
}

#[test]
fn relative_links_lead_somewhere() -> Result<()> {
    let documents = documents()?;
    ensure!(documents.len() > 20, "{} documents were found", documents.len());
    let known: HashMap<_, _> = documents
        .iter()
        .map(|document| (document.path.canonicalize().unwrap_or_default(), anchors(&document.text)))
        .collect();
    let mut broken = Vec::new();
    let mut followed = 0;
    for document in &documents {
        for (_, line) in lines(&document.text).filter(|(language, _)| language.is_none()) {
            for target in targets(line) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                followed += 1;
                let (file, fragment) = target.split_once('#').map_or((target, None), |(file, f)| (file, Some(f)));
                let path = match file {
                    "" => document.path.clone(),
                    file => document.path.parent().unwrap_or(Path::new(".")).join(file),
                };
                let leads = path.canonicalize().is_ok_and(|path| match (fragment, known.get(&path)) {
                    (Some(fragment), Some(anchors)) => anchors.iter().any(|anchor| anchor == fragment),
                    (Some(_), None) => false,
                    (None, _) => true,
                });
                if !leads {
                    broken.push(format!("{}: {target}", document.name()));
                }
            }
        }
    }
    ensure!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    ensure!(followed > 50, "{followed} links were found");
    Ok(())
}

#[test]
fn headings_are_called_as_forges_call_them() {
    assert_eq!(anchors("# A `b` c\n```\n# no\n```\n## X, *y*\n## X, *y*\n"), ["a-b-c", "x-y", "x-y-1"]);
    assert_eq!(targets("see [`a`](x.md) and `[b](no)` and [c](y.md#z)."), ["x.md", "y.md#z"]);
}
