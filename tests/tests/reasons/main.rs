//! Every reason, shown from the outside: a situation that produces it, and the exit code, the metric's label, the word in
//! JSON and the sentence that follow. A reason without a row is red, unless it is listed with why it cannot be reached yet.

use std::collections::BTreeSet;

use bundles::Reason;
use tests::lab::Fault;

/// `name: reason => situation;`. Each row is a test of its own, so that rows run side by side.
macro_rules! rows {
    ($($name:ident: $reason:ident => $situation:expr;)*) => {
        /// The rows of this file.
        pub(super) const ROWS: &[(&str, bundles::Reason)] = &[$((stringify!($name), bundles::Reason::$reason),)*];
        $(#[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            Box::pin($situation.shows(bundles::Reason::$reason)).await
        })*
    };
}

mod answers;
mod headends;
mod proxies;
mod runs;

/// What nothing from outside can produce as the programs are today, and why.
const NOT_YET: &[(Reason, &str)] = &[];

#[test]
fn every_reason_has_a_row_or_an_excuse() {
    let shown: BTreeSet<Reason> = [runs::ROWS, proxies::ROWS, answers::ROWS, headends::ROWS]
        .into_iter()
        .flatten()
        .map(|(_, reason)| *reason)
        .collect();
    for reason in Reason::ALL {
        let excuse = NOT_YET.iter().find(|(excused, _)| excused == reason).map(|(_, why)| *why);
        match (shown.contains(reason), excuse) {
            (true, None) => {}
            (false, Some(why)) => assert!(why.ends_with('.'), "{reason}: {why:?} is no sentence"),
            (false, None) => {
                panic!("{reason} has no row: add one, or list it with the sentence why it cannot be reached")
            }
            (true, Some(_)) => panic!("{reason} has a row by now: take it off the list"),
        }
    }
}

#[test]
fn every_accident_of_the_lab_is_shown_or_is_none() {
    for fault in Fault::ALL {
        let row = fault.name().replace('-', "_");
        let shown = runs::ROWS.iter().any(|(name, _)| *name == row);
        let harmless = runs::HARMLESS.contains(fault);
        assert!(shown != harmless, "{fault}: add a row called {row}, or list it among the harmless");
    }
}
