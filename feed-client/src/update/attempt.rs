//! What an attempt does between taking the lock and taking note of how it ended.

use std::sync::Arc;

use bundles::release::FileRef;
use bundles::report::Transfer;
use bundles::signed::{RootFacts, SignedManifest};
use bundles::{Limits, Manifest, Reasoned as _, Serial};
use jiff::{SignedDuration, Timestamp};

use super::idle::{self, First};
use super::supplier::{Supplier, lock, target_name};
use super::{Outcome, Trigger, UpdateError};
use crate::apply::hook::{self, Occasion};
use crate::apply::stage::Staging;
use crate::apply::{self, activate, defaults, prune, rollback};
use crate::crash;
use crate::download::{self, Fetched, Partials, Wanted};
use crate::durable::{self, Readers};
use crate::fetch::Coding;
use crate::lock::Lock;
use crate::plan::{self, From as Origin};
use crate::progress::Progress;
use crate::repository::{Repository, RepositoryError, Side, Store};
use crate::settings::Settings;
use crate::state::{Activating, Damage, Hold, HoldReason, State};

/// A manifest that claims to be made later than this from now means that one of the two clocks is wrong; with this
/// machine's clock far behind, expired metadata would pass for fresh. A day is more than time zones set wrong amount to.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// One attempt, under the lock.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) settings: &'a Settings,
    pub(super) show_progress: bool,
    pub(super) state: State,
    /// How a release from the server comes.
    pub(super) transfer: Option<Transfer>,
    /// Of the data directory, and of the apply directory where that is another one.
    pub(super) locks: Arc<(Lock, Option<Lock>)>,
}

