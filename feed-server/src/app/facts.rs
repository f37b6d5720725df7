//! What metrics say of the store, the schedule and the signed metadata, read whenever somebody asks.

use bundles::Version;
use jiff::Timestamp;

use super::ise::IseState;
use super::warnings::WarningKind;
use super::{App, if_readable};
use crate::metrics::{Facts, results};
use crate::publish::{Repository, Role};
use crate::{VERSION, headends};

/// When a role's signed metadata expires: repository, role, time.
pub type Expiry = (Repository, Role, Timestamp);

impl App {
    /// The facts of now; what cannot be read is absent, and the log says so.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        facts.build_info.add(&[VERSION, self.role().as_str()], 1);
        if self.config.upstream.fetches() {
            facts.sync_interval_seconds.set(self.config.schedule.every.as_secs());
        }
        self.run_facts(&mut facts);
        facts.cooldown_until_timestamp_seconds.set_time(self.cooling().iter().map(|cooldown| cooldown.until).max());
        self.release_facts(&mut facts);
        for (repository, role, expires) in self.metadata_expires() {
            facts.metadata_expires_timestamp_seconds.add_time(&[&repository.to_string(), &role.to_string()], expires);
        }
        let learned = self.learned();
        for ((role, position), not_after) in learned.chains.not_after() {
            let labels = [role.as_str(), &position.to_string()];
            facts.upstream_certificate_not_after_timestamp_seconds.add_time(&labels, not_after);
        }
        let presented = self.certificate.get().map(|certificate| certificate.presented().leaf.not_after);
        facts.server_certificate_not_after_timestamp_seconds.set_time(presented);
        if let Some(clock) = learned.clock {
            facts.clock_offset_seconds.set_seconds(clock.offset);
        }
        let warnings = self.warnings_of(&learned);
        for kind in WarningKind::ALL {
            let count = warnings.iter().filter(|warning| warning.kind == kind).count();
            facts.warning.add(&[kind.as_str()], u64::from(count > 0));
        }
        if let Some(deployments) = if_readable(self.ise_deployments().map(Some)) {
            for state in IseState::ALL {
                let count = deployments.iter().filter(|deployment| deployment.state == state).count();
                facts.ise_deployments.add(&[state.as_str()], count as u64);
            }
        }
        let holding = self.holding();
        facts.release_held.set(u64::from(holding.is_held()));
        facts.release_held_since_timestamp_seconds.set_time(holding.since());
        let headends = self.headends().and_then(|headends| Ok((headends, self.release_times()?)));
        if let Some((headends, releases)) = if_readable(headends.map(Some)) {
            for (state, count) in headends::count(self.now(), &headends, &releases) {
                facts.headends.add(&[state.as_str()], count);
            }
        }
        // A disk that cannot be measured must not hide everything else.
        match self.store.usage() {
            Ok(usage) => {
                facts.store_bytes.set(usage.store_bytes);
                facts.store_free_bytes.set(usage.free_bytes);
            }
            Err(error) => tracing::warn!(%error, "the store cannot be measured"),
        }
        facts
    }

    fn run_facts(&self, facts: &mut Facts) {
        let kept = if_readable(self.store.run_facts());
        // The store may have been unable to take the last run: a full disk must not make it look as if all were well.
        let last = self.runs.last();
        let last_started = last.as_ref().map(|run| run.started);
        let last_outcome = match &last {
            Some(run) => run.outcome.as_ref(),
            None => kept.last_outcome.as_ref(),
        };
        facts.last_attempt_timestamp_seconds.set_time(kept.last_attempt.max(last_started));
        facts.last_success_timestamp_seconds.set_time(kept.last_success);
        facts.content_timestamp_seconds.set_time(kept.content_changed_at);
        facts.next_run_timestamp_seconds.set_time(self.runs.next_due());
        facts.run_started_timestamp_seconds.set_time(self.runs.progress().map(|progress| progress.started));
        for result in results() {
            let is_last = last_outcome.is_some_and(|outcome| outcome.label() == result);
            facts.last_attempt_result.add(&[result], u64::from(is_last));
        }
    }

    fn release_facts(&self, facts: &mut Facts) {
        let Some(newest) = self.newest() else { return };
        facts.release_serial.set(newest.serial.get());
        let mut seen = std::collections::BTreeSet::new();
        for released in &newest.components {
            let version = match &released.version {
                Version::Dotted(dotted) => dotted.to_string(),
                Version::Digest(_) => "digest".to_owned(),
            };
            // All `other-*` are one label: two of them with one version are one sample.
            if seen.insert((released.component.metric_label(), version.clone())) {
                facts.component_info.add(&[released.component.metric_label(), &version], 1);
            }
        }
    }
}
