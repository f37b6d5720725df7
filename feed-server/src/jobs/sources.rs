//! Which of upstream's URLs is asked: in their order, past those that cool down, and on to the next one where another
//! URL may do.

use std::future::Future;
use std::sync::Arc;

use bundles::Reasoned;
use bundles::report::Failure;
use url::Url;

use super::password::{Leave, PasswordWatch};
use super::update::untidy;
use crate::app::runs::Request;
use crate::app::{App, internal};
use crate::crash;
use crate::store::StoreError;
use crate::sync::SyncError;
use crate::upstream::manners::{Cooldown, Held, Manners, Source, another_source_may_help, span};
use crate::upstream::{UpstreamError, Vendor, shown};

/// What a run's failure says of each URL but the first that was asked: enough for a sentence, so that all of them fit.
const MAX_OTHER_CHARS: usize = 240;

/// What is done at each of upstream's URLs, until one of them brings something.
pub(super) trait Look: Sync {
    /// What it brings.
    type Found: Send;
    /// Why it brings nothing.
    type Error: Heeded + Send + Sync;

    /// Looks; the URL is the vendor's.
    fn look(&self, vendor: &Vendor) -> impl Future<Output = Result<Self::Found, Self::Error>> + Send;
}

/// An error in which upstream, or what leads there, may ask something of later runs.
pub(super) trait Heeded: Reasoned {
    /// What it answered.
    fn upstream(&self) -> Option<&UpstreamError>;

    /// Whether it is about something that is the same whichever of the URLs is asked.
    fn is_the_same_elsewhere(&self) -> bool {
        false
    }
}

impl Heeded for SyncError {
    fn upstream(&self) -> Option<&UpstreamError> {
        Self::upstream(self)
    }

    fn is_the_same_elsewhere(&self) -> bool {
        self.is_of_offline_zip()
    }
}

/// A look at upstream that came to something.
pub(super) struct Asked<T> {
    /// What was found.
    pub(super) looked: T,
    /// Where, if that was not `[upstream] url`: as it may be shown.
    pub(super) fallback: Option<String>,
}

/// A URL that brought nothing.
struct Failed {
    url: String,
    failure: Failure,
    /// Not where it cools down.
    was_asked: bool,
}

/// Asks upstream's URLs in their order.
///
/// # Errors
/// None of them could be used: the failure of the first that was asked, with what became of the others.
pub(super) async fn ask<L: Look>(
    app: &Arc<App>,
    request: Request,
    vendor: &Vendor,
    watch: &PasswordWatch,
    look: &L,
) -> Result<Asked<L::Found>, Failure> {
    let sources: Vec<(Url, Source)> =
        vendor.sources().into_iter().map(|url| (url.clone(), Source::new(&url, vendor.proxies()))).collect();
    settle(app, sources.iter().map(|(_, source)| source.clone()).collect()).await;
    all_cooling(app, request)?;
    let leave = watch.begin(vendor, request.trigger).await?;
    let mut failed: Vec<Failed> = Vec::new();
    for (number, (url, source)) in sources.iter().enumerate() {
        let url_shown = shown(url);
        if let Some(failure) = cooling(app, request, source) {
            failed.push(Failed { url: url_shown, failure, was_asked: false });
            continue;
        }
        if let (Leave::Refused(failure), Some(_)) = (&leave, &source.proxy) {
            failed.push(Failed { url: url_shown, failure: failure.clone(), was_asked: false });
            continue;
        }
        match look.look(&vendor.at(url.clone())).await {
            Ok(looked) => {
                succeeded(app, source).await;
                let fallback = (number > 0).then_some(url_shown);
                if let Some(url) = &fallback {
                    tracing::warn!(url, before = told(&failed), "a fallback URL serves in the place of the first");
                }
                return Ok(Asked { looked, fallback });
            }
            Err(error) => {
                let failure = match (error.upstream(), &leave) {
                    // What its index names is behind the proxy.
                    (Some(UpstreamError::ProxyAuth { .. }), Leave::Refused(failure)) => failure.clone(),
                    (_, _) => take_heed(app, source, &error).await,
                };
                let goes_on = another_source_may_help(failure.reason) && !error.is_the_same_elsewhere();
                failed.push(Failed { url: url_shown, failure, was_asked: true });
                if !goes_on {
                    break;
                }
            }
        }
    }
    Err(of_all(failed))
}

