//! Debian's Chromium, driven through WebDriver, with a profile of its own and without background activity.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, ChromiumLikeCapabilities, LoggingPrefsLogLevel};

/// How long an element may take to appear, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The colour preference of the reader's system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theme {
    Light,
    Dark,
}

/// A browser at one site.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: WebDriver,
    base: String,
    /// The profile and the downloads; removed at the end.
    folder: TempDir,
}

/// Starts the driver, and returns its port. The driver picks a free port for IPv6, and exits if the same port
/// is taken for IPv4. Then this starts it again.
fn start_service() -> anyhow::Result<(Process, u16)> {
    let start = || {
        let mut service = Process::start(Command::new("chromedriver").arg("--port=0"))?;
        let port = service.wait_for(|line| {
            line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
        })?;
        anyhow::Ok((service, port))
    };
    let is_taken = |error: &anyhow::Error| error.to_string().contains("port not available");
    let mut started = start();
    for _ in 0..4 {
        if started.as_ref().err().is_some_and(is_taken) {
            started = start();
        }
    }
    started
}

/// Starts a browser. On a busy machine, the first start can take longer than its driver waits.
async fn start(port: u16, capabilities: &ChromeCapabilities) -> anyhow::Result<WebDriver> {
    let url = format!("http://127.0.0.1:{port}");
    let mut tried = WebDriver::new(&url, capabilities.clone()).await;
    for _ in 0..2 {
        if tried.is_err() {
            tried = WebDriver::new(&url, capabilities.clone()).await;
        }
    }
    tried.context("the browser did not start")
}

