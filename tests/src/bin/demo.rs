//! `cargo demo`: the main job on loopback, from a laboratory upstream to two headends, as a newcomer would want to see it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use bundles::fake::{Dialect, Edition};
use bundles::update_information::UpdateInformation;
use clap::Parser;
use tests::lab::LabUpstream;
use tests::shared;
use tests::world::{DEADLINE, Running, Signal, World, wait_until};

/// Shows the main job on loopback: a laboratory upstream that plays the vendor, the mirror, two headends, and Update
/// Information before and after upstream moves
///
/// Needs nothing but cargo, a C compiler and the crates. Everything is in a temporary directory and ends with this program.
#[derive(Debug, Parser)]
struct Arguments {
    /// End when the headends run the second release, instead of going on until Ctrl-C
    #[arg(long)]
    once: bool,
    /// How often upstream moves after that, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=86_400))]
    every: u64,
    /// How upstream's index is written: attributes, elements, upper-case, cdata, mixed, no-versions or listed
    #[arg(long, value_name = "DIALECT", default_value = Dialect::Attributes.as_str())]
    dialect: Dialect,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = tokio::select! {
        ended = show(&arguments) => ended,
        _ = tokio::signal::ctrl_c() => {
            println!("\nEverything was ended and removed.");
            Ok(())
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn show(arguments: &Arguments) -> Result<()> {
    println!("Building feed-server and feed-client …");
    let options = bundles::fake::Options { dialect: arguments.dialect, ..shared::realistic() };
    let upstream = LabUpstream::builder().options(options);
    let world = World::builder().upstream(upstream).headends(2).on_schedule().stopped().build().await?;
    let mut demo = Demo { world, headends: Vec::new() };

    headline("1. An upstream that plays the vendor, over TLS 1.2, with a chain of the vendor's shape");
    println!("{}", demo.world.upstream().url());
    for certificate in &demo.world.upstream().chain().presented() {
        let facts = certs::CertificateFacts::from_der(certificate)?;
        println!("  {}  (until {})", facts.subject, facts.not_after.strftime("%Y-%m-%d"));
    }

    headline("2. The mirror, which trusts that root alone. Its first run is going on");
    let largest = demo.largest_archive()?;
    let gate = demo.world.upstream().gate(&largest, 1_000);
    demo.world.start_server().await?;
    println!("feed-server serve --config {}", demo.world.config().display());
    gate.reached(DEADLINE).await?;
    print_indented(&demo.world.feed_server(["status"]).await?.success()?.stdout);
    gate.release();
    demo.world.released(1).await?;

    headline("3. Two headends: enrolled with the mirror's root, then polling as a service");
    demo.world.enroll_all().await?;
    demo.start_headends()?;
    let before = demo.headends_run(1).await?;
    print_indented(&demo.world.headend(0).client(["status"]).await?.success()?.stdout);

    headline("4. The vendor publishes; the mirror syncs; the headends are told to look now (SIGHUP)");
    demo.world.upstream().publish(Edition::after())?;
    print_indented(&demo.world.sync().await?.success()?.stdout);
    demo.tell_headends()?;
    let after = demo.headends_run(2).await?;
    print_indented(&demo.world.feed_server(["headend", "list"]).await?.success()?.stdout);

    headline("Update Information of headend-1, before and after");
    print_columns(&before, &after);

    headline("Where to look, while this runs");
    let server = demo.world.server_url()?;
    let token = demo.world.feed_server(["token", "add", "demo", "--scope", "admin"]).await?.success()?;
    println!("  {:<62} the console; log in with this token:\n    {}", server.as_str(), token.stdout.trim());
    for (path, what) in [
        ("web/secure/spa/posture-update.xml", "the vendor's layout, what an ISE node's Update Feed URL is pointed at"),
        ("offline/posture-offline.zip", "the zip for Offline update"),
        ("repo/metadata/timestamp.json", "what headends poll"),
        ("metrics", "for Prometheus"),
        ("readyz", "for probes"),
    ] {
        println!("  {:<62} {what}", server.join(path)?.as_str());
    }
    println!("  {:<62} what headend-1 runs", demo.world.headend(0).data().join("current").display());

    let serial = if arguments.once { 2 } else { demo.go_on(arguments.every).await? };
    demo.end().await?;
    println!(
        "\nDone: both headends run release {serial}, signed by this mirror, from an upstream they never spoke to."
    );
    Ok(())
}

struct Demo {
    world: World,
    headends: Vec<Running>,
}

impl Demo {
    fn largest_archive(&self) -> Result<String> {
        let feed = self.world.upstream().feed().context("the demo's upstream serves a fake feed")?;
        let largest = feed.files.iter().max_by_key(|(_, bytes)| bytes.len()).context("a feed has files")?;
        Ok(self.world.upstream().url_of(largest.0.as_str()).path().to_owned())
    }

    fn start_headends(&mut self) -> Result<()> {
        self.headends = self.world.headends().iter().map(tests::world::Headend::start).collect::<Result<_>>()?;
        Ok(())
    }

    fn tell_headends(&self) -> Result<()> {
        self.headends.iter().try_for_each(|headend| headend.signal(Signal::HUP))
    }

    /// Waits until both run that release; the panel of the first.
    async fn headends_run(&self, serial: u64) -> Result<UpdateInformation> {
        for headend in self.world.headends() {
            let what = format!("{} runs release {serial}", headend.id());
            wait_until(DEADLINE, &what, async || runs(&headend.data(), serial)).await?;
        }
        // The switch comes before the record of it.
        let first = self.world.headend(0);
        let panel = async || first.client(["status", "--json"]).await?.success()?.json::<UpdateInformation>();
        let settled = async || {
            panel().await.is_ok_and(|panel| {
                matches!(panel.last_status, bundles::update_information::LastStatus::Successful { .. })
            })
        };
        wait_until(DEADLINE, "the update is recorded", settled).await?;
        panel().await
    }

    /// Lets upstream move every so often, until Ctrl-C ends the whole of it.
    async fn go_on(&self, every: u64) -> Result<u64> {
        let mut serial = 2;
        println!("\nUpstream moves every {every} s from here on; Ctrl-C ends it.");
        let mut timer = tokio::time::interval(std::time::Duration::from_secs(every));
        timer.tick().await;
        loop {
            timer.tick().await;
            self.world.upstream().publish_next()?;
            self.world.sync().await?.success()?;
            self.tell_headends()?;
            serial += 1;
            let panel = self.headends_run(serial).await?;
            headline(&format!("Release {serial}"));
            print_indented(&panel.to_text(&jiff::tz::TimeZone::system()));
        }
    }

    async fn end(&mut self) -> Result<()> {
        for headend in &mut self.headends {
            headend.signal(Signal::TERM)?;
            headend.end(DEADLINE).await?;
        }
        self.world.stop_server().await?;
        Ok(())
    }
}

fn runs(data: &Path, serial: u64) -> bool {
    std::fs::read_link(data.join("current")).is_ok_and(|target| target.ends_with(serial.to_string()))
}

fn headline(text: &str) {
    println!("\n── {text}");
}

fn print_indented(text: &str) {
    for line in text.lines() {
        println!("  {line}");
    }
}

/// Both panels beside each other, in the order of ISE.
fn print_columns(before: &UpdateInformation, after: &UpdateInformation) {
    let zone = jiff::tz::TimeZone::system();
    // A value is what stands behind the label that both share.
    let (before, after) = (before.to_text(&zone), after.to_text(&zone));
    for (before, after) in before.lines().zip(after.lines()) {
        let label = before.split("  ").next().unwrap_or_default();
        let value = |line: &str| line.strip_prefix(label).unwrap_or(line).trim().replace("Last update attempt at ", "");
        println!("  {label:<48} {:<36} {}", value(before), value(after));
    }
}
