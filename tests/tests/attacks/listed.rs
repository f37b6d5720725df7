//! `SECURITY.md` says which test shows what, and says so of tests that exist.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use tests::shared::workspace;

/// Names of tests in these sources.
fn tests_in(sources: &[&str]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for source in sources {
        let text = std::fs::read_to_string(workspace().join(source))?;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if matches!(line.trim(), "#[test]" | "#[tokio::test]") {
                let name = lines.next().and_then(|line| line.split("fn ").nth(1)?.split('(').next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
    Ok(names)
}

#[test]
fn security_md_names_every_attack_and_no_test_that_is_not_there() -> Result<()> {
    let text = std::fs::read_to_string(workspace().join("SECURITY.md"))?;
    let section = text.split("\n## ").find(|section| section.starts_with("Attacks\n")).unwrap_or_default();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ") && line.contains('`')).collect();
    let named: BTreeSet<String> = rows
        .iter()
        .filter_map(|row| row.trim_end_matches([' ', '|']).rsplit(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect();
    let attacks = tests_in(
        &["forging", "line", "replays"]
            .map(|name| format!("tests/tests/attacks/{name}.rs"))
            .each_ref()
            .map(String::as_str),
    )?;
    let elsewhere =
        tests_in(&["tests/tests/headend.rs", "tests/tests/conformance.rs", "tests/tests/air_gap/refused.rs"])?;
    for name in &named {
        assert!(
            attacks.contains(name) || elsewhere.contains(name),
            "SECURITY.md names {name}, and no test is called so"
        );
    }
    for name in &attacks {
        ensure!(named.contains(name), "SECURITY.md does not list {name}");
    }
    Ok(())
}
