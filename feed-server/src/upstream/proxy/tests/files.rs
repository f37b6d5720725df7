//! The password's file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use bundles::{Reason, Reasoned as _};

use super::*;

const KEYS: &str = "url = \"http://proxy.example:3128\"\nusername = \"feed\"\npassword_file = \"proxy-password\"\n";

fn write(directory: &Path, content: impl AsRef<[u8]>, mode: u32) {
    let path = directory.join("proxy-password");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
}

/// The header with the password that a file of that content holds.
fn header(content: impl AsRef<[u8]>) -> Result<String, ProxyError> {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), content, 0o400);
    header_in(directory.path(), &Environment::empty())
}

fn header_in(directory: &Path, environment: &Environment) -> Result<String, ProxyError> {
    let proxies = Proxies::resolve(&upstream(directory, KEYS), environment)?;
    Ok(proxies.proxy().unwrap().authorization().unwrap().to_str().unwrap().to_owned())
}

/// `Basic` of `feed` and a password.
fn basic(password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("feed:{password}")))
}

#[test]
fn one_line_is_the_password_whether_or_not_it_is_ended() {
    for content in ["pa:ss wörd ", "pa:ss wörd \n", "pa:ss wörd \r\n"] {
        assert_eq!(header(content).unwrap(), basic("pa:ss wörd "), "{content:?}");
    }
    let longest = "x".repeat(crate::config::MAX_CREDENTIAL);
    assert_eq!(header(format!("{longest}\r\n")).unwrap(), basic(&longest));
}

#[test]
fn what_is_no_password_is_told_without_saying_what_it_is() {
    let long = "hunter2".repeat(crate::config::MAX_CREDENTIAL / 7 + 1);
    let huge = "hunter2".repeat(1 << 17);
    for (content, says) in [
        ("", "is empty"),
        ("\n", "is empty"),
        ("\r\n", "is empty"),
        ("hunter2\nhunter3\n", "more than one line"),
        ("hunter2\n\n", "more than one line"),
        ("hunter2\r", "more than one line"),
        ("hun\tter2", "control character"),
        ("\u{feff}hunter2", "byte order mark"),
        (long.as_str(), "longer than 2048 bytes"),
        (huge.as_str(), "longer than 2048 bytes"),
    ] {
        let error = header(content).unwrap_err();
        let message = error.whole_message();
        assert!(message.contains(says) && message.contains("proxy-password"), "{message}");
        assert_eq!(error.reason(), Reason::BadRequest);
        assert!(!format!("{message}{error:?}").contains("hunter"), "{error:?}");
    }
    assert!(header(b"caf\xe9").unwrap_err().to_string().contains("is not UTF-8"));
}

#[test]
fn it_is_read_anew_each_time() {
    let directory = tempfile::tempdir().unwrap();
    for password in ["one", "two"] {
        // As people replace a file that is not writable.
        let _ = fs::remove_file(directory.path().join("proxy-password"));
        write(directory.path(), password, 0o400);
        assert_eq!(header_in(directory.path(), &Environment::empty()).unwrap(), basic(password));
    }
}

#[test]
fn a_file_that_others_can_read_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    for (mode, is_good) in
        [(0o400, true), (0o600, true), (0o440, false), (0o640, false), (0o604, false), (0o620, false)]
    {
        write(directory.path(), "hunter2", 0o600);
        write(directory.path(), "hunter2", mode);
        let found = header_in(directory.path(), &Environment::empty());
        assert_eq!(found.is_ok(), is_good, "{mode:o}");
        if let Err(error) = found {
            let message = error.to_string();
            assert!(message.contains("chmod 0400") && message.contains(&format!("{mode:04o}")), "{message}");
        }
        fs::remove_file(directory.path().join("proxy-password")).unwrap();
    }
}

#[test]
fn credentials_of_the_service_go_before_files_beside_the_configuration() {
    let (beside, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let environment = Environment::from_pairs([("CREDENTIALS_DIRECTORY", credentials.path().as_os_str())]);
    let error = header_in(beside.path(), &environment).unwrap_err();
    let (message, missing) = (error.whole_message(), credentials.path().join("proxy-password"));
    assert!(message.contains(missing.to_str().unwrap()), "both places are named: {message}");
    assert!(message.contains(beside.path().join("proxy-password").to_str().unwrap()), "{message}");

    write(beside.path(), "beside", 0o400);
    assert_eq!(header_in(beside.path(), &environment).unwrap(), basic("beside"));
    // An access control list looks like a group's mode; systemd guards the directory.
    write(credentials.path(), "credential", 0o440);
    assert_eq!(header_in(beside.path(), &environment).unwrap(), basic("credential"));
    assert_eq!(header_in(beside.path(), &Environment::empty()).unwrap(), basic("beside"));
    let relative = Environment::from_pairs([("CREDENTIALS_DIRECTORY", ".")]);
    assert_eq!(header_in(beside.path(), &relative).unwrap(), basic("beside"));
}

#[test]
fn what_is_not_a_file_is_told_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy-password");
    fs::create_dir(&path).unwrap();
    assert!(header_in(directory.path(), &Environment::empty()).unwrap_err().to_string().contains("not a regular file"));
    fs::remove_dir(&path).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(header_in(directory.path(), &Environment::empty()).unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn user_name_and_file_go_before_those_of_the_environments_url() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "from-file", 0o400);
    let keys = "username = \"feed\"\npassword_file = \"proxy-password\"\n";
    let environment = Environment::from_pairs([("https_proxy", "http://other:from-url@proxy.example:3128")]);
    let proxies = Proxies::resolve(&upstream(directory.path(), keys), &environment).unwrap();
    let proxy = proxies.proxy().unwrap();
    assert_eq!(proxy.identity(), "http://feed@proxy.example:3128");
    assert_eq!(proxy.authorization().unwrap().to_str().unwrap(), basic("from-file"));
    fs::remove_file(directory.path().join("proxy-password")).unwrap();
    let error = Proxies::resolve(&upstream(directory.path(), keys), &Environment::empty()).unwrap_err();
    assert!(error.to_string().contains("proxy-password"), "told before there is a proxy that needs it");
}
