//! The proxy's password in a run: not sent again once it was refused (design, promise 8), whatever ends the process in
//! between.

use std::sync::{Arc, Mutex, PoisonError};

use bundles::report::Failure;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::update::untidy;
use crate::app::{App, internal};
use crate::crash;
use crate::store::records::Trigger;
use crate::upstream::manners::{Held, Manners, PasswordState, RefusedPassword};
use crate::upstream::proxy::Proxy;
use crate::upstream::{NoWatch, Seen, Step, Vendor, Watch};

/// Watches a run's connections for the moments in which the proxy is about to see the password, and in which it has
/// taken or refused it.
#[derive(Debug)]
pub(super) struct PasswordWatch {
    app: Arc<App>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// What the run's proxy is sent; `None` where there is no proxy.
    sent: Option<Sent>,
    stage: Stage,
}

#[derive(Debug, Clone)]
struct Sent {
    /// The proxy's host and port.
    authority: String,
    password: RefusedPassword,
}

#[derive(Debug, Clone, Copy, Default)]
enum Stage {
    /// Nothing is in doubt: it was not sent in this run, or the proxy took it each time.
    #[default]
    Clear,
    /// A connection to the proxy is open: it is being sent, or was. A password that was taken may have changed since, so
    /// this is so anew with each connection.
    InDoubt,
    /// Something was remembered before the run, and stays so until the proxy takes it.
    Known,
    /// The proxy refused.
    Refused,
}

/// What a run may do with the proxy.
pub(super) enum Leave {
    /// Ask it.
    Granted,
    /// Leave it alone: it refused before what it would be sent now, and no operator asks. This is what a source behind
    /// it fails with.
    Refused(Failure),
}

impl PasswordWatch {
    pub(super) fn new(app: &Arc<App>) -> Self {
        Self { app: Arc::clone(app), state: Mutex::default() }
    }

    /// Gets ready for a run by that vendor's proxy: what is to be remembered if the proxy refuses.
    ///
    /// # Errors
    /// There are no threads to work on.
    pub(super) async fn begin(&self, vendor: &Vendor, trigger: Trigger) -> Result<Leave, Failure> {
        let Some(proxy) = vendor.proxies().proxy().cloned() else { return Ok(Leave::Granted) };
        let (app, authority) = (Arc::clone(&self.app), proxy.authority());
        // Marks take a tenth of a second each to make.
        let marked = tokio::task::spawn_blocking(move || mark(&app, &proxy)).await.map_err(|error| internal(&error))?;
        let (password, stage) = match (marked, trigger) {
            (Marked::Known(refused), Trigger::Schedule | Trigger::Retry) => {
                vendor.ask_no_proxy().await;
                return Ok(Leave::Refused(Failure::of(&Held::by_password(&refused))));
            }
            (Marked::Known(refused), Trigger::Operator) => {
                tracing::info!(
                    proxy = refused.proxy,
                    "the proxy refused this password before; an operator has it tried once"
                );
                (refused, Stage::Known)
            }
            (Marked::New(password), Trigger::Schedule | Trigger::Retry | Trigger::Operator) => (password, Stage::Clear),
        };
        *self.lock() = State { sent: Some(Sent { authority, password }), stage };
        Ok(Leave::Granted)
    }

    /// To be dropped when asking is over, or cut off: what is remembered of a password that was sent and not refused is
    /// then forgotten. A proxy that hangs is the likeliest moment for an operator to restart this program, and that must
    /// not hold back a password that nobody refused. Only a process that dies says nothing, and leaves it remembered.
    pub(super) fn ending(&self) -> Ending<'_> {
        Ending(self)
    }

    fn end(&self) {
        match std::mem::take(&mut *self.lock()).stage {
            Stage::InDoubt => self.change(Manners::not_refused),
            Stage::Clear | Stage::Known | Stage::Refused => {}
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Manners) -> T) {
        let change = || {
            if let Err(error) = self.app.change_manners(change) {
                untidy(&error);
            }
        };
        // It has to be on disk before the next byte is sent, and whoever sends it waits for this call.
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(change),
            Ok(_) | Err(_) => change(),
        }
    }

    // What a panic elsewhere left is whole: its parts are replaced one at a time, each in one step.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`PasswordWatch::ending`].
pub(super) struct Ending<'w>(&'w PasswordWatch);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Watch for PasswordWatch {
    fn seen(&self, seen: Seen) {
        let State { sent, stage } = self.lock().clone();
        match (seen.step, stage, sent) {
            (Step::Tcp, Stage::Clear, Some(sent)) if sent.authority == seen.target && sent.password.had_credentials => {
                self.change(|manners| manners.remember_password(sent.password));
                self.lock().stage = Stage::InDoubt;
            }
            (Step::Connect, _, _) => {
                self.change(Manners::accepted);
                self.lock().stage = Stage::Clear;
            }
            (Step::Dns | Step::Tcp | Step::ProxyTls | Step::Tls | Step::Http, _, _) => {}
        }
        NoWatch.seen(seen);
    }

    /// Nothing comes before this is kept.
    fn refused_by_proxy(&self) {
        let Some(Sent { password, .. }) = self.lock().sent.clone() else { return };
        let refused = RefusedPassword { state: PasswordState::Refused, at: self.app.now(), ..password };
        let proxy = refused.proxy.clone();
        crash::point("manners.before_keep");
        self.change(|manners| manners.remember_password(refused));
        self.lock().stage = Stage::Refused;
        crash::point("manners.kept");
        tracing::warn!(
            proxy,
            "the proxy is not asked again before its user name or password is another one, or an operator asks"
        );
    }
}

/// What the proxy would be sent now, as it may be kept.
enum Marked {
    /// It refused this before, or may have.
    Known(RefusedPassword),
    New(RefusedPassword),
}

fn mark(app: &App, proxy: &Proxy) -> Marked {
    let identity = proxy.identity();
    let manners = app.manners();
    if let Some(refused) = manners.refusal(&identity, |salt| proxy.credentials_mark(salt.as_bytes())) {
        return Marked::Known(refused.clone());
    }
    let salt = hex::encode(rand::random::<[u8; 16]>());
    Marked::New(RefusedPassword {
        mark: proxy.credentials_mark(salt.as_bytes()),
        proxy: identity,
        had_credentials: proxy.credentials().is_some(),
        salt,
        at: app.now(),
        state: PasswordState::Tried,
    })
}
