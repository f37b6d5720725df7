use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Organ {
    Ear,
    Heart,
}

impl Step for Organ {
    const WIDTH: usize = 5;

    fn as_str(self) -> &'static str {
        match self {
            Self::Ear => "ear",
            Self::Heart => "heart",
        }
    }
}

#[test]
fn advice_is_given_where_the_message_does_not_say_it() {
    let sentence = Reason::Storage.sentence();
    assert_eq!(beside("no", Reason::Storage), Some(sentence));
    assert_eq!(beside(sentence, Reason::Storage), None);
    let message = "the host name x could not be resolved; check [upstream] url and this machine's DNS servers (UDP 53): \
                   no such name";
    assert_eq!(beside(message, Reason::Dns), None);
    assert_eq!(beside("no.pem cannot be read", Reason::BadRequest), None);
    assert_eq!(beside("the proxy p:3128 asks for a user name and password (407)", Reason::ProxyAuth), None);
}

#[test]
fn the_first_step_that_failed_is_told_at_the_end_and_gives_the_exit_code() {
    let failed = |step, message: &str| Line::failed(step, Failure::new(Reason::Dns, message));
    let lines = vec![
        Line::new(Organ::Ear, Mark::Warning, "red\u{1b}[2J").about("left").took(Duration::from_millis(12)),
        failed(Organ::Heart, "no beat").with(["a line\n".to_owned()]),
        failed(Organ::Ear, "deaf"),
    ];
    assert_eq!(lines[0].to_text(false), "ear   warning   left: red [2J (12 ms)\n");
    assert_eq!(lines[1].to_text(true), "heart FAILED    dns\n                a line \n");
    assert_eq!(lines[2].to_text(false), "ear   FAILED    deaf\n");
    let verdict = Verdict::of(lines);
    assert_eq!(
        verdict.to_text(),
        format!("\nFailed at heart for dns (exit code 10):\n  no beat\n  {}\n", Reason::Dns.sentence())
    );
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!((&json["result"], &json["failed_step"]), (&"dns".into(), &"heart".into()));
    assert_eq!(verdict.into_result().unwrap_err().reason, Reason::Dns);
    let well = Verdict::of(vec![Line::new(Organ::Ear, Mark::Ok, "")]);
    assert_eq!(well.to_text(), "\nEverything is as it should be.\n");
    assert!(well.into_result().is_ok());
}
