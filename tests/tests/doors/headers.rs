//! What every answer says to a browser, and does not say to anybody.

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::Value;
use tests::world::World;

/// On all that a person's browser may come upon, and that is no page.
const FOR_BROWSERS: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// On the console's pages, which are to be run by a browser: what they may load is this server's own, and nothing that is written
/// into them.
const ON_PAGES: [(&str, &str); 4] = [
    FOR_BROWSERS[0],
    FOR_BROWSERS[1],
    ("referrer-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
];

/// Pages, what they are made of, and where their forms go.
const PAGES: [&str; 9] = [
    "/",
    "/live/updates",
    "/updates/now",
    "/login",
    "/login?next=%2Freleases",
    "/login/state",
    "/logout",
    "/assets/nothing.css",
    "/?x=%3Cscript%3E",
];

const TRANSPORT: (&str, &str) = ("strict-transport-security", "max-age=31536000");

/// What tells of the program, its version, or what is behind it.
const BANNERS: [&str; 5] = ["server", "x-powered-by", "via", "x-aspnet-version", "x-runtime"];

fn says(headers: &HeaderMap, (name, value): (&str, &str)) -> bool {
    headers.get(name).is_some_and(|said| said == value)
}

#[tokio::test]
async fn every_route_says_what_a_browser_must_not_do_and_nothing_of_the_inside() -> Result<()> {
    for tls in [false, true] {
        let world = World::builder();
        let world = if tls { world.tls() } else { world }.build().await?;
        world.sync().await?.success()?;
        world.released(1).await?;
        let token = world.feed_server(["token", "add", "reader", "--scope", "read"]).await?.success()?.stdout;
        let description: Value = world.get("api/v1/openapi.json").await?.json().await?;
        let templates = description["paths"].as_object().context("paths")?.keys();
        let filled = templates.map(|it| {
            it.replace("{id}", "1").replace("{name}", "a").replace("{repository}", "online").replace("{serial}", "1")
        });
        let mut paths: Vec<String> = filled.collect();
        paths.extend(
            [
                "/nothing",
                "/api/v1/nothing",
                "/api/v1/openapi.json",
                "/%2e%2e/etc/passwd",
                "/healthz",
                "/readyz",
                "/metrics",
                "/web/secure/spa/posture-update.xml",
                "/web/secure/spa/nothing",
                "/repo/metadata/timestamp.json",
                "/repo/nothing",
                "/repo/targets/..%2f..%2fkeys",
                "/offline/metadata/timestamp.json",
                "/offline/nothing",
                "/offline/posture-offline.zip.sheet.txt",
            ]
            .map(str::to_owned),
        );
        paths.extend(PAGES.map(str::to_owned));
        let client = Client::builder().redirect(Policy::none());
        let client = world.http_with(client)?;
        for path in &paths {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE, Method::OPTIONS, Method::TRACE] {
                for token in [None, Some(token.trim())] {
                    // What a reader may do changes nothing; nobody else is asked to.
                    let request =
                        client.request(method.clone(), world.server_url()?.join(path.trim_start_matches('/'))?);
                    let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
                    let answer = request.send().await?;
                    let headers = answer.headers().clone();
                    let what = format!("{method} {path} ({}, {headers:?})", answer.status());
                    let is_content = path.starts_with("/repo/") || path.starts_with("/offline/");
                    let is_page = PAGES.contains(&path.as_str());
                    for wanted in if is_page { ON_PAGES } else { FOR_BROWSERS } {
                        ensure!(is_content || says(&headers, wanted), "{wanted:?} of {what}");
                    }
                    ensure!(!path.starts_with("/offline/") || says(&headers, FOR_BROWSERS[0]), "{what}");
                    ensure!(says(&headers, TRANSPORT) == (tls && !is_content), "{TRANSPORT:?} of {what}");
                    for banner in BANNERS {
                        ensure!(!headers.contains_key(banner), "{banner} of {what}");
                    }
                    if answer.status().is_client_error() || answer.status().is_server_error() {
                        let is_problem = says(&headers, ("content-type", "application/problem+json"));
                        let is_told = is_page && says(&headers, ("content-type", "text/html; charset=utf-8"));
                        ensure!(is_problem || is_told, "{what} is no problem+json, nor a page");
                        let said = answer.text().await?;
                        let inside = [
                            world.directory().to_string_lossy().into_owned(),
                            "feed-server/src".to_owned(),
                            "panicked".to_owned(),
                        ];
                        ensure!(inside.iter().all(|inside| !said.contains(inside)), "{what}: {said}");
                    }
                }
            }
        }
        ensure!(paths.len() > 30, "{paths:?}");
    }
    Ok(())
}
