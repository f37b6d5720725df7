use anyhow::{Result, ensure};
use tests::reference;

#[tokio::test]
async fn the_reference_is_what_the_programs_say() -> Result<()> {
    for page in reference::pages().await? {
        let path = reference::directory().join(page.name);
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = written.lines().zip(page.text.lines()).find(|(written, now)| written != now);
        ensure!(
            written == page.text,
            "{} is not what the programs say by now; run `{}`. The first line that differs: {differs:?}",
            path.display(),
            reference::WRITE
        );
    }
    Ok(())
}
