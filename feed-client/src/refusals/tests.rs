use super::*;
use crate::proxy::ProxySetting;

fn proxy(user: &str) -> Proxy {
    let server = url::Url::parse("https://feed.example.net").unwrap();
    let variable = |name: &str| (name == "HTTPS_PROXY").then(|| format!("http://{user}proxy.example.net:3128"));
    Proxy::for_server(&ProxySetting::Environment, &server, variable).unwrap().unwrap()
}

#[test]
fn a_mark_is_of_proxy_user_and_password_and_salt() {
    let mark = proxy("me:secret@").mark(b"salt");
    assert_eq!(proxy("me:secret@").mark(b"salt"), mark);
    for other in [proxy("me:secret2@"), proxy("you:secret@"), proxy("")] {
        assert_ne!(other.mark(b"salt"), mark);
    }
    assert_ne!(proxy("me:secret@").mark(b"pepper"), mark);
}

#[test]
fn the_oldest_refusals_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let paths = Paths::new(directory.path(), None);
    let refusals = Refusals::new(Asker::Timer, &paths, Edge::system());
    let refusal = |number: usize| Refusal {
        proxy: "proxy.example.net:3128".to_owned(),
        mark: number.to_string(),
        had_credentials: true,
        at: Timestamp::from_second(1_800_000_000).unwrap(),
    };
    let full = Book { salt: "salt".to_owned(), refused: (0..MAX_REFUSALS).map(refusal).collect() };
    refusals.save(&full).unwrap();
    refusals.refused(&proxy("me:secret@"));
    let book = refusals.load().unwrap();
    assert_eq!((book.refused.len(), &*book.salt), (MAX_REFUSALS, "salt"));
    assert_eq!(book.refused[0].mark, "1");
    let again = Refusals::new(Asker::Timer, &paths, Edge::system());
    assert!(again.refusal(&proxy("me:secret@")).unwrap().unwrap().had_credentials);
    assert_eq!(again.refusal(&proxy("me:secret2@")).unwrap(), None);
}
