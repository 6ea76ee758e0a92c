//! The command line.

use std::path::PathBuf;

use buttress_lab::{plan::MOST_REQUESTS, run::World};
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

/// Calls an unreliable tool through stacks of Buttress layers, and measures what they gain.
#[derive(Debug, Parser)]
#[command(name = "lab", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the experiment of a plan.
    Run {
        /// The plan: a TOML file as `lab help plan` explains, or the name of a built-in plan.
        #[arg(value_name = "PLAN.toml")]
        plan: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Run the experiment of the source documents: redundant execution, hedges and retries.
    Redundant {
        #[command(flatten)]
        how: How,
    },
    /// Run the experiment of votes: what they cost, and what they are worth where answers are wrong.
    Quorum {
        #[command(flatten)]
        how: How,
    },
    /// Run the experiment of a weaker tool that stands in, and of where the timeout belongs then.
    Fallback {
        #[command(flatten)]
        how: How,
    },
    /// Run the experiment of an answer made of several, of which some may be missing.
    Degrade {
        #[command(flatten)]
        how: How,
    },
    /// Run the experiment of a replica that is away for a while.
    Failover {
        #[command(flatten)]
        how: How,
    },
    /// Run the experiment of all layers at once, in the documents' order and in ours.
    Integrated {
        #[command(flatten)]
        how: How,
    },
    /// Run the experiment of an overload: what keeps a server overloaded, and what lets it recover.
    Overload {
        #[command(flatten)]
        how: How,
    },
    /// List the built-in plans, or print one.
    Plans {
        /// The plan to print.
        name: Option<String>,
    },
    /// Serve a tool over HTTP on a port of this machine, until Ctrl-C.
    ServeTool {
        /// The port; 0 takes any that is free.
        #[arg(long, value_name = "N")]
        port: u16,
        /// Where the tool's faults come from.
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
        /// A plan whose tool to serve, instead of the unreliable tool of the source documents.
        #[arg(long, value_name = "PLAN.toml")]
        plan: Option<PathBuf>,
        /// Which tool of the plan, if it has several.
        #[arg(long, value_name = "NAME", requires = "plan")]
        tool: Option<String>,
    },
    /// Explain a command, or the format of plans: `lab help plan`.
    Help {
        /// `plan`, or a command.
        topic: Option<String>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct How {
    /// Requests per arm; by default as the plan has it, in real time at most 500.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=MOST_REQUESTS))]
    pub(crate) requests: Option<u64>,
    /// Where all randomness comes from; by default as the plan has it.
    // As in a plan, so that a seed that was reported fits into one.
    #[arg(long, value_name = "S", value_parser = value_parser!(u64).range(..=i64::MAX as u64))]
    pub(crate) seed: Option<u64>,
    /// How to report; by default as the name of the file ends, else a table.
    #[arg(long)]
    format: Option<Format>,
    /// The file to write to, instead of the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Let seconds be seconds, instead of jumping from timer to timer.
    #[arg(long)]
    real_time: bool,
    /// Call the tool over HTTP on a loopback port, in real time.
    #[arg(long)]
    over_http: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For a terminal.
    Table,
    /// For programs.
    Json,
    /// One page with drawings, for a browser.
    Html,
}

impl How {
    pub(crate) const fn world(&self) -> World {
        match (self.over_http, self.real_time) {
            (true, _) => World::OverHttp,
            (false, true) => World::RealTime,
            (false, false) => World::Virtual,
        }
    }

    pub(crate) fn format(&self) -> Format {
        let ending = self.out.as_ref().and_then(|out| out.extension()).and_then(|end| end.to_str());
        match (self.format, ending) {
            (Some(format), _) => format,
            (None, Some("json")) => Format::Json,
            (None, Some("html" | "htm")) => Format::Html,
            (None, _) => Format::Table,
        }
    }
}
