//! Headends by the hundred: each no more than an id, a token, and what it reports.

use anyhow::{Context, Result, ensure};
use bundles::report::Report;
use bundles::{Component, Serial, Version};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use reqwest::{Client, Response};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::World;

/// As many are added at once: more would only wait for each other in the server.
const ADDED_AT_ONCE: usize = 16;

/// Who may report.
#[derive(Debug, Clone, Deserialize)]
pub struct Member {
    /// The headend's id.
    #[serde(rename = "name")]
    pub id: String,
    /// Its token.
    pub token: String,
}

/// Many headends of one server.
#[derive(Debug)]
pub struct Fleet {
    client: Client,
    server: Url,
    admin: String,
    /// In the order of their numbers.
    pub members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Known {
    id: String,
    report: Option<Kept>,
}

#[derive(Debug, Deserialize)]
struct Kept {
    report: Report,
}

impl World {
    /// Adds that many headends through the server's API.
    ///
    /// # Errors
    /// No server runs, or it takes one not.
    pub async fn fleet(&self, count: usize) -> Result<Fleet> {
        let admin = self.feed_server(["token", "add", "fleet", "--scope", "admin"]).await?.success()?;
        let admin = admin.stdout.trim().to_owned();
        let (client, server) = (self.http()?, self.server_url()?);
        let url = server.join("api/v1/headends")?;
        let add = |number: usize| {
            let body = json!({ "id": format!("fleet-{number:05}") });
            let request = client.post(url.clone()).bearer_auth(&admin).json(&body);
            async move { anyhow::Ok(request.send().await?.error_for_status()?.json().await?) }
        };
        let members = futures_util::stream::iter(0..count).map(add).buffered(ADDED_AT_ONCE).try_collect().await?;
        Ok(Fleet { client, server, admin, members })
    }
}

impl Fleet {
    /// Lets a headend, counted from 0, report that it runs that release.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn report(&self, number: usize, report: &Report) -> Result<Response> {
        let member = self.members.get(number).context("there is such a headend")?;
        let request = self.client.put(self.report_url(member)?).bearer_auth(&member.token).json(report);
        Ok(request.send().await?)
    }

    /// Where a headend reports.
    ///
    /// # Errors
    /// Its id does not fit into a URL, which none does that was taken.
    pub fn report_url(&self, member: &Member) -> Result<Url> {
        Ok(self.server.join(&format!("api/v1/headends/{}/report", member.id))?)
    }

    /// The release that each headend runs, as the server has it, by their numbers.
    ///
    /// # Errors
    /// The server does not answer, or knows others.
    pub async fn known(&self) -> Result<Vec<Option<u64>>> {
        let request = self.client.get(self.server.join("api/v1/headends")?).bearer_auth(&self.admin);
        let known: Vec<Known> = request.send().await?.error_for_status()?.json().await?;
        ensure!(known.len() == self.members.len(), "{} headends are known", known.len());
        // Their ids stand in the order of their numbers, and so do the server's answers.
        ensure!(known.iter().zip(&self.members).all(|(known, member)| known.id == member.id), "others are known");
        Ok(known.into_iter().map(|known| Some(known.report?.report.serial?.get())).collect())
    }
}

/// What a headend that runs that release says after a poll that went well.
///
/// # Errors
/// There is no release of that number.
pub fn running(serial: u64) -> Result<Report> {
    let now = Timestamp::from_second(1_800_000_000)?;
    let version: Version = "300418.0.0.0".parse()?;
    Ok(Report {
        client_version: "0.1.0".to_owned(),
        serial: Some(Serial::new(serial).context("releases are counted from 1")?),
        components: Component::KNOWN.into_iter().map(|component| (component, version.clone())).collect(),
        last_success: Some(now),
        last_attempt: now,
        last_failure: None,
        next_poll: Some(now),
        interval_seconds: 7_200,
        transfer: None,
        clock_behind: None,
    })
}
