//! The real binary on a data directory of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Nothing listens there (RFC 863's port, which nobody serves): runs fail at once, without a network.
const NO_UPSTREAM: &str = "[upstream]\nurl = \"https://127.0.0.1:9/posture-update.xml\"\n";

/// Nothing is fetched.
pub(crate) const NO_FETCHING: &str = "[upstream]\nkind = \"none\"\n";

/// A data directory and a configuration, with or without a server.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    server: Option<Child>,
}

impl Site {
    /// With a configuration; port 0 is added where it names no address.
    pub(crate) fn new(configuration: &str) -> Self {
        let site = Self { directory: tempfile::tempdir().unwrap(), server: None };
        let mut text = configuration.to_owned();
        if !text.contains("[upstream]") {
            text.push_str(NO_UPSTREAM);
        }
        if !text.contains("[listen]") {
            text.push_str("[listen]\naddress = \"127.0.0.1:0\"\n");
        }
        std::fs::write(site.config(), text).unwrap();
        site
    }

    /// With a data directory that a run made; the run failed.
    pub(crate) fn made(configuration: &str) -> Self {
        let site = Self::new(configuration);
        assert_eq!(site.fails(&["sync"]).0, 10, "nothing listens upstream");
        site
    }

    /// With a server that has said that it listens.
    pub(crate) fn serving(configuration: &str) -> Self {
        let mut site = Self::new(configuration);
        site.serve();
        site
    }

    pub(crate) fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// With variables of its environment.
    pub(crate) fn serve_with(&mut self, environment: &[(&str, &str)]) {
        let mut command = self.command(&["serve"]);
        command.envs(environment.iter().copied());
        self.started(command);
    }

    /// By a shell that runs these words first.
    #[allow(dead_code, reason = "not every test binary limits it")]
    pub(crate) fn serve_limited(&mut self, words: &str) {
        let serve = self.command(&["serve"]);
        let mut command = Command::new("sh");
        command.current_dir(self.path());
        command.arg("-ec").arg(format!("{words}; exec \"$0\" \"$@\"")).arg(serve.get_program()).args(serve.get_args());
        for (name, value) in serve.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.started(command);
    }

    fn started(&mut self, mut command: Command) {
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("listening on http"), "the server ended without listening: {line:?}");
        self.server = Some(server);
    }

    /// Sends SIGTERM and gives the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let mut server = self.server.take().unwrap();
        let process = rustix::process::Pid::from_child(&server);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        server.wait().unwrap().code()
    }

    /// The server's process.
    #[allow(dead_code, reason = "not every test binary signals it")]
    pub(crate) fn server(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(self.server.as_ref().unwrap())
    }

    /// As a crash would.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("server.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg("--config").arg(self.config()).arg("--data").arg(self.data());
        command
    }

    /// A verb that is told neither its configuration nor its data.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_feed-server"));
        command.args(arguments);
        command.env_remove("POSTURE_FEED_SERVER_CONFIG").env_remove("POSTURE_FEED_SERVER_DATA");
        command.env_remove("RUST_LOG").env("HTTP_PROXY", "http://127.0.0.1:9").current_dir(self.path());
        for variable in ["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "CREDENTIALS_DIRECTORY"] {
            command.env_remove(variable).env_remove(variable.to_ascii_lowercase());
        }
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The same, with variables of its environment.
    #[allow(dead_code, reason = "not every test binary kills a verb")]
    pub(crate) fn runs_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        self.command(arguments).envs(environment.iter().copied()).output().unwrap()
    }

    /// Waits until the server has ended by itself.
    #[allow(dead_code, reason = "not every test binary has it die")]
    pub(crate) fn ends(&mut self) {
        self.server.take().unwrap().wait().unwrap();
    }

    /// Begins a verb.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// What a verb that must succeed prints.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Exit code and error of a verb that must fail.
    pub(crate) fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// What the server says of its listeners.
    pub(crate) fn listening(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.data().join("listening.json")).unwrap()).unwrap()
    }

    /// A URL on the public listener.
    pub(crate) fn url(&self, path: &str) -> String {
        let listening = self.listening();
        let scheme = if listening["tls"] == true { "https" } else { "http" };
        format!("{scheme}://{}{path}", listening["address"].as_str().unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// A client that trusts these roots alone, and asks no proxy.
pub(crate) fn client(roots: rustls::RootCertStore) -> reqwest::Client {
    builder(roots).build().unwrap()
}

/// A client without TLS that comes from an address of its own: on Linux all of 127.0.0.0/8 is this machine.
#[allow(dead_code, reason = "not every test binary is told apart by its address")]
pub(crate) fn client_from(address: std::net::IpAddr) -> reqwest::Client {
    builder(rustls::RootCertStore::empty()).local_address(address).build().unwrap()
}

fn builder(roots: rustls::RootCertStore) -> reqwest::ClientBuilder {
    let mut tls = rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy()
}

pub(crate) fn plain() -> reqwest::Client {
    client(rustls::RootCertStore::empty())
}
