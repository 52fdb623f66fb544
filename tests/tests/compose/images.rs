//! The Dockerfile → the two images that the other tests start, built once; and what is in them.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::docker::{POSTGRES, Project, REVISION, docker, remove_leftovers, repository, run, until};
use crate::systemd;

/// The public images that the Dockerfile and the compose files name.
const PUBLIC: [&str; 4] = ["rust:1.95-bookworm", POSTGRES, PROMETHEUS, NGINX];
pub(crate) const PROMETHEUS: &str = "prom/prometheus:v2.53.4";
pub(crate) const NGINX: &str = "nginx:1.28-bookworm";
/// Ours.
const OURS: [&str; 2] = ["prose-ingest-api", "prose-pod-proxy"];
/// What is added to the tag of what is built from a clone.
const CLONE: &str = "-clone";
/// What is added to the tag of what BuildKit builds.
const BUILDKIT: &str = "-buildkit";
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
            let pid = tag.strip_prefix("test-").and_then(|rest| rest.split('-').next());
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let image = format!("{image}:{tag}");
                // Containers that a killed test started by hand would keep it.
                let containers =
                    docker(&["ps", "--all", "--quiet", "--filter", &format!("ancestor={image}")])?;
                let containers: Vec<_> = containers.lines().collect();
                if !containers.is_empty() {
                    docker(&[&["rm", "--force", "--volumes"], &containers[..]].concat())?;
                }
                docker(&["image", "rm", "--force", &image])?;
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
        let others = scope.spawn(|| {
            make_stand_ins()?;
            // The test that needs it makes it again, of layers that are there, and says what is wrong.
            let _ = systemd::missing().is_none() && systemd::make_image().is_ok();
            anyhow::Ok(())
        });
        let built = run(&mut dependencies);
        others.join().expect("it does not panic").and(built)
    })?;
    let tag = format!("test-{}", std::process::id());
    let project = Project::new("build", "compose.yaml", &tag);
    run(&mut project.command(&["build", "--quiet"]))?;
    Ok(tag)
}

/// Removes what was built, except for the layer of the dependencies.
pub(crate) fn remove() {
    let tag = format!("test-{}", std::process::id());
    for image in OURS {
        for tag in [tag.clone(), format!("{tag}{CLONE}"), format!("{tag}{BUILDKIT}")] {
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
        let labelled = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
        ensure!(labelled("version") == env!("CARGO_PKG_VERSION"), "{image} has {}", labelled("version"));
        ensure!(labelled("revision") == REVISION, "{image} has {}", labelled("revision"));
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

/// A command that builds with the BuildKit of the engine, if one is installed: the plugin of newer clients, or a client that
/// needs none.
pub(crate) fn buildkit() -> Option<&'static [&'static str]> {
    let said = |program: &str, arguments: &[&str]| {
        let output =
            Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    if said("docker", &["buildx", "version"]).is_some() {
        return Some(&["docker", "buildx", "build", "--load"]);
    }
    let builds_alone = |program: &str| {
        // "Docker version 20.10.24+dfsg1, build 297e128"
        let version = said(program, &["--version"])?;
        let major: u32 = version.split_whitespace().nth(2)?.split('.').next()?.parse().ok()?;
        (major < 23).then_some(())
    };
    if builds_alone("docker").is_some() {
        return Some(&["docker", "build"]);
    }
    builds_alone("/usr/bin/docker").map(|()| &["/usr/bin/docker", "build"][..])
}

/// On top of the crates that the classic builder has compiled for the same Dockerfile, as each of them takes minutes.
pub(crate) fn buildkit_builds_the_same_images() -> anyhow::Result<()> {
    let tag = tag()?;
    let version = format!("prose-{tag}");
    let base = format!("rust:{version}-bookworm");
    docker(&["tag", DEPENDENCIES, &base])?;
    let built = OURS.iter().try_for_each(|image| {
        let [program, arguments @ ..] = buildkit().context("no client")? else { anyhow::bail!("no client") };
        let mut build = Command::new(program);
        build.args(arguments).env("DOCKER_BUILDKIT", "1").args(["--progress", "plain"]);
        build.args(["--build-arg", &format!("RUST_VERSION={version}")]);
        build.args(["--build-arg", &format!("REVISION={REVISION}")]);
        build.args([
            "--target",
            image.trim_start_matches("prose-"),
            "--tag",
            &format!("{image}:{tag}{BUILDKIT}"),
        ]);
        run(build.arg("--file").arg(repository().join("deploy/Dockerfile")).arg(repository()))?;
        is_the_same(image, &tag)
    });
    docker(&["image", "rm", &base])?;
    built?;
    becomes_healthy(&format!("prose-pod-proxy:{tag}{BUILDKIT}"))
}

/// What BuildKit has built says and holds what the classic builder's image does.
fn is_the_same(image: &str, tag: &str) -> anyhow::Result<()> {
    let (classic, other) = (format!("{image}:{tag}"), format!("{image}:{tag}{BUILDKIT}"));
    let (was, is) = (inspect(&classic)?, inspect(&other)?);
    for key in ["User", "Env", "Entrypoint", "Cmd", "Healthcheck", "Labels", "ExposedPorts"] {
        ensure!(
            is["Config"][key] == was["Config"][key],
            "{image}, {key}: {} and {}",
            is["Config"][key],
            was["Config"][key]
        );
    }
    let size = |image: &Value| image["Size"].as_f64().context("a size");
    let ratio = size(&is)? / size(&was)?;
    ensure!((0.99..=1.01).contains(&ratio), "{image} is {ratio} times as large");
    ensure!(files(&other)? == files(&classic)?, "{image} holds other files");
    let versions =
        [&classic, &other].map(|image| docker(&["run", "--rm", "--network", "none", image, "--version"]));
    let [was, is] = versions;
    ensure!(is? == was?, "{image} is another version");
    Ok(())
}

/// The image of a proxy starts, as confined as elsewhere, and its own check says that it is well.
fn becomes_healthy(image: &str) -> anyhow::Result<()> {
    let data = "/var/lib/prose-pod-proxy:uid=10001,gid=10001,mode=0700";
    let confined =
        ["run", "--detach", "--read-only", "--cap-drop", "ALL", "--network", "none", "--tmpfs", data];
    let folder = e2e::stack::folder()?;
    std::fs::write(folder.path().join("prose.toml"), "[pod_proxy]\ndomain = 'pod.example'\n")?;
    let volume = format!("{}:/etc/prose:ro", folder.path().display());
    let container = docker(&[&confined[..], &["--volume", &volume, image]].concat())?;
    let container = container.trim();
    let healthy = until("the proxy is healthy", || {
        let status = docker(&["inspect", "--format", "{{.State.Health.Status}}", container])?;
        Ok((status.trim() == "healthy").then_some(()))
    });
    let log = docker(&["logs", container]);
    docker(&["rm", "--force", "--volumes", container])?;
    healthy.with_context(|| log.unwrap_or_default())
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
    for file in [
        "deploy/compose.yaml",
        "deploy/vendor/compose.yaml",
        "deploy/pod/compose.yaml",
        "deploy/pod/host.yaml",
    ] {
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
