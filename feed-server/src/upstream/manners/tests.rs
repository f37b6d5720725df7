use std::time::Duration;

use bundles::{Reason, Reasoned as _};
use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn source(url: &str) -> Source {
    Source { url: format!("https://{url}/posture-update.xml"), proxy: None }
}

fn cooldown(status: u16, asked: Option<u64>) -> Cooldown {
    Cooldown::new(&source("one"), status, asked.map(Duration::from_secs), at(0))
}

#[test]
fn a_pause_is_as_long_as_asked_within_bounds() {
    for (status, asked, pause) in [
        (429, None, 3_600),
        (403, None, 3_600),
        (429, Some(120), 120),
        (503, Some(7_200), 7_200),
        (429, Some(0), 60),
        (429, Some(59), 60),
        (429, Some(86_400), DAY),
        (429, Some(86_401), DAY),
        (403, Some(u64::MAX), DAY),
    ] {
        let cooldown = cooldown(status, asked);
        assert_eq!(cooldown.until, at(pause), "{status} {asked:?}");
        assert!(cooldown.is_in_effect(at(pause - 1)) && !cooldown.is_in_effect(at(pause)), "{status} {asked:?}");
    }
}

#[test]
fn a_cooldown_ends_with_its_time_its_url_its_proxy_and_a_clock_turned_back() {
    let one = source("one");
    let behind = Source { proxy: Some("http://user@proxy:3128".to_owned()), ..one.clone() };
    for (sources, now, ending) in [
        (vec![one.clone()], at(10), None),
        (vec![source("two"), one.clone()], at(10), None),
        (vec![one.clone()], at(3_600), Some(Ending::Over)),
        (vec![source("two")], at(10), Some(Ending::Changed)),
        (vec![behind.clone()], at(10), Some(Ending::Changed)),
        (vec![], at(10), Some(Ending::Changed)),
        (vec![one.clone()], at(-2 * DAY), Some(Ending::ClockTurnedBack)),
        // Over goes first: there is nothing to tell of a change.
        (vec![], at(3_600), Some(Ending::Over)),
    ] {
        let mut manners = Manners::default();
        manners.pause(cooldown(429, None));
        let ended = manners.settle(&sources, now);
        assert_eq!(ended.first().map(|(_, ending)| *ending), ending, "{sources:?} {now}");
        assert_eq!(manners.cooldowns().is_empty(), ending.is_some());
    }
    // A step of NTP right after it began ends none.
    assert!(cooldown(429, Some(86_400)).is_in_effect(at(-60)));
}

#[test]
fn a_cooldown_is_of_one_source_and_a_new_pause_replaces_it() {
    let (one, two) = (source("one"), source("two"));
    let mut manners = Manners::default();
    manners.pause(cooldown(429, None));
    assert!(manners.cooldown(&one, at(1)).is_some() && manners.cooldown(&two, at(1)).is_none());
    assert_eq!(manners.all_cooling(&[one.clone(), two.clone()], at(1)), None);
    assert_eq!(manners.all_cooling(&[], at(1)), None, "nobody to ask is nobody who cools down");

    manners.pause(Cooldown::new(&one, 403, Some(Duration::from_hours(2)), at(100)));
    assert_eq!(manners.cooldowns().len(), 1);
    manners.pause(Cooldown::new(&two, 429, Some(Duration::from_mins(5)), at(100)));
    assert_eq!(manners.all_cooling(&[one.clone(), two.clone()], at(101)).unwrap().until, at(400));
    assert_eq!(manners.all_cooling(&[one.clone(), two], at(401)), None);

    assert_eq!(manners.succeeded(&one).unwrap().status, 403);
    assert_eq!(manners.succeeded(&one), None);
}

#[test]
fn their_number_is_bounded() {
    let mut manners = Manners::default();
    for number in 0..1_000 {
        manners.pause(Cooldown::new(&source(&format!("host-{number}")), 429, None, at(number)));
    }
    assert_eq!(manners.cooldowns().len(), MAX_COOLDOWNS);
    assert!(manners.cooldown(&source("host-999"), at(1_000)).is_some(), "the newest stay");
}

const PROXY: &str = "http://user@proxy:3128";

fn password(state: PasswordState, mark: &str, had_credentials: bool) -> RefusedPassword {
    let (proxy, mark) = (PROXY.to_owned(), mark.to_owned());
    RefusedPassword { proxy, mark, had_credentials, salt: "salt".to_owned(), at: at(0), state }
}

#[test]
fn a_refused_password_holds_until_it_or_the_proxy_changes() {
    let mark = |mark: &'static str| {
        move |salt: &str| {
            assert_eq!(salt, "salt");
            mark.to_owned()
        }
    };
    let mut manners = Manners::default();
    manners.remember_password(password(PasswordState::Tried, "a", true));
    manners.remember_password(password(PasswordState::Refused, "a", true));
    assert_eq!(manners.refusal(PROXY, mark("a")).unwrap().state, PasswordState::Refused);
    assert!(manners.refusal(PROXY, mark("b")).is_none(), "another password");
    assert!(manners.refusal("http://other@proxy:3128", mark("a")).is_none(), "another user");
    assert!(!manners.not_refused(), "a run that did not reach the proxy takes no refusal back");
    assert!(manners.accepted() && !manners.accepted());
    assert!(manners.refusal(PROXY, mark("a")).is_none());
}

