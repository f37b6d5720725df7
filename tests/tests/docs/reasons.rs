use anyhow::{Result, ensure};
use bundles::Reason;
use tests::shared::workspace;

#[test]
fn every_reason_has_its_section() -> Result<()> {
    let text = std::fs::read_to_string(workspace().join("docs/troubleshooting.md"))?;
    let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    let told: Vec<_> = sections.iter().copied().filter(|section| reasons.contains(section)).collect();
    ensure!(told == reasons, "docs/troubleshooting.md has {told:?}");
    Ok(())
}
