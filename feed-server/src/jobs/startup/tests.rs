use bundles::Manifest;
use jiff::SignedDuration;

use super::*;
use crate::store::Repository;
use crate::store::imports::{BroughtBy, VerifiedFacts};
use crate::store::records::Trigger;
use crate::testing::{World, start};

fn run(id: u64, started: Timestamp, outcome: Option<Outcome>) -> RunRecord {
    let ended = outcome.as_ref().map(|_| started);
    RunRecord { ended, outcome, ..RunRecord::begun(id, started, Trigger::Schedule) }
}

fn minutes(minutes: i64) -> Timestamp {
    start() + SignedDuration::from_mins(minutes)
}

/// A world with these runs, and what its next start makes of them; its one release was made at [`start`].
async fn after_start(runs: impl FnOnce(&Manifest) -> Vec<RunRecord>) -> (Vec<RunRecord>, App) {
    let mut world = World::new();
    let made = world.release();
    for run in runs(&made) {
        world.store.put_run(&run).unwrap();
    }
    let World { directory, config, store, publisher, .. } = world;
    drop((store, publisher));
    let app = App::open(config, None, || minutes(60)).await.unwrap().app;
    end_interrupted(&app).unwrap();
    // Twice is as good as once.
    end_interrupted(&app).unwrap();
    let runs = app.store.runs(10).unwrap();
    drop(directory);
    (runs, app)
}

#[tokio::test]
async fn a_run_that_was_cut_off_after_its_commit_made_its_release() {
    let failed = Outcome::Failed { failure: cut_off() };
    for outcome in [None, Some(failed)] {
        let (runs, app) = after_start(|_| vec![run(1, minutes(-1), outcome)]).await;
        assert_eq!(runs[0].outcome, Some(Outcome::Released { serial: Serial::FIRST }));
        assert_eq!(runs[0].ended, Some(start()));
        assert_eq!(app.store.run_facts().unwrap().content_changed_at, Some(start()));
    }
}

#[tokio::test]
async fn a_run_that_was_cut_off_before_made_nothing() {
    let (runs, _) = after_start(|made| {
        let released = Outcome::Released { serial: made.serial };
        vec![run(1, minutes(-1), Some(released)), run(2, start(), None)]
    })
    .await;
    assert_eq!(runs[0].outcome, Some(Outcome::Failed { failure: cut_off() }));
    assert_eq!(runs[1].outcome, Some(Outcome::Released { serial: Serial::FIRST }));

    let (runs, _) = after_start(|_| vec![run(1, minutes(-5), None), run(2, minutes(-1), None)]).await;
    assert_eq!(runs[0].outcome, Some(Outcome::Released { serial: Serial::FIRST }), "the later run made it");
    assert_eq!(runs[1].outcome, Some(Outcome::Failed { failure: cut_off() }));

    let (runs, _) = after_start(|_| vec![run(1, minutes(1), None)]).await;
    assert_eq!(runs[0].outcome, Some(Outcome::Failed { failure: cut_off() }), "the release was there before");
}

/// What a start makes of a cut-off run where an import brought the release, at [`start`].
async fn beside_an_import(run: RunRecord, imported: Option<ImportOutcome>) -> (Option<Outcome>, Option<ImportOutcome>) {
    let mut origin = World::new();
    origin.publish_next().await;
    let relay = World::relay();
    relay.take(&origin.tree(""), &[Repository::Offline]).unwrap();
    let release = relay.store.releases(1).unwrap().remove(0);
    let at = release.since();
    let mut import = ImportRecord::begun(1, at, BroughtBy::WatchedFolder, ImportKind::Bundle, None);
    import.verified = Some(VerifiedFacts {
        serial: release.manifest.serial,
        highest_before: None,
        signer: bundles::Digest::of(b"root"),
        valid_until: at,
        versions: std::collections::BTreeMap::new(),
    });
    import.outcome = imported;
    relay.store.put_import(&import).unwrap();
    relay.store.put_run(&run).unwrap();
    let World { directory, config, store, publisher, .. } = relay;
    drop((store, publisher));
    let app = App::open(config, None, || minutes(60)).await.unwrap().app;
    end_interrupted(&app).unwrap();
    end_interrupted(&app).unwrap();
    let ended = (app.store.runs(1).unwrap().remove(0).outcome, app.store.import(1).unwrap().unwrap().outcome);
    drop(directory);
    ended
}

#[tokio::test]
async fn a_cut_off_run_is_not_credited_with_what_an_import_brought() {
    let cut_off_run = || Some(Outcome::Failed { failure: cut_off() });
    let imported = || Some(ImportOutcome::Imported { serial: Serial::FIRST });
    for (run_ended, import_ended) in [(None, imported()), (cut_off_run(), imported()), (cut_off_run(), None)] {
        let ended = beside_an_import(run(1, minutes(-1), run_ended), import_ended).await;
        assert_eq!(ended, (cut_off_run(), imported()));
    }
    // And the other way around: it is the run's where that began later.
    let stopped = Some(ImportOutcome::Failed { failure: import_cut_off() });
    let made = Outcome::Released { serial: Serial::FIRST };
    let ended = beside_an_import(run(1, minutes(0), Some(made.clone())), stopped.clone()).await;
    assert_eq!(ended, (Some(made), stopped));
}
