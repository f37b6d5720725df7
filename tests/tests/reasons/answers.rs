//! What the API and the command line refuse. Nothing is counted as a run, and nothing changes.

use anyhow::{Context as _, Result, ensure};
use bundles::Reason;
use bundles::fake::{Edition, Options};
use reqwest::{Client, Method};
use rustix::process::{Pid, kill_process};
use serde_json::Value;
use tests::lab::{DIRECTORY, LabUpstream};
use tests::world::{DEADLINE, Invocation, Signal, World};

rows! {
    an_api_without_a_token: Unauthorized => Request::new(Method::GET, "api/v1/status", "Authorization: Bearer").anonymous();
    a_release_that_never_was: NotFound => Request::new(Method::GET, "api/v1/releases/99", "99").like(&["release", "show", "99"]);
    a_request_that_is_not_understood: BadRequest => Request::new(Method::POST, "api/v1/sync", "colour").body(r#"{"colour":1}"#);
    a_run_while_another_goes_on: Busy => Request::new(Method::POST, "api/v1/sync", "run").body("{}").like(&["sync"]).meanwhile();
    a_configuration_that_is_not_understood: BadRequest => Verb::new(&["check-config"], "colour", async |world| {
        world.set("upstream", "colour", 1)
    });
    another_version_than_expected: Expectation => Verb::new(
        &["inspect", "{world}/posture-update.xml", "--expect", "conditions=1.2.3.4"], "1.2.3.4", async |world| {
            let index = world.upstream().feed().context("a fake feed")?.index(&world.upstream().url());
            Ok(std::fs::write(world.directory().join("posture-update.xml"), index)?)
        },
    );
    a_clock_at_the_end_of_time: Clock => Verb::new(&["sync"], "time", async |world| {
        world.stop_server().await?;
        Ok(std::fs::remove_dir_all(world.data())?)
    }).with_clock_at("@9999-12-01 00:00:00");
    a_server_that_ends_in_the_midst_of_a_run: Internal => CutOff;
    a_data_directory_that_is_none: Storage => Verb::new(&["status"], "data", async |world| {
        world.stop_server().await?;
        std::fs::remove_dir_all(world.data())?;
        Ok(std::fs::write(world.data(), "a file")?)
    });
}

/// A request to the API, and where there is one, the verb that asks the same.
struct Request {
    method: Method,
    path: &'static str,
    says: &'static str,
    body: Option<&'static str>,
    token: bool,
    verb: Option<&'static [&'static str]>,
    during_a_run: bool,
}

impl Request {
    fn new(method: Method, path: &'static str, says: &'static str) -> Self {
        Self { method, path, says, body: None, token: true, verb: None, during_a_run: false }
    }

    fn anonymous(self) -> Self {
        Self { token: false, ..self }
    }

    fn body(self, body: &'static str) -> Self {
        Self { body: Some(body), ..self }
    }

    fn like(self, verb: &'static [&'static str]) -> Self {
        Self { verb: Some(verb), ..self }
    }

    /// While an update run stands in the middle of a download.
    fn meanwhile(self) -> Self {
        Self { during_a_run: true, ..self }
    }

    async fn shows(self, reason: Reason) -> Result<()> {
        let world = World::builder().build().await?;
        world.sync().await?.success()?;
        let token: Value =
            world.feed_server(["token", "add", "tests", "--scope", "admin", "--json"]).await?.success()?.json()?;
        let token = token["token"].as_str().context("a token")?;
        let gate = if self.during_a_run { Some(run_that_waits(&world, token).await?) } else { None };
        let before = world.metrics().await?;

        let (status, problem) = self.send(&world, token).await?;
        ensure!(problem["reason"] == reason.as_str() && problem["status"] == status, "{problem}");
        ensure!((400..500).contains(&status), "{problem}");
        ensure!(problem["detail"].as_str().is_some_and(|detail| detail.contains(self.says)), "{problem}");
        ensure!(!problem.to_string().contains(&*world.data().to_string_lossy()), "a path leaks: {problem}");
        if let Some(verb) = self.verb {
            let refused = world.feed_server(verb).await?.failed_with(reason.exit_code().into())?;
            ensure!(refused.stderr.contains(&format!("({reason})")) && refused.stderr.contains(self.says), "{refused}");
        }
        let after = world.metrics().await?;
        let counts =
            |metrics: &tests::world::Metrics| -> Vec<_> { metrics.all("posture_feed_sync_total").cloned().collect() };
        ensure!(counts(&before) == counts(&after), "a refusal is no run");
        if let Some(gate) = gate {
            gate.release();
            world.released(2).await?;
        }
        Ok(())
    }

    async fn send(&self, world: &World, token: &str) -> Result<(u16, Value)> {
        let mut request = client()?.request(self.method.clone(), world.server_url()?.join(self.path)?);
        if self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = self.body {
            request = request.header("Content-Type", "application/json").body(body);
        }
        let response = request.send().await?;
        let kind = response.headers().get("content-type").context("a content type")?.to_str()?.to_owned();
        ensure!(kind == "application/problem+json", "{kind}");
        Ok((response.status().as_u16(), response.json().await?))
    }
}

