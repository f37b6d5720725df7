//! The documentation is true where a program can tell: the reference is what the programs say, links lead somewhere, commands
//! parse, and every reason has its section.

mod commands;
mod links;
mod reasons;
mod reference;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tests::shared::workspace;
use walkdir::WalkDir;

/// A page of ours.
struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    /// As people call it.
    fn name(&self) -> String {
        self.path.strip_prefix(workspace()).unwrap_or(&self.path).display().to_string()
    }
}

/// Every Markdown file of the workspace.
fn documents() -> Result<Vec<Document>> {
    let ours = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name != "target" && (!name.starts_with('.') || path == workspace())
    };
    let mut documents = Vec::new();
    for entry in WalkDir::new(workspace()).into_iter().filter_entry(|entry| ours(entry.path())) {
        let path = entry?.into_path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            documents.push(Document { path, text });
        }
    }
    Ok(documents)
}

/// The lines of blocks of code, each with the block's language, and those of text, with none.
fn lines(text: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut language = None;
    text.lines().filter_map(move |line| {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            language = if language.is_some() { None } else { Some(fence.trim()) };
            return None;
        }
        Some((language, line))
    })
}
