//! Who gets in, and what somebody gets who means harm: another site, a smaller scope, a token that is gone, guesses.

use anyhow::{Context, Result, ensure};
use reqwest::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tests::world::World;

use super::desk::token;

/// A browser's part, played by hand.
struct Visitor {
    client: Client,
    base: url::Url,
    cookie: String,
}

impl Visitor {
    fn of(world: &World) -> Result<Self> {
        let client = world.http_with(Client::builder().redirect(Policy::none()))?;
        Ok(Self { client, base: world.server_url()?, cookie: String::new() })
    }

    /// Logs in, and gives what the server answered.
    async fn log_in(&mut self, token: &str) -> Result<Response> {
        let answer = self.post("login", &[("token", token), ("next", "/releases")]).await?;
        if let Some(cookie) = answer.headers().get(SET_COOKIE) {
            self.cookie = cookie.to_str()?.split(';').next().context("a cookie")?.to_owned();
        }
        Ok(answer)
    }

    async fn get(&self, path: &str) -> Result<Response> {
        Ok(self.client.get(self.base.join(path)?).header(COOKIE, &self.cookie).send().await?)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        self.post_from(path, fields, &[]).await
    }

    async fn post_from(&self, path: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<Response> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(self.base.join(path)?).header(COOKIE, &self.cookie);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        Ok(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await?)
    }

    /// The proof that this session's forms carry.
    async fn proof(&self) -> Result<String> {
        let page = self.get("").await?.text().await?;
        let from = page.split_once("name=\"proof\" value=\"").context("a form has a proof")?.1;
        Ok(from.split('"').next().context("a proof")?.to_owned())
    }
}

