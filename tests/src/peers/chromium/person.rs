//! What a person does with a page: look, type, click; and what the page says to those who develop it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::{Chromium, ask};
use crate::world::wait_until;

/// How WebDriver names elements (W3C WebDriver, section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Its name, for files.
    pub name: &'static str,
    /// The window, in CSS pixels.
    pub size: (u32, u32),
    /// Whether the reader prefers dark.
    pub dark: bool,
    /// Whether it is a phone's.
    pub phone: bool,
}

impl Look {
    /// A desk by day, a desk by night, and a phone.
    pub const ALL: [Self; 3] = [
        Self { name: "light", size: (1280, 900), dark: false, phone: false },
        Self { name: "dark", size: (1280, 900), dark: true, phone: false },
        Self { name: "phone", size: (390, 844), dark: false, phone: true },
    ];
}

impl Chromium {
    /// Looks at pages so from now on.
    ///
    /// # Errors
    /// The browser says why not.
    pub async fn look(&self, look: Look) -> Result<()> {
        let (width, height) = look.size;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": look.phone });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).await?;
        // They take room in a window, and none in a picture of the whole page.
        self.devtools("Emulation.setScrollbarsHidden", &json!({ "hidden": true })).await?;
        let scheme = if look.dark { "dark" } else { "light" };
        // A picture shows no colour on its way to another one.
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.devtools("Emulation.setEmulatedMedia", &media).await.map(drop)
    }

    /// Writes the whole page as it looks into a PNG.
    ///
    /// # Errors
    /// The browser says why not, or the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let answer = self.devtools("Page.captureScreenshot", &wanted).await?;
        let png = STANDARD.decode(answer["data"].as_str().context("a screenshot has data")?)?;
        std::fs::create_dir_all(file.parent().context("a folder")?)?;
        std::fs::write(file, png).with_context(|| file.display().to_string())
    }

    /// Clicks what the selector finds first, as soon as it is there.
    ///
    /// # Errors
    /// There is no such thing, or it cannot be clicked.
    pub async fn click(&self, selector: &str) -> Result<()> {
        self.element(selector, "click", &json!({})).await.map(drop)
    }

    /// Types into what the selector finds first.
    ///
    /// # Errors
    /// There is no such thing, or nothing can be typed into it. For a file's field, the text is a path.
    pub async fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        self.element(selector, "value", &json!({ "text": text })).await.map(drop)
    }

    /// The text that people see of what the selector finds first; nothing where it finds nothing.
    ///
    /// # Errors
    /// The page does not answer.
    pub async fn text(&self, selector: &str) -> Result<Option<String>> {
        let text = self.run("return document.querySelector(args[0])?.innerText ?? null;", &[selector]).await?;
        Ok(text.as_str().map(str::to_owned))
    }

    /// How many things the selector finds.
    ///
    /// # Errors
    /// The page does not answer.
    pub async fn count(&self, selector: &str) -> Result<u64> {
        let count = self.run("return document.querySelectorAll(args[0]).length;", &[selector]).await?;
        count.as_u64().context("a number of elements")
    }

    /// Waits until the selector finds something that has this text in it.
    ///
    /// # Errors
    /// That does not come to be within the deadline.
    pub async fn wait_for_text(&self, deadline: Duration, selector: &str, text: &str) -> Result<()> {
        let has = async || self.text(selector).await.is_ok_and(|found| found.is_some_and(|found| found.contains(text)));
        let waited = wait_until(deadline, &format!("{selector} says {text:?}"), has).await;
        if waited.is_err() {
            let page = self.text("body").await?;
            return waited.with_context(|| format!("the page says: {}", page.unwrap_or_default()));
        }
        waited
    }

    /// Where the browser is.
    ///
    /// # Errors
    /// It does not say.
    pub async fn address(&self) -> Result<Url> {
        let address = self.run("return location.href;", &[]).await?;
        Ok(address.as_str().context("an address")?.parse()?)
    }

    /// What pages complained of since this was asked last: errors of scripts, of loading, and of the content security policy.
    ///
    /// # Errors
    /// The browser does not say.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let log = ask(&self.http, self.session.join("se/log")?, &json!({ "type": "browser" })).await?;
        let entries = log.as_array().context("a log has entries")?;
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE" || entry["source"] == "security");
        Ok(severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect())
    }

    async fn element(&self, selector: &str, act: &str, body: &Value) -> Result<Value> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = ask(&self.http, self.session.join("element")?, &wanted).await?;
        let id = found[ELEMENT].as_str().with_context(|| format!("{selector} finds nothing"))?;
        ask(&self.http, self.session.join(&format!("element/{id}/{act}"))?, body).await
    }

    async fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        let body = json!({ "cmd": command, "params": parameters });
        ask(&self.http, self.session.join("goog/cdp/execute")?, &body).await
    }
}