impl Browser {
    /// Starts a browser, does `work` with it, and ends it in any case.
    pub(crate) async fn with<T>(
        base: &str,
        work: impl AsyncFnOnce(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let (service, port) = start_service()?;
        let folder = tempfile::Builder::new().prefix("prose-browser-").tempdir()?;
        let mut capabilities = DesiredCapabilities::chrome();
        for argument in [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1280,900",
        ] {
            capabilities.add_arg(argument)?;
        }
        capabilities.add_arg(&format!("--user-data-dir={}", folder.path().join("profile").display()))?;
        capabilities.set_logging_prefs("performance".to_owned(), LoggingPrefsLogLevel::All)?;
        pod_proxy::app::install_crypto();
        let driver = start(port, &capabilities).await?;
        let browser = Self { driver: driver.clone(), base: base.to_owned(), folder };
        let worked = work(&browser).await;
        let shown = match &worked {
            Err(_) => format!("at {}", browser.url().await.unwrap_or_default()),
            Ok(_) => String::new(),
        };
        driver.quit().await?;
        drop(service);
        worked.context(shown)
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn driver(&self) -> &WebDriver {
        &self.driver
    }

    /// Opens a path of the site.
    pub(crate) async fn go(&self, path: &str) -> anyhow::Result<()> {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        Ok(self.driver.goto(url).await?)
    }

    pub(crate) async fn url(&self) -> anyhow::Result<String> {
        Ok(self.driver.current_url().await?.to_string())
    }

    pub(crate) async fn click(&self, css: &str) -> anyhow::Result<()> {
        self.driver.find(By::Css(css)).await.with_context(|| css.to_owned())?.click().await?;
        Ok(())
    }

    pub(crate) async fn click_link(&self, text: &str) -> anyhow::Result<()> {
        self.driver.find(By::LinkText(text)).await.with_context(|| text.to_owned())?.click().await?;
        Ok(())
    }

    /// Types into an empty field.
    pub(crate) async fn fill(&self, css: &str, text: &str) -> anyhow::Result<()> {
        let field = self.driver.find(By::Css(css)).await?;
        field.clear().await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Sets a field whose keys depend on the language of the browser, such as a date.
    pub(crate) async fn set_value(&self, css: &str, value: &str) -> anyhow::Result<()> {
        let script = "document.querySelector(arguments[0]).value = arguments[1]";
        self.driver.execute(script, vec![json!(css), json!(value)]).await?;
        Ok(())
    }

    pub(crate) async fn text(&self, css: &str) -> anyhow::Result<String> {
        Ok(self.driver.find(By::Css(css)).await.with_context(|| css.to_owned())?.text().await?)
    }

    pub(crate) async fn exists(&self, css: &str) -> anyhow::Result<bool> {
        Ok(!self.driver.find_all(By::Css(css)).await?.is_empty())
    }

    pub(crate) async fn attributes(&self, css: &str, name: &str) -> anyhow::Result<Vec<String>> {
        let mut values = Vec::new();
        for element in self.driver.find_all(By::Css(css)).await? {
            values.push(element.attr(name).await?.unwrap_or_default());
        }
        Ok(values)
    }

    /// Runs a script as the driver, exempt from the page's policy.
    pub(crate) async fn script(&self, script: &str) -> anyhow::Result<Value> {
        Ok(self.driver.execute(script, Vec::new()).await?.json().clone())
    }

    pub(crate) async fn wait_for(&self, css: &str) -> anyhow::Result<()> {
        self.until(css, async || self.exists(css).await).await
    }

    pub(crate) async fn wait_for_title(&self, title: &str) -> anyhow::Result<()> {
        self.until(title, async || Ok(self.driver.title().await?.starts_with(title))).await
    }

    pub(crate) async fn wait_for_url(&self, part: &str) -> anyhow::Result<()> {
        self.until(part, async || Ok(self.url().await?.contains(part))).await
    }

    async fn until(&self, what: &str, is_so: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let end = Instant::now() + PATIENCE;
        // During a navigation, there may be nothing to ask.
        while !is_so().await.unwrap_or(false) {
            ensure!(Instant::now() < end, "it did not come to {what:?}, but stayed at {}", self.url().await?);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Downloads a link, and returns the content of the file.
    pub(crate) async fn download(&self, link: &str) -> anyhow::Result<String> {
        let folder = self.folder.path().join("downloads");
        fs::create_dir_all(&folder)?;
        let allow = json!({ "behavior": "allow", "downloadPath": folder });
        self.driver.cdp().send_raw("Browser.setDownloadBehavior", allow).await?;
        self.click_link(link).await?;
        let end = Instant::now() + PATIENCE;
        loop {
            let files = fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
            // An unfinished download has another extension.
            if let Some(file) = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "csv")) {
                return Ok(fs::read_to_string(file)?);
            }
            ensure!(Instant::now() < end, "no file came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The URLs that were requested since the last call.
    pub(crate) async fn requests(&self) -> anyhow::Result<Vec<String>> {
        let mut urls = Vec::new();
        for entry in self.driver.get_log("performance").await? {
            let event: Value = serde_json::from_str(&entry.message)?;
            let event = &event["message"];
            if event["method"] == "Network.requestWillBeSent" {
                urls.extend(event["params"]["request"]["url"].as_str().map(str::to_owned));
            }
        }
        Ok(urls)
    }

    pub(crate) async fn use_theme(&self, theme: Theme) -> anyhow::Result<()> {
        let value = if theme == Theme::Dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.driver.cdp().send_raw("Emulation.setEmulatedMedia", media).await?;
        Ok(())
    }

    /// A PNG of the whole page at that width.
    pub(crate) async fn picture(&self, width: u32) -> anyhow::Result<Vec<u8>> {
        self.resize(width, 900).await?;
        let height = self.script("return document.documentElement.scrollHeight").await?;
        self.resize(width, u32::try_from(height.as_u64().context("a height")?)?.max(600)).await?;
        Ok(self.driver.screenshot_as_png().await?)
    }

    /// Presses Tab.
    pub(crate) async fn press_tab(&self) -> anyhow::Result<()> {
        Ok(self.driver.action_chain().send_keys(Key::Tab).perform().await?)
    }

    /// Resizes the window.
    pub(crate) async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.driver.cdp().send_raw("Emulation.setDeviceMetricsOverride", metrics).await?;
        Ok(())
    }
}