/// Nothing is to be asked at all.
fn all_cooling(app: &App, request: Request) -> Result<(), Failure> {
    if request.wishes.ignore_cooldown {
        return Ok(());
    }
    match app.all_cooling() {
        Some(cooldown) => Err(Failure::of(&Held::by_cooldown(&cooldown, app.now()))),
        None => Ok(()),
    }
}

/// Why a source is passed over, where it is.
fn cooling(app: &App, request: Request, source: &Source) -> Option<Failure> {
    let now = app.now();
    let manners = app.manners();
    let cooldown = manners.cooldown(source, now)?;
    if request.wishes.ignore_cooldown {
        let (url, until) = (cooldown.shown_url(), format!("{:.0}", cooldown.until));
        tracing::info!(url, until, "a cool-down is overridden: upstream is asked once all the same");
        return None;
    }
    Some(Failure::of(&Held::by_cooldown(cooldown, now)))
}

/// Forgets what no longer holds.
async fn settle(app: &Arc<App>, sources: Vec<Source>) {
    let settling = Arc::clone(app);
    let ended = tokio::task::spawn_blocking(move || settling.settle_manners(&sources));
    for (cooldown, ending) in kept(ended.await.map_err(|error| internal(&error))).unwrap_or_default() {
        tracing::info!(url = cooldown.shown_url(), why = ending.as_str(), "a cool-down ended");
    }
}

async fn succeeded(app: &Arc<App>, source: &Source) {
    let source = source.clone();
    if let Some(Some(cooldown)) = change(app, move |manners| manners.succeeded(&source)).await {
        tracing::info!(url = cooldown.shown_url(), why = "upstream answers again", "a cool-down ended");
    }
}

/// What a failure stands for, once what it asks of later runs is kept.
async fn take_heed(app: &Arc<App>, source: &Source, error: &impl Heeded) -> Failure {
    let failure = Failure::of(error);
    let pause = error.upstream().and_then(UpstreamError::asks_for_pause);
    let Some(pause) = pause else { return failure };
    let cooldown = Cooldown::new(source, pause.status, pause.retry_after, app.now());
    let (url, until) = (cooldown.shown_url(), format!("{:.0}", cooldown.until));
    let length = span(cooldown.until.duration_since(cooldown.since));
    crash::point("manners.before_keep");
    change(app, move |manners| manners.pause(cooldown)).await;
    crash::point("manners.kept");
    tracing::warn!(url, until, status = pause.status, "a cool-down begins: upstream asked to be left alone");
    let message = format!("{}; it is left alone until {until} ({length})", failure.message);
    Failure::new(failure.reason, message)
}

async fn change<T: Send + 'static>(
    app: &Arc<App>,
    change: impl FnOnce(&mut Manners) -> T + Send + 'static,
) -> Option<T> {
    let changing = Arc::clone(app);
    let changed = tokio::task::spawn_blocking(move || changing.change_manners(change));
    kept(changed.await.map_err(|error| internal(&error)))
}

/// What cannot be kept is known until the next restart all the same.
fn kept<T>(kept: Result<Result<T, StoreError>, Failure>) -> Option<T> {
    match kept {
        Ok(Ok(kept)) => return Some(kept),
        Ok(Err(error)) => untidy(&error),
        Err(failure) => untidy(&failure),
    }
    None
}

/// The failure of the first URL that was asked, and in short what became of the others.
fn of_all(mut failed: Vec<Failed>) -> Failure {
    let first = failed.iter().position(|failed| failed.was_asked).unwrap_or(0);
    if failed.is_empty() {
        // There is always one, which either brings something or fails.
        return Failure::new(bundles::Reason::Internal, bundles::Reason::Internal.sentence());
    }
    let first = failed.remove(first).failure;
    if failed.is_empty() {
        return first;
    }
    Failure::new(first.reason, format!("{}; the other URLs: {}", first.message, told(&failed)))
}

fn told(failed: &[Failed]) -> String {
    let short = |message: &str| message.chars().take(MAX_OTHER_CHARS).collect::<String>();
    let told = failed
        .iter()
        .map(|Failed { url, failure, .. }| format!("{url}: {} ({})", short(&failure.message), failure.reason));
    told.collect::<Vec<_>>().join("; ")
}
