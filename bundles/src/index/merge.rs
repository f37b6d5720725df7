//! One entry for each file: the same URL twice is one entry, two files of one name are an error.

use std::collections::HashMap;

use url::Url;

use super::{Entry, IndexError};
use crate::FileName;

pub(super) fn merge(entries: Vec<Entry>, base: &Url) -> Result<Vec<Entry>, IndexError> {
    let mut merged: Vec<Entry> = Vec::new();
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    // The index itself lies in the same folder.
    let index_name = FileName::from_locator(base.path()).ok().map(|name| name.as_str().to_ascii_lowercase());
    for mut entry in entries {
        let folded = entry.name.as_str().to_ascii_lowercase();
        if index_name.as_ref() == Some(&folded) {
            return Err(same_name(&entry, base, &entry.url));
        }
        let same = by_name.entry(folded).or_default();
        let mut twin = None;
        for number in same.iter().copied() {
            let known = &mut merged[number];
            if known.url != entry.url {
                return Err(same_name(&entry, &known.url, &entry.url));
            }
            agree(&mut known.checksum, &mut entry.checksum, "the checksum", &entry.url)?;
            agree(&mut known.size, &mut entry.size, "the size", &entry.url)?;
            if known.component == entry.component {
                agree(&mut known.version, &mut entry.version, "the version", &entry.url)?;
                twin = Some(number);
            }
        }
        match twin {
            Some(number) => merged[number].places.append(&mut entry.places),
            None => {
                same.push(merged.len());
                merged.push(entry);
            }
        }
    }
    Ok(merged)
}

/// What one of the two says, both say from now on.
fn agree<T: PartialEq + Clone>(
    known: &mut Option<T>,
    new: &mut Option<T>,
    what: &'static str,
    url: &Url,
) -> Result<(), IndexError> {
    match (known.as_ref(), new.as_ref()) {
        (Some(one), Some(other)) if one != other => Err(IndexError::Contradiction { what, url: Box::new(url.clone()) }),
        (Some(one), None) => {
            *new = Some(one.clone());
            Ok(())
        }
        (None, Some(other)) => {
            *known = Some(other.clone());
            Ok(())
        }
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}

fn same_name(entry: &Entry, first: &Url, second: &Url) -> IndexError {
    IndexError::SameName { name: entry.name.clone(), first: Box::new(first.clone()), second: Box::new(second.clone()) }
}
