//! `feed-server audit`

use std::time::Duration;

use bundles::Reason;
use bundles::report::Failure;
use clap::Args;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Global;
use super::door::Door;
use super::output::{local_time, print, print_table};
use crate::clock;
use crate::config::parse_duration;
use crate::http::api::views::AuditView;
use crate::store::audit::AuditRecord;

/// What the server gives at once.
const PAGE: usize = 1_000;

/// What is shown where nothing is said.
const NEWEST: usize = 50;

/// How often `--follow` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which records.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Those of the last while ("2h", "30d") or since a date or time; the newest 50 without it
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Those with larger numbers: what an export has not taken yet
    #[arg(long, value_name = "NUMBER", conflicts_with = "since")]
    after: Option<u64>,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

/// Prints records of the audit trail: a table, or with `--json` a line of JSON each.
///
/// # Errors
/// There is no way to the data.
pub async fn run(global: &Global, arguments: Arguments) -> anyhow::Result<()> {
    let since = arguments.since.as_deref().map(|text| when(text, clock::now())).transpose()?;
    Door::with(global, async |door| {
        if arguments.follow && !door.leads_to_server() {
            let message = "no server runs here, so nothing more will happen; leave out --follow";
            return Err(Failure::new(Reason::BadRequest, message).into());
        }
        let mut records = match (since, arguments.after) {
            (None, None) => page(door, &format!("limit={NEWEST}")).await?.records,
            (Some(_), _) => from(door, 0).await?,
            (None, Some(after)) => from(door, after).await?,
        };
        records.retain(|record| since.is_none_or(|since| record.at >= since));
        let mut last = records.last().map(|record| record.id).or(arguments.after);
        show(global, &records, true)?;
        if !arguments.follow {
            return Ok(());
        }
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return Ok(()),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let newest = from(door, last.unwrap_or_default()).await?;
            last = newest.last().map(|record| record.id).or(last);
            show(global, &newest, false)?;
        }
    })
    .await
}

/// A duration before now, a date (its beginning in UTC) or a time.
fn when(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Some(duration) = parse_duration(text) {
        return Ok(now.checked_sub(duration).unwrap_or(Timestamp::MIN));
    }
    let date = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    text.parse::<Timestamp>().ok().or_else(date).ok_or_else(|| {
        let message = format!("{text:?} is no time; write \"2h\", \"30d\", a date such as \"2026-01-31\", or a time");
        Failure::new(Reason::BadRequest, message)
    })
}

async fn page(door: &Door, query: &str) -> anyhow::Result<AuditView> {
    door.get(&format!("/api/v1/audit?{query}")).await
}

/// Every record with a larger number.
async fn from(door: &Door, mut after: u64) -> anyhow::Result<Vec<AuditRecord>> {
    let mut records: Vec<AuditRecord> = Vec::new();
    loop {
        let view = page(door, &format!("after={after}&limit={PAGE}")).await?;
        records.extend(view.records);
        match records.last() {
            Some(last) if view.more => after = last.id,
            Some(_) | None => return Ok(records),
        }
    }
}

fn show(global: &Global, records: &[AuditRecord], has_heading: bool) -> anyhow::Result<()> {
    if global.json {
        for record in records {
            print(&(serde_json::to_string(record)? + "\n"))?;
        }
        return Ok(());
    }
    let heading = ["NUMBER", "TIME", "WHO", "FROM", "ACT", "TO", "RESULT"].map(str::to_owned);
    let rows: Vec<_> = has_heading.then_some(heading).into_iter().chain(records.iter().map(row)).collect();
    print_table(&rows)
}

fn row(record: &AuditRecord) -> [String; 7] {
    let doing = &record.doing;
    let (object, detail) = (doing.object.as_deref(), doing.detail.as_deref());
    let to = match (object, detail) {
        (Some(object), Some(detail)) => format!("{object} ({detail})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    };
    let times = record.count.map_or_else(String::new, |count| format!(" × {count}"));
    [
        record.id.to_string(),
        local_time(record.at),
        doing.who.to_string(),
        doing.from.clone().unwrap_or_default(),
        doing.act.as_str().to_owned(),
        to,
        format!("{}{times}", record.result.as_str()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_as_people_say_them() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-03-01T12:00:00Z");
        assert_eq!(when("2h", now).unwrap(), at("2026-03-01T10:00:00Z"));
        assert_eq!(when("2026-01-31", now).unwrap(), at("2026-01-31T00:00:00Z"));
        assert_eq!(when("2026-01-31T08:00:00+01:00", now).unwrap(), at("2026-01-31T07:00:00Z"));
        assert!(when("yesterday", now).is_err());
    }
}
