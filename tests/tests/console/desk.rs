//! A person at a desk: a browser that is logged in to a world's console.

use anyhow::{Context, Result, ensure};
use tests::peers::chromium::Look;
use tests::peers::{Chromium, axe};
use tests::shared::workspace;
use tests::world::{DEADLINE, World};

/// A world, and a browser that looks at its console.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) chromium: Chromium,
}

/// Makes a token of that scope.
pub(crate) async fn token(world: &World, scope: &str) -> Result<String> {
    let name = format!("desk-{scope}");
    let made = world.feed_server(["token", "add", &name, "--scope", scope]).await?.success()?;
    Ok(made.stdout.trim().to_owned())
}

impl Desk {
    /// Sits down in front of this world's server, and logs in with a token of that scope.
    pub(crate) async fn of(world: World, scope: &str) -> Result<Self> {
        let desk = Self { world, chromium: Chromium::start().await? };
        let token = token(&desk.world, scope).await?;
        desk.visit("/").await?;
        desk.log_in(&token).await?;
        desk.chromium.wait_for_text(DEADLINE, "h1", "Posture updates").await?;
        Ok(desk)
    }

    /// Goes to a page of the console.
    pub(crate) async fn visit(&self, path: &str) -> Result<()> {
        self.chromium.open(&self.world.server_url()?.join(path)?).await
    }

    /// Fills in the log-in form.
    pub(crate) async fn log_in(&self, token: &str) -> Result<()> {
        self.chromium.type_into("#token", token).await?;
        self.chromium.click("form.login button").await
    }

    /// What the whole page says.
    pub(crate) async fn page(&self) -> Result<String> {
        self.chromium.text("body").await?.context("a page")
    }

    /// Whether the page that is open is as pages have to be: nothing in it complained since this was asked last, it broke no
    /// policy, and it keeps nobody out, however it is looked at. Leaves pictures of it by this name.
    pub(crate) async fn is_sound(&self, name: &str) -> Result<()> {
        for look in Look::ALL {
            self.chromium.look(look).await?;
            let file = workspace().join(format!("target/screenshots/{name}-{}.png", look.name));
            self.chromium.screenshot(&file).await?;
            let barriers = axe(&self.chromium).await?;
            ensure!(barriers.is_empty(), "{name}, {}: {barriers:#?}", look.name);
            let beyond = "return document.documentElement.scrollWidth - document.documentElement.clientWidth;";
            let beyond = self.chromium.run(beyond, &[]).await?;
            ensure!(beyond == 0, "{name}, {}: the page is {beyond} pixels wider than the window", look.name);
        }
        self.chromium.look(Look::ALL[0]).await?;
        let complaints = self.chromium.complaints().await?;
        ensure!(complaints.is_empty(), "{name}: {complaints:#?}");
        Ok(())
    }
}
