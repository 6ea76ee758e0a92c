//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use buttress_lab::{plan::MOST_REQUESTS, run::World, store::At};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, value_parser};

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
    /// Look into a store of checkpoints, or tidy it by hand.
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Hold a drill.
    Drill {
        #[command(subcommand)]
        command: DrillCommand,
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
        /// `plan`, or a command, and one of its own: `lab help store resolve`.
        topic: Vec<String>,
    },
}

/// PATH is a file, or the URL of a PostgreSQL server; a WORKFLOW is named NAMESPACE/WORKFLOW.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// List the workflows.
    Ls {
        #[command(flatten)]
        kept: Kept,
        /// Only those of this namespace.
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Print the newest intact version of a workflow, or the one that is asked for.
    Show {
        #[command(flatten)]
        kept: Kept,
        /// The workflow.
        workflow: String,
        /// The version.
        version: Option<u64>,
    },
    /// List the versions of a workflow, oldest first.
    History {
        #[command(flatten)]
        kept: Kept,
        /// The workflow.
        workflow: String,
    },
    /// Look through all records; exits with 1 if one is damaged.
    Verify {
        #[command(flatten)]
        kept: Kept,
        /// Only this workflow.
        workflow: Option<String>,
    },
    /// Write down what became of a step in doubt, or print the idempotency key by which to find that out.
    ///
    /// Without --landed and --absent it prints the key, and writes nothing. With one of them,
    /// what you say counts for good: whoever takes the workflow up finds the step done, or not begun. Nothing is written if
    /// somebody holds the workflow, or if the step has an outcome. Where outcomes are not written as JSON, settle
    /// the step by a probe instead.
    #[command(group(ArgGroup::new("word")))]
    Resolve {
        #[command(flatten)]
        kept: Kept,
        /// The workflow.
        workflow: String,
        /// The step, as `lab store history` prints it.
        step: String,
        /// It was done: a file with the answer as your program records it, in JSON; `-` is the standard input.
        #[arg(long, value_name = "FILE", group = "word")]
        landed: Option<PathBuf>,
        /// It was not done: it will be, as if it had never been begun.
        #[arg(long, group = "word")]
        absent: bool,
        /// The schema version of the answer; by default that of the workflow's other outcomes.
        #[arg(long, value_name = "N", requires = "landed")]
        schema: Option<u32>,
        /// The workflow in which the step was begun, if this one is a copy of it.
        #[arg(long, value_name = "WORKFLOW", requires = "landed")]
        begun_in: Option<String>,
    },
    /// Copy a workflow, as it was at a version, to a new one. What was in doubt is not begun in the copy.
    Fork {
        #[command(flatten)]
        kept: Kept,
        /// The workflow.
        workflow: String,
        /// The version.
        version: u64,
        /// The name of the copy.
        to: String,
    },
    /// Remove old workflows; those with a step in doubt stay.
    Prune {
        #[command(flatten)]
        kept: Kept,
        /// Only those of this namespace.
        #[arg(long)]
        namespace: Option<String>,
        /// Remove ended and deleted workflows that were not written for so many days.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        ended: u64,
        /// Remove workflows that never ended and were not written for so many days; by default they stay.
        #[arg(long, value_name = "DAYS")]
        open: Option<u64>,
    },
    /// Write down what is intact, one JSON object a line, even of a file that cannot be opened.
    Export {
        #[command(flatten)]
        kept: Kept,
        /// The file to write to, instead of the standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// The store, and how to show it.
#[derive(Args, Debug)]
pub(crate) struct Kept {
    /// A file, or the URL of a PostgreSQL server.
    #[arg(value_name = "PATH")]
    pub(crate) path: At,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DrillCommand {
    /// Kill processes that do steps with effects, and see whether anything is lost or done twice.
    ///
    /// On both stores: in a file of its own, and on the PostgreSQL server that BUTTRESS_POSTGRES is the URL of
    /// (in the schema `buttress_drill`); `scripts/postgres run` makes one for the time being. Exits with 1 if a
    /// promise was broken, and with 130 if it was ended by Ctrl-C: then with the table so far.
    Crash {
        /// How many processes to kill.
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u64).range(1..=1_000_000))]
        kills: u64,
        /// Where all that is random comes from.
        #[arg(long, value_name = "S", default_value_t = 1)]
        seed: u64,
        /// The stores.
        #[arg(long, value_enum, default_value_t = Engines::Both)]
        store: Engines,
        /// Kill the PostgreSQL server, too: one that is made for the drill, whatever BUTTRESS_POSTGRES says.
        #[arg(long)]
        kill_server: bool,
        /// How to report.
        #[arg(long, value_enum, default_value_t = DrillFormat::Table)]
        format: DrillFormat,
    },
    /// What a drill runs and kills.
    #[command(hide = true)]
    Child {
        /// The file; by default the server that BUTTRESS_POSTGRES is the URL of.
        #[arg(long)]
        file: Option<PathBuf>,
        #[arg(long)]
        tool: SocketAddr,
        #[arg(long)]
        batch: String,
        #[arg(long)]
        die_at: Option<String>,
        #[arg(long, default_value_t = 1)]
        nth: u32,
    },
}

/// Which stores to drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engines {
    /// The one in a file.
    Redb,
    /// The one on a PostgreSQL server.
    Postgres,
    /// Both.
    Both,
}

/// How to report a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DrillFormat {
    /// For a terminal.
    Table,
    /// For programs.
    Json,
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
