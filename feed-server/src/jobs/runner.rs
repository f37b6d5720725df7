//! Starts update runs and imports: one at a time, when they are due or somebody asks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bundles::Reason;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use crate::app::runs::Wishes;
use crate::app::{App, if_readable};
use crate::schedule::{Due, ScheduleState, due};
use crate::store::records::{RunRecord, Trigger};

/// Runs that the schedule looks back on: it counts failures in a row, and waits stop growing long before this many.
const LOOK_BACK: usize = 64;

/// The scheduler's timer ticks on the wall clock, and stands still while that is turned back; this one does not.
const MONOTONIC_TICK: Duration = Duration::from_secs(30);

/// Runs what is asked for, and nothing else, until `stop`.
pub async fn on_request(app: Arc<App>, stop: CancellationToken) {
    loop {
        run_asked(&app, &stop).await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.runs.woken() => {}
        }
    }
    app.runs.close();
}

/// The runs that the schedule begins with, newest first; none where the store cannot be read.
#[must_use]
pub fn recent(app: &App) -> VecDeque<RunRecord> {
    if_readable(app.store.runs(LOOK_BACK)).into()
}

/// Runs what is due and what is asked for, until `stop`. `recent` is kept in memory from here on: a store that cannot be
/// written must not make every tick a run.
pub async fn scheduled(app: Arc<App>, mut recent: VecDeque<RunRecord>, stop: CancellationToken) {
    let fetches = app.config.upstream.fetches();
    // Drawn once for each attempt: drawing at every tick would amount to the smallest.
    let mut jitter: f64 = rand::random();
    let mut start_owes_a_run = app.newest().is_none();
    let mut is_told = false;
    loop {
        let mut failed_to_begin = None;
        if fetches {
            let state = ScheduleState::from_runs(app.first_start, start_owes_a_run, &recent)
                .cooling_until(app.all_cooling().map(|cooldown| cooldown.until));
            match due(app.now(), &state, &app.config.schedule, jitter) {
                Due::At(at) => {
                    app.runs.set_next_due(Some(at));
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::info!("next run at {at:.0}; `feed-server sync` does it now");
                    }
                }
                Due::Now(trigger) => failed_to_begin = start(&app, trigger),
            }
        }
        let run = match failed_to_begin {
            Some(record) => Some(record),
            None => run_asked(&app, &stop).await,
        };
        if let Some(record) = run {
            recent.push_front(record);
            recent.truncate(LOOK_BACK);
            jitter = rand::random();
            start_owes_a_run = false;
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = app.runs.woken() => {}
            () = tokio::time::sleep(MONOTONIC_TICK) => {}
        }
    }
    app.runs.close();
}

/// The failure, where a run could not even begin: the schedule counts it as one, so that the next try waits.
fn start(app: &App, trigger: Trigger) -> Option<RunRecord> {
    app.runs.set_next_due(Some(app.now()));
    match app.ask(trigger, Wishes::default()) {
        Ok(_) => None,
        // Somebody asked a moment ago: then that run is this one.
        Err(failure) if failure.reason == Reason::Busy => None,
        Err(failure) => Some(super::update::not_begun(app, trigger, failure)),
    }
}

async fn run_asked(app: &Arc<App>, stop: &CancellationToken) -> Option<RunRecord> {
    if stop.is_cancelled() {
        return None;
    }
    if let Some((import, running)) = app.runs.begin_import() {
        super::import::run(app, import, running, stop).await;
        return None;
    }
    let (request, running) = app.runs.begin(app.now())?;
    Some(super::update::run(app, request, running, stop).await)
}

/// A timer that wakes the runner every second. What is due, [`due`] says.
///
/// # Errors
/// The scheduler does not start.
pub async fn tick(app: &Arc<App>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let app = Arc::clone(app);
    let job = Job::new("* * * * * *", move |_, _| app.runs.tick())?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}