#[test]
fn what_was_tried_and_not_answered_holds_until_a_run_ends() {
    let mut manners = Manners::default();
    manners.remember_password(password(PasswordState::Tried, "a", true));
    let known = manners.refusal(PROXY, |_| "a".to_owned()).unwrap();
    assert!(matches!(Held::by_password(known), Held::PasswordUnknown { .. }));
    assert!(manners.not_refused() && !manners.not_refused());
    assert_eq!(manners.password(), None);
}

#[test]
fn it_reads_back_what_it_wrote_and_what_a_newer_program_wrote() {
    let mut manners = Manners::default();
    manners.pause(Cooldown::new(&source("one"), 429, Some(Duration::from_secs(90)), at(0)));
    manners.remember_password(password(PasswordState::Refused, "a", true));
    let json = serde_json::to_value(&manners).unwrap();
    assert_eq!(serde_json::from_value::<Manners>(json.clone()).unwrap(), manners);
    let mut newer = json;
    newer["more"] = 1.into();
    assert_eq!(serde_json::from_value::<Manners>(newer).unwrap(), manners);
    assert_eq!(serde_json::from_str::<Manners>("{}").unwrap(), Manners::default());
}

#[test]
fn messages_name_the_end_the_cause_and_the_way_out() {
    let source = Source { url: "https://user:secret@one/feed.xml?key=secret".to_owned(), proxy: None };
    let cooldown = Cooldown::new(&source, 429, Some(Duration::from_secs(5_400)), at(0));
    let held = Held::by_cooldown(&cooldown, at(60));
    assert_eq!(held.reason(), Reason::Cooldown);
    let message = held.to_string();
    assert!(!message.contains("secret"), "{message}");
    for part in [
        "https://one/feed.xml",
        &format!("until {:.0} (1 h 29 min from now)", at(5_400)),
        "status 429",
        "asked to wait 1 h 30 min",
        "`feed-server sync --ignore-cooldown`",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    for had_credentials in [true, false] {
        let held = Held::by_password(&password(PasswordState::Refused, "a", had_credentials));
        assert_eq!(held.reason(), Reason::ProxyAuth);
        assert!(held.to_string().contains("password_file"), "{held}");
        assert!(held.to_string().contains("`feed-server sync`"), "{held}");
    }
}

#[test]
fn spans_are_told_in_two_units() {
    for (seconds, text) in [
        (-5, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_599, "59 min 59 s"),
        (3_601, "1 h"),
        (90_061, "1 d 1 h"),
    ] {
        assert_eq!(span(SignedDuration::from_secs(seconds)), text);
    }
}

#[test]
fn after_a_refused_password_and_what_is_ours_no_other_source_is_asked() {
    for reason in [Reason::ProxyAuth, Reason::Storage, Reason::VersionRollback, Reason::Expectation, Reason::Internal] {
        assert!(!another_source_may_help(reason), "{reason}");
    }
    for reason in
        [Reason::Dns, Reason::TlsExpired, Reason::RateLimited, Reason::NotAFeed, Reason::Truncated, Reason::Freeze]
    {
        assert!(another_source_may_help(reason), "{reason}");
    }
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    let ends = prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX)];
    let between = (Timestamp::MIN.as_second()..=Timestamp::MAX.as_second())
        .prop_map(|second| Timestamp::from_second(second).unwrap_or(Timestamp::MAX));
    prop_oneof![1 => ends, 4 => between, 4 => (-3 * DAY..3 * DAY).prop_map(at)]
}

proptest! {
    #[test]
    fn whatever_was_asked_and_whatever_the_clock_does_no_pause_lasts_beyond_a_day(
        status in any::<u16>(),
        asked in proptest::option::of(any::<u64>()),
        began in any_time(),
        now in any_time(),
    ) {
        let one = source("one");
        let cooldown = Cooldown::new(&one, status, asked.map(Duration::from_secs), began);
        prop_assert!(cooldown.until >= began);
        let mut manners = Manners::default();
        manners.pause(cooldown.clone());
        let longest = SignedDuration::from_secs(DAY + 300);
        if let Some(cooldown) = manners.cooldown(&one, now) {
            prop_assert!(cooldown.until > now && cooldown.until.duration_since(now) <= longest);
            prop_assert!(!Held::by_cooldown(cooldown, now).to_string().is_empty());
        }
        // Where it is not in effect, settling forgets it, and else keeps it.
        let is_in_effect = manners.cooldown(&one, now).is_some();
        manners.settle(std::slice::from_ref(&one), now);
        prop_assert_eq!(manners.cooldowns().is_empty(), !is_in_effect);
    }

    #[test]
    fn no_kept_state_panics(
        since in any_time(), until in any_time(), now in any_time(), url in ".{0,40}", asked in any::<u64>(),
    ) {
        let cooldown =
            Cooldown { url, proxy: None, since, until, status: 0, asked: Some(Duration::from_secs(asked)) };
        prop_assert!(!Held::by_cooldown(&cooldown, now).to_string().is_empty());
        let mut manners = Manners { cooldowns: vec![cooldown], password: None };
        prop_assert!(manners.cooling(now).all(|cooldown| cooldown.until > now));
        prop_assert_eq!(manners.settle(&[], now).len(), 1);
    }
}