/// A run that stands at a gate until it is released.
async fn run_that_waits(world: &World, token: &str) -> Result<tests::lab::Gate> {
    world.upstream().publish(Edition::after())?;
    let gate = world.upstream().gate(&format!("{DIRECTORY}osgroups.tar.gz"), 10);
    let url = world.server_url()?.join("api/v1/sync")?;
    let accepted = client()?.post(url).bearer_auth(token).header("Content-Type", "application/json").body("{}").send();
    ensure!(accepted.await?.status().is_success());
    gate.reached(DEADLINE).await?;
    Ok(gate)
}

/// A verb that asks nobody.
struct Verb<B> {
    arguments: &'static [&'static str],
    says: &'static str,
    breaks: B,
    clock: Option<&'static str>,
}

impl<B: AsyncFnOnce(&mut World) -> Result<()>> Verb<B> {
    /// In the arguments, `{world}` stands for the world's directory.
    fn new(arguments: &'static [&'static str], says: &'static str, breaks: B) -> Self {
        Self { arguments, says, breaks, clock: None }
    }

    fn with_clock_at(self, clock: &'static str) -> Self {
        Self { clock: Some(clock), ..self }
    }

    async fn shows(self, reason: Reason) -> Result<()> {
        let mut world = World::builder().build().await?;
        (self.breaks)(&mut world).await?;
        let directory = world.directory().to_string_lossy().into_owned();
        let arguments = self.arguments.iter().map(|argument| argument.replace("{world}", &directory));
        let verb = world.invocation(arguments.collect::<Vec<_>>());
        let code = i32::from(reason.exit_code());
        let ask = async |verb: Invocation| {
            self.clock.iter().fold(verb, |verb, clock| verb.with_clock_off(clock)).output().await?.failed_with(code)
        };
        let text = ask(verb.clone()).await?;
        ensure!(text.stderr.contains(&format!("({reason})")) && text.stderr.contains(self.says), "{text}");
        let json = ask(verb.args(["--json"])).await?;
        let failure: Value = serde_json::from_str(json.stderr.lines().last().context("a failure")?)?;
        ensure!(failure["reason"] == reason.as_str(), "{json}");
        Ok(())
    }
}

/// A run that its server does not live to see the end of: the next start says so.
struct CutOff;

impl CutOff {
    async fn shows(self, reason: Reason) -> Result<()> {
        let mut world = World::builder().build().await?;
        world.sync().await?.success()?;
        let success = world.metrics().await?.value("posture_feed_last_success_timestamp_seconds", &[]);
        let gate = world.upstream().gate(&format!("{DIRECTORY}osgroups.tar.gz"), 10);
        world.upstream().publish(Edition::after())?;
        let (asked, killed) = tokio::join!(world.feed_server(["sync"]), async {
            gate.reached(DEADLINE).await?;
            let id = world.server_id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).context("a server")?;
            anyhow::Ok(kill_process(id, Signal::KILL)?)
        });
        killed?;
        // Whoever waited lost the server; the run's own end is what the next start tells.
        let asked = asked?.failed_with(Reason::Connect.exit_code().into())?;
        ensure!(asked.stderr.contains("went away"), "{asked}");
        world.server_ended().await?;
        gate.release();
        world.start_server().await?;
        let status: Value = world.feed_server(["status", "--json"]).await?.success()?.json()?;
        let told = &status["last_failure"];
        ensure!(told["reason"] == reason.as_str() && told["result"] == reason.as_str(), "{status}");
        ensure!(told["message"].as_str().is_some_and(|message| message.contains("cut off")), "{status}");
        let metrics = world.metrics().await?;
        let last = [("result", reason.as_str())];
        ensure!(metrics.value("posture_feed_last_attempt_result", &last) == Some(1.0), "{status}");
        ensure!(metrics.value("posture_feed_sync_total", &last) == Some(1.0), "{status}");
        ensure!(metrics.value("posture_feed_last_success_timestamp_seconds", &[]) == success, "{status}");
        world.released(1).await
    }
}

fn client() -> Result<Client> {
    Ok(Client::builder().tls_backend_preconfigured(no_tls()?).no_proxy().timeout(DEADLINE).build()?)
}

/// The world's server speaks plain HTTP; reqwest wants to know whom it would trust all the same.
fn no_tls() -> Result<rustls::ClientConfig> {
    let lab = LabUpstream::builder().options(Options::small()).start()?;
    Ok(certs::client_config(certs::PinnedVerifier::new(lab.chain().anchors()?)?))
}