fn header(headers: &HeaderMap, name: impl reqwest::header::AsHeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn runs(world: &World) -> Result<usize> {
    let status: Value = world.feed_server(["status", "--json"]).await?.success()?.json()?;
    Ok(status["runs"].as_array().context("runs")?.len())
}

async fn is_logged_out(visitor: &Visitor) -> Result<bool> {
    let answer = visitor.get("").await?;
    let page = (answer.status() == StatusCode::SEE_OTHER).then(|| header(answer.headers(), LOCATION).to_owned());
    Ok(page.as_deref() == Some("/login"))
}

#[tokio::test]
async fn a_session_opens_with_a_token_and_ends_with_it() -> Result<()> {
    for tls in [false, true] {
        let world = World::builder();
        let world = if tls { world.tls() } else { world }.build().await?;
        let secret = token(&world, "read").await?;
        let mut visitor = Visitor::of(&world)?;
        let sent = visitor.get("headends?q=a").await?;
        ensure!(sent.status() == StatusCode::SEE_OTHER, "{sent:?}");
        ensure!(header(sent.headers(), LOCATION) == "/login?next=%2Fheadends%3Fq%3Da", "{sent:?}");

        let answer = visitor.log_in(&format!(" {secret}\n")).await?;
        ensure!(
            answer.status() == StatusCode::SEE_OTHER && header(answer.headers(), LOCATION) == "/releases",
            "{answer:?}"
        );
        let cookie = header(answer.headers(), SET_COOKIE);
        let (name, flags) = if tls { ("__Host-posture-feed=", "; Secure") } else { ("posture-feed=", "") };
        let wanted = format!("; Path=/; HttpOnly; SameSite=Strict{flags}");
        ensure!(cookie.starts_with(name) && cookie.ends_with(&wanted), "{cookie}");
        ensure!(visitor.cookie.len() == name.len() + 43, "256 bits in base64: {cookie}");

        let page = visitor.get("").await?;
        ensure!(page.status() == StatusCode::OK, "{page:?}");
        let policy = header(page.headers(), CONTENT_SECURITY_POLICY);
        ensure!(policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self'"), "{policy}");
        ensure!(header(page.headers(), CACHE_CONTROL) == "no-store", "{page:?}");
        let page = page.text().await?;
        ensure!(!page.contains(&secret) && page.contains("desk-read"), "{page}");
        let style = page.split('"').find(|text| text.ends_with(".css")).context("a style")?;
        let style = visitor.get(style.trim_start_matches('/')).await?;
        ensure!(header(style.headers(), CACHE_CONTROL).contains("immutable"), "{style:?}");

        // Another session of the same token goes on when one is logged out.
        let mut other = Visitor::of(&world)?;
        other.log_in(&secret).await?;
        let out = visitor.post("logout", &[("proof", &visitor.proof().await?)]).await?;
        ensure!(header(out.headers(), SET_COOKIE).contains("Max-Age=0"), "{out:?}");
        ensure!(is_logged_out(&visitor).await? && !is_logged_out(&other).await?);
        world.feed_server(["token", "revoke", "desk-read"]).await?.success()?;
        ensure!(is_logged_out(&other).await?, "the token is revoked");

        let trail = world.feed_server(["audit", "--json"]).await?.success()?.stdout;
        ensure!(trail.contains(r#""act":"login""#) && trail.contains(r#""act":"logout""#), "{trail}");
        ensure!(!trail.contains(&secret) && !std::fs::read_to_string(world.server_log())?.contains(&secret));
    }
    Ok(())
}

#[tokio::test]
async fn whoever_may_only_look_changes_nothing_and_no_other_site_does() -> Result<()> {
    let world = World::builder().build().await?;
    let (reads, operates) = (token(&world, "read").await?, token(&world, "operate").await?);
    let mut reader = Visitor::of(&world)?;
    reader.log_in(&reads).await?;
    let page = reader.get("").await?.text().await?;
    ensure!(!page.contains("Update now</button>"), "{page}");
    let forged = reader.post("updates/now", &[("proof", &reader.proof().await?)]).await?;
    ensure!(forged.status() == StatusCode::FORBIDDEN, "{forged:?}");
    ensure!(forged.text().await?.contains("scope is too small"));

    let mut operator = Visitor::of(&world)?;
    operator.log_in(&operates).await?;
    let proof = operator.proof().await?;
    let theirs = reader.proof().await?;
    for fields in [&[][..], &[("proof", "")], &[("proof", theirs.as_str())], &[("proof", &proof[1..])]] {
        let forged = operator.post("updates/now", fields).await?;
        ensure!(forged.status() == StatusCode::FORBIDDEN, "{fields:?}: {forged:?}");
    }
    for headers in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
        let forged = operator.post_from("updates/now", &[("proof", &proof)], &[headers]).await?;
        ensure!(forged.status() == StatusCode::FORBIDDEN, "{headers:?}: {forged:?}");
        let forged = Visitor::of(&world)?.post_from("login", &[("token", &operates)], &[headers]).await?;
        ensure!(forged.status() == StatusCode::FORBIDDEN, "{headers:?}: {forged:?}");
        ensure!(!forged.headers().contains_key(SET_COOKIE), "{forged:?}");
    }
    let nobody = Visitor::of(&world)?.post("updates/now", &[("proof", &proof)]).await?;
    ensure!(nobody.status() == StatusCode::SEE_OTHER && header(nobody.headers(), LOCATION) == "/login", "{nobody:?}");
    ensure!(runs(&world).await? == 0, "a forged form changed something");

    let asked = operator.post("updates/now", &[("proof", &proof)]).await?;
    ensure!(asked.status() == StatusCode::SEE_OTHER && header(asked.headers(), LOCATION) == "/", "{asked:?}");
    world.released(1).await?;
    let trail = world.feed_server(["audit", "--json"]).await?.success()?.stdout;
    ensure!(trail.contains(r#""act":"sync""#) && trail.contains(r#""name":"desk-operate""#), "{trail}");
    Ok(())
}

#[tokio::test]
async fn guesses_are_counted_with_those_of_the_api() -> Result<()> {
    let world = World::builder().without_upstream().build().await?;
    let secret = token(&world, "read").await?;
    let mut visitor = Visitor::of(&world)?;
    for _ in 0..5 {
        let guess = visitor.log_in("pf_guess").await?;
        ensure!(guess.status() == StatusCode::UNAUTHORIZED && guess.text().await?.contains("Not logged in"));
        ensure!(world.get_as("pf_guess", "api/v1/status").await?.status() == StatusCode::UNAUTHORIZED);
    }
    let guess = visitor.log_in("pf_guess").await?;
    ensure!(
        guess.status() == StatusCode::TOO_MANY_REQUESTS && guess.headers().contains_key("retry-after"),
        "{guess:?}"
    );
    ensure!(visitor.log_in("").await?.status() == StatusCode::TOO_MANY_REQUESTS);
    // A good one is taken at any time.
    ensure!(visitor.log_in(&secret).await?.status() == StatusCode::SEE_OTHER);
    ensure!(visitor.log_in(&"x".repeat(100_000)).await?.status() == StatusCode::PAYLOAD_TOO_LARGE);
    Ok(())
}
