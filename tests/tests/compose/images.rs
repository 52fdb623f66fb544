//! The Dockerfile → the two images that the other tests start, built once; and what is in them.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::docker::{POSTGRES, Project, docker, remove_leftovers, repository, run};

/// The public images that the Dockerfile and the compose files name.
const PUBLIC: [&str; 4] = ["rust:1.95-bookworm", POSTGRES, PROMETHEUS, NGINX];
pub(crate) const PROMETHEUS: &str = "prom/prometheus:v2.53.4";
pub(crate) const NGINX: &str = "nginx:1.28-bookworm";
/// Ours.
const OURS: [&str; 2] = ["prose-ingest-api", "prose-pod-proxy"];
/// What is added to the tag of what is built from a clone.
const CLONE: &str = "-clone";
/// Keeps the layer of the dependencies for the next time, when the rest is removed.
const DEPENDENCIES: &str = "prose-analytics-dependencies:test";
/// The largest that an image may be, in bytes.
const MAX_BYTES: u64 = 60_000_000;

static BUILT: OnceLock<Result<String, String>> = OnceLock::new();

/// Whether they have been built, well or not.
pub(crate) fn were_built() -> bool {
    BUILT.get().is_some()
}

/// The tag of our images, which are built when this is asked for first.
pub(crate) fn tag() -> anyhow::Result<String> {
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// The tag of those that are built from a clone of the repository, of layers that are there.
pub(crate) fn tag_of_clone() -> anyhow::Result<String> {
    Ok(tag()? + CLONE)
}

/// Sees to it that the public images are there.
pub(crate) fn make_stand_ins() -> anyhow::Result<()> {
    stand_ins(&PUBLIC)
}

fn stand_ins(images: &[&str]) -> anyhow::Result<()> {
    run(Command::new(repository().join("tests/stand-ins/make")).args(images)).map(drop)
}

/// Removes the images of tests that were killed before they could.
fn remove_left_images() -> anyhow::Result<()> {
    for image in OURS {
        for tag in docker(&["image", "ls", "--format", "{{.Tag}}", image])?.lines() {
            let pid = tag.strip_prefix("test-").map(|rest| rest.trim_end_matches(CLONE));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                docker(&["image", "rm", &format!("{image}:{tag}")])?;
            }
        }
    }
    Ok(())
}

fn build() -> anyhow::Result<String> {
    remove_leftovers()?;
    remove_left_images()?;
    stand_ins(&PUBLIC[..1])?;
    let dockerfile = repository().join("deploy/Dockerfile");
    let mut dependencies = Command::new("docker");
    dependencies.args(["build", "--quiet", "--target", "dependencies", "--tag", DEPENDENCIES, "--file"]);
    dependencies.arg(dockerfile).arg(repository());
    // Others wait for packages while this one computes.
    std::thread::scope(|scope| {
        let others = scope.spawn(make_stand_ins);
        let built = run(&mut dependencies);
        others.join().expect("it does not panic").and(built)
    })?;
    let tag = format!("test-{}", std::process::id());
    let project = Project::new("build", "compose.yaml", &tag);
    run(&mut project.command(&["build", "--quiet"]))?;
    Ok(tag)
}

/// Removes what was built, but for the layer of the dependencies.
pub(crate) fn remove() {
    let tag = format!("test-{}", std::process::id());
    for image in OURS {
        for tag in [tag.clone(), format!("{tag}{CLONE}")] {
            // It may not have come so far.
            let _ = docker(&["image", "rm", &format!("{image}:{tag}")]);
        }
    }
    let _ = docker(&["image", "prune", "--force", "--filter", "label=org.prose.analytics.stage=build"]);
}

/// The size of each image, in bytes.
pub(crate) fn sizes() -> anyhow::Result<Vec<(&'static str, u64)>> {
    let tag = tag()?;
    let size = |image| Ok((image, inspect(&format!("{image}:{tag}"))?["Size"].as_u64().context("a size")?));
    OURS.into_iter().map(size).collect()
}

fn inspect(image: &str) -> anyhow::Result<Value> {
    let all: Value = serde_json::from_str(&docker(&["image", "inspect", image])?)?;
    Ok(all[0].clone())
}

pub(crate) fn the_images_are_small_and_hold_no_shell_and_no_root() -> anyhow::Result<()> {
    let tag = tag()?;
    for (image, bytes) in sizes()? {
        ensure!(bytes <= MAX_BYTES, "{image} has {bytes} bytes");
        let image = format!("{image}:{tag}");
        let config = inspect(&image)?["Config"].clone();
        ensure!(config["User"] == "10001:10001", "{image} runs as {}", config["User"]);
        let check = config["Healthcheck"]["Test"].as_array().context("a health check")?;
        ensure!(check[0] == "CMD" && check.last().is_some_and(|last| last == "health"), "{check:?}");
        for label in ["title", "description", "source", "licenses", "version", "revision"] {
            let label = format!("org.opencontainers.image.{label}");
            ensure!(
                config["Labels"][&label].as_str().is_some_and(|text| !text.is_empty()),
                "{image}: {label}"
            );
        }
        let listed = files(&image)?;
        for program in ["/sh", "/bash", "/busybox", "/apt", "/su"] {
            ensure!(!listed.lines().any(|file| file.ends_with(program)), "{image} holds {program}");
        }
        // A list that is empty would hold none either.
        ensure!(listed.contains("usr/local/bin/"), "{listed}");
        let version = docker(&[
            "run",
            "--rm",
            "--read-only",
            "--network",
            "none",
            "--cap-drop",
            "ALL",
            &image,
            "--version",
        ])?;
        ensure!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
    Ok(())
}

/// The files in an image.
fn files(image: &str) -> anyhow::Result<String> {
    let container = docker(&["create", image])?;
    let container = container.trim();
    let script = format!("docker export {container} | tar -t");
    let listed = run(Command::new("sh").args(["-c", &script]));
    docker(&["rm", container])?;
    listed
}

pub(crate) fn the_files_name_the_public_images_that_are_tested() -> anyhow::Result<()> {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).with_context(|| path.to_owned());
    for file in ["deploy/compose.yaml", "deploy/vendor/compose.yaml", "deploy/pod/compose.yaml"] {
        let text = read(file)?;
        let images = text.lines().filter_map(|line| line.trim().strip_prefix("image: "));
        for image in images {
            let ours = OURS.iter().any(|ours| image == format!("{ours}:${{PROSE_TAG:-latest}}"));
            ensure!(ours || PUBLIC.contains(&image), "{file} names {image}");
        }
    }
    let dockerfile = read("deploy/Dockerfile")?;
    let version =
        dockerfile.lines().find_map(|line| line.strip_prefix("ARG RUST_VERSION=")).context("a version")?;
    ensure!(PUBLIC[0] == format!("rust:{version}-bookworm"), "the Dockerfile names Rust {version}");
    let toolchain = read("rust-toolchain.toml")?;
    ensure!(
        toolchain.contains(&format!("channel = \"{version}.")),
        "the Dockerfile has Rust {version}: {toolchain}"
    );
    Ok(())
}