impl Attempt<'_> {
    /// From the refresh to a release that runs.
    pub(super) async fn run(&mut self, trigger: Trigger, now: Timestamp) -> Result<Outcome, UpdateError> {
        let settings = self.settings;
        let paths = &settings.paths;
        self.heal().await?;
        self.look_at_clock(now);
        let remote = settings.remote()?;
        let store = self.store(settings.side);
        let is_damaged = self.look_for_damage(settings.side, &store, &settings.pinned_root, now)?;
        let (http, location) = (&remote.http, &remote.location);
        // A poll that ends with a 304 would leave the damage as it is.
        let first = if is_damaged { First::NotAsked } else { self.ask_first(remote, &store, trigger, now).await? };
        let first = match first {
            First::Idle(outcome) => {
                tracing::info!("the server has nothing new");
                return Ok(outcome);
            }
            First::Other(answer) => Some(answer),
            First::NotAsked => None,
        };
        let repository = Repository::refresh_from(first, http, location, &settings.pinned_root, &store, now).await?;
        self.state.root = Some(*repository.verified().root());
        let knows_bundles = self.keep_offline_root(&repository).await?;
        let here = apply::current(paths)?.and_then(|serial| apply::manifest_bytes(paths, serial).ok()?);
        let signed = repository.stable(here).await?;
        let (tagged, valid_until) = idle::tag_and_end(&repository);
        let outcome = self.follow(&signed, &Supplier::Server { repository, remote }, trigger, now).await?;
        // What is still lacking is asked for again by the next poll.
        let tagged = tagged.filter(|_| knows_bundles);
        self.note_refresh(tagged, (remote, valid_until), &store, signed.manifest().serial, now);
        Ok(outcome)
    }

    /// What was verified of a repository.
    pub(super) fn store(&self, side: Side) -> Store {
        let known = self.state.root.filter(|_| side == self.settings.side);
        Store::open(&self.settings.paths.metadata(side)).having_seen_root(known.map_or(0, |root| root.version))
    }

    /// A clock that went backwards ends no attempt: what is refused by it is refused by its own reason.
    pub(super) fn look_at_clock(&mut self, now: Timestamp) {
        self.state.clock_behind = self.state.latest_known().filter(|latest| *latest > now);
        if let Some(latest) = self.state.clock_behind {
            tracing::warn!(%now, %latest, "this machine's clock is behind what it said before, or what was signed; set it (NTP, UDP 123)");
        }
    }

    /// Takes note of signed metadata that is damaged or gone; whether any is.
    pub(super) fn look_for_damage(
        &mut self,
        side: Side,
        store: &Store,
        pinned_root: &[u8],
        now: Timestamp,
    ) -> Result<bool, UpdateError> {
        let is_complete = side == self.settings.side && self.state.root.is_some();
        let mut files: Vec<String> =
            store.damage(pinned_root, is_complete)?.iter().map(|name| side.shown(name)).collect();
        let offline_root = durable::read_if_there(&self.settings.paths.offline_root())?;
        if side == Side::Online && offline_root.is_some_and(|root| RootFacts::of_root(&root).is_err()) {
            files.push("offline-root.json".to_owned());
        }
        for file in &files {
            tracing::error!(
                file,
                "signed metadata in the data directory is damaged or gone; it is brought anew, and nothing older is taken than \
                 what the rest of it proves"
            );
        }
        if files.is_empty() {
            return Ok(false);
        }
        self.state.damage = Some(Damage { at: now, files });
        Ok(true)
    }

    /// What bundles are believed by, should one have to be carried here; whether that is known now.
    async fn keep_offline_root(&self, repository: &Repository) -> Result<bool, UpdateError> {
        let path = self.settings.paths.offline_root();
        let known = durable::read_if_there(&path)?;
        match repository.offline_root(known.as_deref()).await {
            Ok(Some(root)) => {
                durable::write(&path, &root, Readers::Anyone)?;
                crash::point("client.offline_root.stored");
            }
            Ok(None) => {}
            // The release is what the poll is for; the next one asks for this again.
            Err(error) => {
                let reason = error.reason().as_str();
                tracing::warn!(reason, "what bundles are signed with was not learnt: {}", error.whole_message());
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// From a manifest that is vouched for to a release that runs, wherever both come from.
    pub(super) async fn follow(
        &mut self,
        signed: &SignedManifest,
        supplier: &Supplier<'_>,
        trigger: Trigger,
        now: Timestamp,
    ) -> Result<Outcome, UpdateError> {
        let paths = &self.settings.paths;
        let newest = signed.manifest();
        let serial = newest.serial;
        check_floor(newest, &self.state, now)?;
        if matches!(supplier, Supplier::Server { .. }) {
            self.see(newest, supplier)?;
        }

        let current = apply::current(paths)?;
        if current == Some(serial) {
            return match apply::manifest(paths, serial) {
                Ok(Some(here)) if &here != newest => Err(UpdateError::SameNumber { serial }),
                Ok(Some(_)) => {
                    self.see(newest, supplier)?;
                    if trigger == Trigger::Operator && self.state.hold.take().is_some() {
                        self.state.save(paths)?;
                    }
                    Ok(Outcome::Unchanged { serial })
                }
                // Its manifest is damaged or gone, so the whole release is made again in place.
                Ok(None) | Err(_) => self.take(supplier, signed, current).await,
            };
        }
        if let (Trigger::Schedule, Some(why)) = (trigger, self.state.holds(serial)) {
            tracing::info!(
                serial = serial.get(),
                ?why,
                "the newest release is held; `feed-client update` tries it again"
            );
            return Ok(Outcome::Held { serial, why });
        }
        self.take(supplier, signed, current).await
    }

    /// From now on nothing older is taken. What a server signs was seen as soon as it is verified. A bundle was once all that
    /// is needed of it could be read: a damaged one must not keep out the one before it, which may be whole.
    fn see(&mut self, manifest: &Manifest, supplier: &Supplier<'_>) -> Result<(), UpdateError> {
        let before = self.state.clone();
        if let Supplier::Bundle { verified, metadata: (store, metadata), .. } = supplier {
            store.keep(metadata)?;
            crash::point("client.import.metadata_stored");
            if self.settings.side == Side::Offline {
                self.state.root = Some(*verified.root());
            }
        }
        self.state.saw(manifest.serial, manifest.created);
        if self.state != before { Ok(self.state.save(&self.settings.paths)?) } else { Ok(()) }
    }

    /// Goes back to an older release that is here.
    pub(super) async fn run_back(&mut self, asked: Option<Serial>) -> Result<Outcome, UpdateError> {
        let paths = &self.settings.paths;
        self.heal().await?;
        let current = apply::current(paths)?;
        let serial = rollback::choose(asked, current, &apply::releases(paths)?)?;
        self.activate(Activating { serial, previous: current, rollback: true, refused: false }).await?;
        tracing::info!(serial = serial.get(), "Went back; newer releases up to the newest one seen are held");
        Ok(Outcome::Applied { serial, previous: current, bytes: 0 })
    }

    /// Brings a release here and makes it the one that runs.
    async fn take(
        &mut self,
        supplier: &Supplier<'_>,
        signed: &SignedManifest,
        current: Option<Serial>,
    ) -> Result<Outcome, UpdateError> {
        let paths = &self.settings.paths;
        let serial = signed.manifest().serial;
        // A killed run may have come as far as this, or the release is the one that was held.
        let here = {
            let (paths, manifest) = (paths.clone(), signed.manifest().clone());
            self.off_the_loop(move || apply::is_intact(&paths, &manifest)).await?
        };
        if let Supplier::Server { .. } = supplier {
            self.transfer = Some(Transfer::new(serial));
        }
        let bytes = if here { 0 } else { self.bring(supplier, signed).await? };
        if let Err(error) = Partials::of(paths).clear() {
            tracing::warn!("what was left of downloads was not removed: {}", error.whole_message());
        }
        if let (Supplier::Server { remote, .. }, Some(transfer)) = (supplier, &mut self.transfer) {
            transfer.received_bytes = remote.http.received().bytes();
        }
        self.see(signed.manifest(), supplier)?;
        let previous = match current {
            // The release that runs was made again in place: what to go back to is the one before.
            Some(current) if current == serial => rollback::choose(None, Some(serial), &apply::releases(paths)?).ok(),
            current => current,
        };
        self.state.sources.insert(serial, supplier.source());
        self.activate(Activating { serial, previous, rollback: false, refused: false }).await?;
        let keep = self.settings.config.apply.keep_releases;
        if let Err(error) = prune::prune(paths, serial, previous, keep) {
            // The release runs; what could not be removed is tried again with the next one.
            tracing::warn!("an old release was not removed: {}", error.whole_message());
        }
        if let Ok(here) = apply::releases(paths) {
            self.state.sources.retain(|serial, _| here.contains(serial));
        }
        Ok(Outcome::Applied { serial, previous: current, bytes })
    }

    async fn bring(&mut self, supplier: &Supplier<'_>, signed: &SignedManifest) -> Result<u64, UpdateError> {
        let paths = &self.settings.paths;
        let limits = Limits::default();
        let plan = plan::plan(signed.manifest(), &apply::kept_payloads(paths)?, &limits)?;
        let partials = Partials::of(paths);
        partials.keep_only(plan.lacking().map(|file| file.payload.sha256))?;
        let staging = Staging::begin(paths, signed.manifest())?;
        // A release that cannot be read tells nothing.
        let running = apply::running(paths).ok().flatten();
        let total = plan.lacking().map(|file| supplier.length_of(file)).sum();
        let progress = if self.show_progress { Progress::on_terminal(total) } else { Progress::hidden() };
        let mut bytes = 0;
        for payload in plan.payloads {
            let file = payload.file;
            supplier.check(&file.payload)?;
            let into = staging.place_of(&file.payload)?;
            if let Origin::Kept(from) = payload.from {
                let (kept, into) = (file.payload.clone(), into.clone());
                if self.off_the_loop(move || download::take_over(&kept, &from, &into)).await?? {
                    continue;
                }
                tracing::warn!(payload = %file.payload.name, "a kept payload is damaged and is brought again");
            }
            progress.on(file.payload.name.as_str());
            bytes += match supplier {
                Supplier::Server { repository, remote } => {
                    let base = match running.as_ref().and_then(|then| plan::base(&file, signed.manifest(), then)) {
                        Some((base, place)) => {
                            let place = running.as_ref().map(|then| paths.release(then.serial).join(place));
                            self.off_the_loop(move || download::dictionary(&base, &place?)).await?
                        }
                        None => None,
                    };
                    let name = target_name(&file.payload)?;
                    let target = repository.verified().target(&name).map_err(RepositoryError::from)?;
                    let before = remote.http.received().bytes();
                    let wanted = Wanted {
                        http: &remote.http,
                        url: remote.location.target(target),
                        name: name.as_str(),
                        sha256: target.sha256(),
                        length: target.length(),
                        base: base.as_ref(),
                        partials: &partials,
                        progress: &progress,
                    };
                    let fetched = wanted.fetch(&into).await?;
                    crash::point("client.download.done");
                    self.note(&file.payload, &fetched);
                    remote.http.received().bytes().saturating_sub(before)
                }
                Supplier::Bundle { carried, .. } => {
                    let (carried, progress, aside) = (Arc::clone(carried), progress.clone(), staging.aside());
                    let bring = move || lock(&carried).bring(&file, &aside, &into, &Limits::default(), &progress);
                    self.off_the_loop(bring).await??
                }
            };
        }
        progress.finish();
        let (paths, signed) = (paths.clone(), signed.clone());
        self.off_the_loop(move || {
            staging.open(&limits)?;
            staging.finish(&paths, &signed)
        })
        .await??;
        Ok(bytes)
    }

    fn note(&mut self, payload: &FileRef, fetched: &Fetched) {
        let Some(transfer) = &mut self.transfer else { return };
        let count = match fetched.coding {
            Coding::Dcz => &mut transfer.increments,
            Coding::Zstd => &mut transfer.compressed,
            Coding::Identity => &mut transfer.whole,
        };
        *count += 1;
        if let Some(why) = &fetched.refused {
            transfer.refuse(&payload.name, why);
        }
    }

    /// Switches, asks the hook, and keeps the switch or goes back. What is going on stands in the state before it
    /// happens, so that [`Self::heal`] can finish it.
    async fn activate(&mut self, activating: Activating) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        self.state.activating = Some(activating);
        self.state.save(paths)?;
        activate::switch(paths, Some(activating.serial))?;
        self.confirm(activating).await
    }

    /// The second half of a switch, from the hook on.
    async fn confirm(&mut self, activating: Activating) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        let serial = activating.serial;
        if let Some(program) = &self.settings.config.apply.hook {
            let release = paths.release(serial);
            let release = std::path::absolute(&release).unwrap_or(release);
            let occasion = Occasion { serial, release: &release, previous: activating.previous };
            if let Err(source) = hook::run(program, &occasion, hook::TIMEOUT).await {
                self.go_back(activating)?;
                return Err(UpdateError::Hook { serial, back_to: activating.previous.into(), source });
            }
            crash::point("client.hook.after");
        }
        defaults::create_once(paths, serial, &self.settings.config.apply.defaults)?;
        self.state.activating = None;
        self.state.hold = activating.rollback.then(|| Hold {
            serial: self.state.highest_serial.max(activating.previous).unwrap_or(serial),
            why: HoldReason::Rollback,
        });
        self.state.save(paths)?;
        crash::point("client.activate.kept");
        Ok(())
    }

    fn go_back(&mut self, activating: Activating) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        // Decided before it is done: a kill in between must not ask the hook a second time and perhaps hear yes.
        self.state.activating = Some(Activating { refused: true, ..activating });
        if !activating.rollback {
            self.state.hold = Some(Hold { serial: activating.serial, why: HoldReason::HookFailed });
        }
        let decided = self.state.save(paths);
        // A full disk must not leave what the hook refused running: it goes even if nobody will know why.
        activate::switch(paths, activating.previous)?;
        decided?;
        self.state.activating = None;
        self.state.save(paths)?;
        Ok(())
    }

    /// Finishes what a killed run left half done, before anything else and without the network.
    pub(super) async fn heal(&mut self) -> Result<(), UpdateError> {
        let paths = &self.settings.paths;
        let Some(activating) = self.state.activating else { return Ok(()) };
        let switched = apply::current(paths)? == Some(activating.serial);
        tracing::warn!(
            serial = activating.serial.get(),
            switched,
            "an earlier run was killed while it switched; finishing"
        );
        if !switched {
            self.state.activating = None;
            return Ok(self.state.save(paths)?);
        }
        if activating.refused { self.go_back(activating) } else { self.confirm(activating).await }
    }

    /// Hashing, opening and syncing hundreds of megabytes would stop signals and timeouts from being looked at. The work
    /// goes on when the attempt is dropped meanwhile, so it holds the locks as long as it takes.
    pub(super) async fn off_the_loop<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, UpdateError> {
        let locks = Arc::clone(&self.locks);
        let work = move || {
            let done = work();
            drop(locks);
            done
        };
        tokio::task::spawn_blocking(work).await.map_err(UpdateError::Worker)
    }
}

fn check_floor(newest: &Manifest, state: &State, now: Timestamp) -> Result<(), UpdateError> {
    let serial = newest.serial;
    if let Some(seen) = state.highest_serial.filter(|seen| serial < *seen) {
        return Err(UpdateError::OldRelease { serial, seen });
    }
    if newest.created.duration_since(now) > CLOCK_TOLERANCE {
        return Err(UpdateError::Clock { serial, created: newest.created, now });
    }
    Ok(())
}
