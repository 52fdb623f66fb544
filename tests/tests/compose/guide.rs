//! The commands of `deploy/README.md` and `deploy/DAY-TWO.md` → the same commands on the containers of a test.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::docker::{Project, repository, run};

/// What follows `heading` in the guide, which is two documents.
fn section(heading: &str) -> anyhow::Result<String> {
    let read = |file: &str| fs::read_to_string(repository().join(file));
    let guide = read("deploy/README.md")? + &read("deploy/DAY-TWO.md")?;
    let (_, section) =
        guide.split_once(&format!("\n{heading}\n")).with_context(|| format!("no {heading}"))?;
    Ok(section.to_owned())
}

/// The first block of commands after a heading.
#[derive(Debug)]
pub(crate) struct Block {
    text: String,
    compose: String,
}

impl Block {
    /// The first block after `heading`, for the compose file `file` below `deploy/`.
    pub(crate) fn after(heading: &str, file: &str) -> anyhow::Result<Self> {
        let section = section(heading)?;
        let block = section.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next());
        let text = block.with_context(|| format!("no commands after {heading}"))?.to_owned();
        let compose = format!("docker compose -f deploy/{file}");
        ensure!(text.contains(&compose), "{heading} is not about {file}");
        Ok(Self { text, compose })
    }

    /// The block with that number, from 0, of the section `heading` and those below it; not for Compose.
    pub(crate) fn nth(number: usize, heading: &str) -> anyhow::Result<Self> {
        let section = section(heading)?;
        let block = section.split("```sh\n").nth(number + 1).and_then(|rest| rest.split("```").next());
        let text = block.with_context(|| format!("no block {number} after {heading}"))?.to_owned();
        Ok(Self { text, compose: String::new() })
    }

    /// The commands.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Without a command that makes no sense in a test.
    pub(crate) fn without(mut self, command: &str) -> anyhow::Result<Self> {
        let line = format!("{command}\n");
        ensure!(self.text.contains(&line), "the guide does not say {command}");
        self.text = self.text.replacen(&line, "", 1);
        Ok(self)
    }

    /// Runs the commands in `folder`, on the containers of `project`; returns what they said.
    pub(crate) fn run(&self, project: &Project, folder: &Path) -> anyhow::Result<String> {
        let command = project.command(&[]);
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        let mut script = self.text.replace(&self.compose, &words);
        // As Compose calls it, after the folder of the file.
        script = script.replace(" vendor_database", &format!(" {}", project.full_name("database")));
        if script.contains("http://127.0.0.1:8280") {
            script = script.replace("http://127.0.0.1:8280", &project.url("ingest-api", 8280)?);
        }
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &script]).current_dir(folder);
        bash.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        run(&mut bash)
    }
}
