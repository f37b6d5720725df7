//! Update runs that fail on their way through a proxy; what holds for every failed run is in `runs.rs`.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use certs::lab::{Chain, Keys};
use tests::peers::squid::{INSPECTION_CA, SquidBuilder};
use tests::peers::{Clogged, Port, Squid, Tinyproxy};
use tests::world::World;

use super::runs::{Run, chain, configured};

rows! {
    nobody_at_the_proxys_port: ProxyConnect => Run::new(["127.0.0.1:", "[upstream.proxy]"], async |world: &mut World| {
        let port = Port::free()?;
        through(world, &format!("http://{}", port.address())).await?;
        Ok(port)
    });
    a_proxy_behind_a_firewall_that_drops: ProxyConnect => Run::new(
        ["127.0.0.1:", "no answer within", "firewall"], async |world: &mut World| {
            let port = Clogged::port().await?;
            through(world, &format!("http://{}", port.address())).await?;
            Ok(port)
        },
    ).impatient();
    a_proxy_that_another_root_vouches_for: ProxyConnect => Run::new(["localhost:", "trust_anchors"], async |world: &mut World| {
        let squid = Squid::builder().tls(&chain(Chain::builder().loopback())).start().await?;
        let other = chain(Chain::builder().loopback().root_named("Example Root").keys(Keys::Ecdsa));
        std::fs::write(world.directory().join("proxy-ca.pem"), &other.root.pem)?;
        world.set("upstream.proxy", "trust_anchors", vec!["proxy-ca.pem"])?;
        through(world, &format!("https://localhost:{}", squid.address().port())).await?;
        Ok(squid)
    });
    a_proxy_that_stands_still: Timeout => Run::new(["127.0.0.1:", "did not"], async |world: &mut World| {
        let squid = Squid::builder().start().await?;
        through(world, &format!("http://{}", squid.address())).await?;
        squid.freeze()?;
        Ok(squid)
    }).impatient();
    a_proxy_that_does_not_know_us: ProxyAuth => behind(
        Squid::builder().password("feed", "right"), ["127.0.0.1:", "user name", "password_file"],
    );
    a_proxy_with_another_password: ProxyAuth => Run::new(["127.0.0.1:", "password"], async |world: &mut World| {
        let squid = Squid::builder().password("feed", "right").start().await?;
        login(world, "wrong")?;
        through(world, &format!("http://{}", squid.address())).await?;
        Ok(squid)
    });
    another_make_with_another_password: ProxyAuth => Run::new(["127.0.0.1:", "password"], async |world: &mut World| {
        let proxy = Tinyproxy::with_password("feed", "right").await?;
        login(world, "wrong")?;
        through(world, &format!("http://{}", proxy.address())).await?;
        Ok(proxy)
    });
    a_proxy_that_wants_a_ticket: ProxyAuth => behind(
        Squid::builder().only_schemes(&["negotiate", "ntlm"]),
        ["127.0.0.1:", "offers only Negotiate and NTLM", "cntlm", "without authentication", "bypass"],
    );
    a_proxy_that_refuses_the_host: ProxyRefused => behind(
        Squid::builder().deny_host("localhost"), ["127.0.0.1:", "localhost:", "403"],
    );
    a_proxy_that_inspects: TlsIntercepted => behind(
        Squid::builder().intercepting(), ["localhost:", "127.0.0.1:", INSPECTION_CA],
    );
}

/// A squid between the server and upstream.
fn behind<const N: usize>(
    squid: SquidBuilder,
    says: [&'static str; N],
) -> Run<N, impl AsyncFnOnce(&mut World) -> Result<Squid>> {
    Run::new(says, async move |world: &mut World| {
        let squid = squid.start().await?;
        through(world, &format!("http://{}", squid.address())).await?;
        Ok(squid)
    })
}

/// Puts a proxy between the running server and upstream.
async fn through(world: &mut World, proxy: &str) -> Result<()> {
    configured(world, &[("upstream.proxy", "url", proxy)]).await
}

fn login(world: &mut World, password: &str) -> Result<()> {
    std::fs::write(world.password_file(), password)?;
    std::fs::set_permissions(world.password_file(), std::fs::Permissions::from_mode(0o600))?;
    world.set("upstream.proxy", "username", "feed")?;
    world.set("upstream.proxy", "password_file", "proxy-password")
}
