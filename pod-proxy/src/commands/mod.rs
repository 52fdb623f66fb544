//! The commands: what an operator asks on the command line → an answer on standard output.

pub mod check;
pub mod health;
pub mod policy;
pub mod preview;
pub mod run;
pub mod sent;

use std::io;
use std::process::ExitCode;

use shared::config::Mistakes;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
    /// Standard input or output fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CommandError {
    /// 2 for a configuration with mistakes, 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(2),
            Self::Other(_) | Self::Io(_) => ExitCode::FAILURE,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For reading.
    #[default]
    Table,
    /// For programs.
    Json,
}
