//! `feed-server token …`

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::door::Door;
use super::output::{local_time, print, print_json, print_table};
use super::{Global, token_file};
use crate::http::api::views::{NewToken, TokenView};
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
        /// Write the token to a new file (mode 0600) instead of showing it
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
    /// List tokens' names
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
        Verb::Add { name, scope, token_file } => {
            let told = format!("Token {name} is made");
            let new = NewToken { name, scope: scope.into() };
            token_file::issue(global, "/api/v1/tokens", &new, token_file, &told).await
        }
        Verb::List => {
            let tokens: Vec<TokenView> = Door::with(global, async |door| door.get("/api/v1/tokens").await).await?;
            if global.json { print_json(&tokens) } else { list(&tokens) }
        }
        Verb::Revoke { name } => {
            let path = format!("/api/v1/tokens/{}", super::segment(&name)?);
            Door::with(global, async |door| door.delete(&path).await).await?;
            if global.json { Ok(()) } else { print(&format!("Token {name} is revoked.\n")) }
        }
    }
}

fn list(tokens: &[TokenView]) -> anyhow::Result<()> {
    let mut rows = vec![["TOKEN", "SCOPE", "MADE"].map(str::to_owned)];
    for token in tokens {
        let scope = match token.scope {
            Scope::Read => "read",
            Scope::Operate => "operate",
            Scope::Admin => "admin",
        };
        rows.push([token.name.clone(), scope.to_owned(), local_time(token.created)]);
    }
    print_table(&rows)
}
