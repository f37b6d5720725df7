//! Reasons: one closed set for everything.

use std::fmt::Write as _;

use bundles::Reason;

use super::cell;

pub(super) fn text() -> String {
    let mut text = String::from(
        "Why something did not happen is one word: in logs, metrics, the API's problems, headends' reports, and as the exit code of \
         commands. A message with it says what happened to what; where there is none, the sentence here stands in. *Again by itself* \
         is what a schedule tries again soon, since nobody may have to do anything. [Troubleshooting](../troubleshooting.md) goes \
         through them.\n\n| reason | exit code | again by itself | sentence |\n| --- | --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        let retried = if reason.worth_a_retry() { "yes" } else { "no" };
        let _ = writeln!(
            text,
            "| [`{reason}`](../troubleshooting.md#{reason}) | {} | {retried} | {} |",
            reason.exit_code(),
            cell(reason.sentence())
        );
    }
    text
}
