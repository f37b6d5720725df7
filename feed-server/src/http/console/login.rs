//! Logging in with an administrator's token, and out.

use std::time::Instant;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _, web};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::answers::{Shown, to};
use super::forms::{self, Posted};
use super::session::{check_site, close_named, is_open, is_secure, set_cookie};
use super::{answers::Unshown, layout};
use crate::app::App;
use crate::http::auth::{Read, holder, peer, unknown_token};
use crate::http::errors::{HTML, Problem};
use crate::store::Who;
use crate::store::audit::{Act, AuditResult, Doing};
use crate::tokens::Presented;

/// Longer addresses are none of this server's pages with what is searched for.
const MAX_NEXT: usize = 1_000;

/// The log-in page's address, for whoever asked for `next`.
pub(super) fn address(next: &str) -> String {
    match local(next) {
        "/" => "/login".to_owned(),
        next => format!("/login?next={}", utf8_percent_encode(next, NON_ALPHANUMERIC)),
    }
}

/// Where to go after.
#[derive(Debug, Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

/// Asks for a token.
pub(super) async fn page(request: HttpRequest, app: web::Data<App>, next: web::Query<Next>) -> HttpResponse {
    let next = local(&next.next);
    if is_open(&request) {
        return to(next);
    }
    HttpResponse::Ok().content_type(HTML).body(form(&request, &app, next, None).into_string())
}

/// Whether whoever asks is logged in, for the log-in page: a browser keeps the cookie back where another site led it here, and a
/// page that is here already may ask once more.
pub(super) async fn state(request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(if is_open(&request) { "in" } else { "out" })
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

/// Opens a session for the holder of a token.
pub(super) async fn log_in(request: HttpRequest, app: web::Data<App>, body: web::Payload) -> Shown {
    check_site(&request)?;
    let Fields { token, next } = forms::fields(&forms::read(body).await?)?;
    let next = local(&next);
    // What is no token at all counts as a wrong one.
    let presented = Presented::from_text(&token).or_else(|| Presented::from_text("none"));
    let held = presented.ok_or_else(unknown_token).and_then(|presented| holder(&request, &presented));
    let token = match held {
        Ok(token) => token,
        Err(problem) => return Ok(again(&request, &app, next, &problem)),
    };
    close_named(&request, &app);
    let id = app.sessions.open(token.token, Instant::now());
    let who = Who::Token { name: token.name };
    let doing = Doing { who: who.clone(), from: peer(&request), act: Act::Login, object: None, detail: None };
    tracing::info!(by = %who, "logged in to the console");
    let mut response = to(next);
    with_cookie(&mut response, set_cookie(&app, Some(&id)))?;
    web::block(move || app.tell(doing, AuditResult::Done)).await?;
    Ok(response)
}

/// No fields but the proof.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

/// Ends a session.
pub(super) async fn log_out(app: web::Data<App>, posted: Posted<Read, Nothing>) -> Shown {
    posted.session.close(&app);
    let doing = posted.session.doing(Act::Logout);
    tracing::info!(by = %doing.who, "logged out of the console");
    let mut response = to("/login");
    with_cookie(&mut response, set_cookie(&app, None))?;
    web::block(move || app.tell(doing, AuditResult::Done)).await?;
    Ok(response)
}

fn with_cookie(response: &mut HttpResponse, cookie: String) -> Result<(), Unshown> {
    let value = header::HeaderValue::try_from(cookie).map_err(|error| Problem::bad_request(error.to_string()))?;
    response.headers_mut().insert(header::SET_COOKIE, value);
    Ok(())
}

fn again(request: &HttpRequest, app: &App, next: &str, problem: &Problem) -> HttpResponse {
    let mut response = problem.error_response();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(HTML));
    response.set_body(form(request, app, next, Some(problem)).into_string()).map_into_boxed_body()
}

fn form(request: &HttpRequest, app: &App, next: &str, problem: Option<&Problem>) -> Markup {
    let is_local = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let body = html! {
        h1 { "Log in" }
        @if let Some(problem) = problem {
            div.note.bad role="alert" { p #problem { strong { "Not logged in: " } (problem.detail) } }
        }
        @if !is_local && !is_secure(app) {
            div.note.warn role="note" {
                p { strong { "This connection is not encrypted." } " Whoever is in between reads the token. Use the server's own machine, "
                    "or give the server a certificate (" code { "[listen] tls_certificate" } ")." }
            }
        }
        @if is_secure(app) {
            // Only the browser knows how it came here: a proxy in front may end TLS.
            div.note.warn #insecure role="note" hidden {
                p { strong { "Open the console by https." } " By this address the browser keeps no session." }
            }
        }
        form.login method="post" action="/login" data-log-in[next != "/" && problem.is_none()] {
            input type="hidden" name="next" value=(next);
            label for="token" { "Administrator’s token" }
            input #token type="password" name="token" required autocomplete="current-password" autocapitalize="off"
                spellcheck="false" autofocus aria-describedby="token-hint" aria-invalid[problem.is_some()];
            p.hint #token-hint { "It begins with " code { "pf_" } ". On the server, " code { "feed-server token add NAME --scope read" }
                " makes one that looks; " code { "operate" } " may update as well, and " code { "admin" } " may do everything." }
            button.primary type="submit" { "Log in" }
        }
    };
    layout::bare("Log in", &body)
}

/// A path of this server's, else its first page: nobody is led elsewhere after logging in.
fn local(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && next.len() <= MAX_NEXT;
    // A browser takes a backslash for a slash, and leaves control characters out.
    let is_plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_page = !next.starts_with("/login") && !next.starts_with("/live/");
    if is_path && is_plain && is_page { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for (next, led) in [
            ("/", "/"),
            ("/releases/7", "/releases/7"),
            ("/headends?q=vpn&state=silent", "/headends?q=vpn&state=silent"),
            ("", "/"),
            ("https://evil.example/", "/"),
            ("//evil.example/", "/"),
            ("/\\evil.example/", "/"),
            ("/\t/evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("/login?next=/", "/"),
            ("/live/updates", "/"),
        ] {
            assert_eq!(local(next), led, "{next:?}");
        }
        assert_eq!(address("/headends?q=a b"), "/login", "what is no address is not carried along");
        assert_eq!(address("/headends?q=a"), "/login?next=%2Fheadends%3Fq%3Da");
    }
}
