//! The peers that listen, by what curl sees of them: a scenario that fails must not fail for its proxy's sake.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::lab::LabUpstream;
use tests::peers::{Access, Squid, Tinyproxy};
use tests::world::{DEADLINE, wait_until};

/// What curl says of the index through a proxy, the body left out.
fn curl(lab: &LabUpstream, proxy: &str, more: &[&str]) -> Result<String> {
    let ca = tempfile::NamedTempFile::new()?;
    lab.write_ca(ca.path())?;
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--verbose", "--output", "/dev/null", "--max-time", "30", "--proxy", proxy])
        .args(more)
        .arg("--cacert")
        .arg(ca.path())
        .arg(lab.url().as_str())
        .output()
        .context("curl is missing; run tests/run, which installs it")?;
    Ok(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn proxies_let_through_and_log_it() -> Result<()> {
    let lab = LabUpstream::builder().options(bundles::fake::Options::small()).start()?;
    let target = format!("localhost:{}", lab.address().port());
    let tinyproxy = Tinyproxy::open().await?;
    let said = curl(&lab, &format!("http://{}", tinyproxy.address()), &[])?;
    ensure!(said.contains("HTTP/1.1 200"), "{said}");
    let access = |status| Access { method: "CONNECT".to_owned(), target: target.clone(), status };
    ensure!(tinyproxy.access_log()? == [access(None)], "{:?}", tinyproxy.access_log());

    let squid = Squid::builder().start().await?;
    let said = curl(&lab, &format!("http://{}", squid.address()), &[])?;
    ensure!(said.contains("HTTP/1.1 200"), "{said}");
    let logged = async || squid.access_log().is_ok_and(|log| log == [access(Some(200))]);
    wait_until(DEADLINE, "squid logs the tunnel when it ends", logged).await
}

#[tokio::test]
async fn passwords_are_asked_for() -> Result<()> {
    let lab = LabUpstream::builder().options(bundles::fake::Options::small()).start()?;
    let squid = Squid::builder().password("feed", "right").start().await?;
    let tinyproxy = Tinyproxy::with_password("feed", "right").await?;
    // tinyproxy takes 401, the status of an origin, for its own refusal of a wrong password; 407 where there is none.
    for (proxy, refusal) in [(squid.address(), "HTTP/1.1 407"), (tinyproxy.address(), "HTTP/1.0 401")] {
        let url = format!("http://{proxy}");
        for (login, status) in [("feed:right", "HTTP/1.1 200"), ("feed:wrong", refusal)] {
            let said = curl(&lab, &url, &["--proxy-user", login])?;
            ensure!(said.contains(status), "{login}: {said}");
        }
        let said = curl(&lab, &url, &[])?;
        ensure!(said.contains(" 407 "), "{said}");
    }
    let negotiating = Squid::builder().only_schemes(&["negotiate", "ntlm"]).start().await?;
    let said = curl(&lab, &format!("http://{}", negotiating.address()), &[])?;
    ensure!(said.contains("Proxy-Authenticate: Negotiate") && said.contains("Proxy-Authenticate: NTLM"), "{said}");
    Ok(())
}

#[tokio::test]
async fn proxies_refuse_stand_still_and_intercept() -> Result<()> {
    let lab = LabUpstream::builder().options(bundles::fake::Options::small()).start()?;
    for squid in [Squid::builder().deny_host("localhost"), Squid::builder().only_port_443()] {
        let squid = squid.start().await?;
        let said = curl(&lab, &format!("http://{}", squid.address()), &[])?;
        ensure!(said.contains("HTTP/1.1 403"), "{said}");
    }
    let intercepting = Squid::builder().intercepting().start().await?;
    let said = curl(&lab, &format!("http://{}", intercepting.address()), &["--insecure"])?;
    ensure!(said.contains(tests::peers::squid::INSPECTION_CA), "{said}");

    let chain = certs::lab::Chain::builder().loopback().build()?;
    let tls = Squid::builder().tls(&chain).start().await?;
    let url = format!("https://localhost:{}", tls.address().port());
    let said = curl(&lab, &url, &["--proxy-insecure"])?;
    ensure!(said.contains("HTTP/1.1 200"), "{said}");

    let mut squid = Squid::builder().start().await?;
    let url = format!("http://{}", squid.address());
    squid.freeze()?;
    let said = curl(&lab, &url, &["--max-time", "1"])?;
    ensure!(said.contains("timed out") && said.contains("Connected"), "{said}");
    squid.stop().await?;
    let said = curl(&lab, &url, &[])?;
    ensure!(said.contains("refused"), "{said}");
    squid.start_again().await?;
    let said = curl(&lab, &url, &[])?;
    ensure!(said.contains("HTTP/1.1 200"), "{said}");
    Ok(())
}
