//! `feed-server token …`

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Global;
use super::door::Door;
use super::output::{local_time, print, print_json, print_table};
use super::token_file::{self, Unwritten};
use crate::clock;
use crate::http::api::views::{IssuedToken, NewToken, TokenView};
use crate::store::records::Scope;

/// Administrators' tokens.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a token and show it, this once
    Add {
        /// What to call it: 1 to 253 of A-Z a-z 0-9 . _ -
        name: String,
        /// What it allows; each includes those before it
        #[arg(long)]
        scope: ScopeName,
        /// When it ends: a duration, a date (UTC), or never
        #[arg(long, value_name = "90d|DATE|never", default_value = "365d")]
        expires: String,
        /// Write the token to a new file (mode 0600) instead of showing it
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// List tokens: what they allow, when they end, when they were last used, who made them
    List,
    /// Revoke a token
    Revoke {
        /// Its name
        name: String,
    },
}

/// [`Scope`] as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ScopeName {
    /// Look
    Read,
    /// Update now, build bundles
    Operate,
    /// Headends and tokens
    Admin,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Read => Self::Read,
            ScopeName::Operate => Self::Operate,
            ScopeName::Admin => Self::Admin,
        }
    }
}

/// Makes, lists or revokes tokens.
///
/// # Errors
/// There is one already, there is none, or there is no way to the data.
pub async fn run(global: &Global, verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Add { name, scope, expires, token_file } => {
            let new = NewToken { name, scope: scope.into(), expires: Some(expires) };
            let told = |issued: &IssuedToken| {
                let end =
                    issued.expires.map_or_else(|| "never ends".to_owned(), |at| format!("ends {}", local_time(at)));
                format!("Token {} is made, and {end}", issued.name)
            };
            token_file::issue(global, "/api/v1/tokens", &new, token_file, Unwritten::Undone, told).await
        }
        Verb::List => {
            let tokens: Vec<TokenView> = Door::with(global, async |door| door.get("/api/v1/tokens").await).await?;
            if global.json { print_json(&tokens) } else { list(&tokens, clock::now()) }
        }
        Verb::Revoke { name } => {
            let path = format!("/api/v1/tokens/{}", super::segment(&name)?);
            Door::with(global, async |door| door.delete(&path).await).await?;
            if global.json { Ok(()) } else { print(&format!("Token {name} is revoked.\n")) }
        }
    }
}

fn list(tokens: &[TokenView], now: Timestamp) -> anyhow::Result<()> {
    let mut rows = vec![["TOKEN", "SCOPE", "MADE", "BY", "ENDS", "LAST USED"].map(str::to_owned)];
    for token in tokens {
        let ends = match token.expires {
            None => "never".to_owned(),
            Some(at) if at <= now => format!("ended {}", local_time(at)),
            Some(at) => local_time(at),
        };
        rows.push([
            token.name.clone(),
            token.scope.as_str().to_owned(),
            local_time(token.created),
            token.made_by.as_ref().map_or_else(String::new, ToString::to_string),
            ends,
            token.last_used.map_or_else(|| "never".to_owned(), hour),
        ]);
    }
    print_table(&rows)
}

/// It is known to the hour, so no minutes are shown.
fn hour(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime("%Y/%m/%d %Hh").to_string()
}
