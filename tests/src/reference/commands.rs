//! Commands, by the help that the programs print.

use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::Program;

pub(super) fn text(programs: &[Program]) -> Result<String> {
    let mut text = String::from(
        "What a program's own entry lists as options, every command of it takes. The codes that commands end with follow from \
         [reasons](reasons.md).\n",
    );
    for program in programs {
        let help = help(program, &[])?;
        let _ = write!(text, "\n## {}\n\n{}", program.name, block(&help));
        let everywhere = long_options(&help);
        verbs(program, &help, &[], &everywhere, &mut text)?;
    }
    Ok(text)
}

fn verbs(program: &Program, above: &str, way: &[String], everywhere: &[String], text: &mut String) -> Result<()> {
    for verb in listed(above) {
        let way = [way, &[verb]].concat();
        let help = help(program, &way)?;
        let own = without(&help, everywhere);
        let _ = write!(text, "\n### {} {}\n\n{}", program.name, way.join(" "), block(&own));
        verbs(program, &help, &way, everywhere, text)?;
    }
    Ok(())
}

fn help(program: &Program, way: &[String]) -> Result<String> {
    let mut arguments: Vec<&str> = way.iter().map(String::as_str).collect();
    arguments.push("--help");
    let (help, said) = program.run(&arguments)?;
    ensure!(help.contains("Usage:"), "{} {}: {said}", program.name, arguments.join(" "));
    Ok(help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// What it is for as text, the rest as it is printed.
fn block(help: &str) -> String {
    let (about, rest) = help.split_once("\n\n").unwrap_or(("", help));
    format!("{}\n\n```text\n{}\n```\n", super::plain(&about.replace('\n', " ")), rest.trim())
}

/// The commands that a help lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with(' '));
    let verbs = lines.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    verbs.filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help").map(Into::into).collect()
}

/// The long name of the option that a line of help begins with.
fn long_option(line: &str) -> Option<&str> {
    let begins = line.starts_with("  -") || line.starts_with("      --");
    line.split_whitespace()
        .take(2)
        .find(|word| begins && word.starts_with("--"))
        .map(|word| word.trim_end_matches("..."))
}

fn long_options(help: &str) -> Vec<String> {
    help.lines().filter_map(long_option).map(Into::into).collect()
}

/// The help without the options that stand with the program.
fn without(help: &str, everywhere: &[String]) -> String {
    let mut kept = String::new();
    let mut dropping = false;
    for line in help.lines() {
        if let Some(option) = long_option(line) {
            dropping = everywhere.iter().any(|one| one == option);
        } else if !line.starts_with(' ') && !line.is_empty() {
            dropping = false;
        }
        if !dropping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept.trim_end().trim_end_matches("Options:").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Updates now\n\nUsage: x sync [OPTIONS]\n\nOptions:\n      --now            At once\n      --config <FILE>  \
        Which\n                       file\n  -v, --verbose...     More\n  -h, --help           Print help\n";

    #[test]
    fn options_that_all_have_are_told_once() {
        let own = without(HELP, &["--config".to_owned(), "--verbose".to_owned(), "--help".to_owned()]);
        assert_eq!(own, "Updates now\n\nUsage: x sync [OPTIONS]\n\nOptions:\n      --now            At once");
        assert_eq!(without(HELP, &long_options(HELP)), "Updates now\n\nUsage: x sync [OPTIONS]");
    }
}
