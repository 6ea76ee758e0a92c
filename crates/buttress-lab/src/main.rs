//! The lab: runs experiments on Buttress stacks over an unreliable tool, and draws the reports.

mod cli;
mod hold;
mod keep;
mod output;
mod progress;
mod signal;

use std::{error::Error, fmt, process::ExitCode, time::Duration};

use buttress_lab::{
    plan::{Plan, Refusal, ToolPlan},
    plans::{self, BuiltIn},
    report,
    run::{self, AT_A_TIME, Settings, Stop, World},
};
use buttress_sim::{Faults, Tool, http::Server};
use clap::{CommandFactory, Parser};

use self::{
    cli::{Cli, Command, Format, How},
    output::Output,
    progress::Bar,
};

fn main() -> ExitCode {
    match obey(Cli::parse().command) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{error}");
            // 2 as for a wrong command line: the plan, not the run, is at fault.
            ExitCode::from(if error.is::<Refusal>() || error.is::<Unknown>() { 2 } else { 1 })
        }
    }
}

fn obey(command: Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Run { plan, how } => experiment(&read(&plan)?, &how),
        Command::Redundant { how } => experiment(&built_in(plans::REDUNDANT)?, &how),
        Command::Quorum { how } => experiment(&built_in(plans::QUORUM)?, &how),
        Command::Fallback { how } => experiment(&built_in(plans::FALLBACK)?, &how),
        Command::Degrade { how } => experiment(&built_in(plans::DEGRADE)?, &how),
        Command::Failover { how } => experiment(&built_in(plans::FAILOVER)?, &how),
        Command::Integrated { how } => experiment(&built_in(plans::INTEGRATED)?, &how),
        Command::Overload { how } => experiment(&built_in(plans::OVERLOAD)?, &how),
        Command::Store { command } => keep::obey(command),
        Command::Drill { command } => hold::obey(command),
        Command::Plans { name: None } => list(),
        Command::Plans { name: Some(name) } => show(&name),
        Command::ServeTool { port, seed, plan, tool } => {
            let plan = match plan {
                Some(plan) => tool_of(&read(&plan)?, tool.as_deref())?,
                None => ToolPlan { faults: Faults::unreliable(), capacity: None },
            };
            serve(port, plan.build(seed))
        }
        Command::Help { topic } => help(&topic),
    }
}

/// A file, or else a built-in plan of that name.
fn read(plan: &std::path::Path) -> Result<Plan, Refusal> {
    match plan.to_str().and_then(plans::find).filter(|_| !plan.exists()) {
        Some(found) => built_in(found),
        None => Plan::read(plan).map_err(|refusal| {
            if plan.exists() {
                return refusal;
            }
            let known = plans::ALL.map(|plan| plan.name).join(", ");
            refusal.and(&format!("; it is no built-in plan either: there are {known}"))
        }),
    }
}

fn built_in(plan: BuiltIn) -> Result<Plan, Refusal> {
    Plan::parse(plan.name, plan.text)
}

/// How many requests an arm makes in real time, unless told.
const REAL_REQUESTS: u64 = 500;

fn experiment(plan: &Plan, how: &How) -> Result<ExitCode, Box<dyn Error>> {
    let planned = Settings::of(plan);
    let world = how.world();
    let requests = match (how.requests, world) {
        (Some(requests), _) => requests,
        (None, World::Virtual) => planned.requests,
        (None, _) => planned.requests.min(REAL_REQUESTS),
    };
    let settings = Settings { requests, seed: how.seed.unwrap_or(planned.seed), world };
    // Rather now than after an hour.
    let output = Output::open(how.out.clone())?;
    let stop = Stop::new();
    signal::stop_on_ctrl_c(&stop)?;
    if world != World::Virtual {
        let seconds = run::foretell(plan, settings)?.as_secs_f64();
        eprintln!(
            "{world}: {requests} requests per arm, {AT_A_TIME} at a time unless the plan says otherwise, \
             will take about {:?}; Ctrl-C ends it with what was measured by then",
            Duration::from_secs_f64(seconds.ceil()),
        );
    }
    let mut bar = Bar::new(plan.arms.len(), requests);
    let measured = run::run(plan, settings, &stop, &mut bar)?;
    drop(bar);
    let text = match how.format() {
        Format::Table => report::table(&measured),
        Format::Json => report::json(&measured)?,
        Format::Html => report::html(&measured),
    };
    output.write(&text)?;
    // Who waits for the report in a script must not take a part for the whole.
    Ok(if measured.interrupted { ExitCode::from(signal::INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// The tool of a plan.
fn tool_of(plan: &Plan, name: Option<&str>) -> Result<ToolPlan, Unknown> {
    let found = match (name, plan.tools.len()) {
        (Some(name), _) => plan.tools.get(name),
        (None, 1) => plan.tools.values().next(),
        (None, _) => None,
    };
    found.cloned().ok_or_else(|| Unknown::tool(plan, name))
}

fn serve(port: u16, tool: Tool) -> Result<ExitCode, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::on_loopback(tool.clone(), port).await.map_err(|error| {
            format!("port {port} of this machine: {error}; --port 0 takes any that is free")
        })?;
        let stop = Stop::new();
        signal::stop_on_ctrl_c(&stop)?;
        let at = server.addr()?;
        Output::Stdout.write(&format!(
            "listening on http://{at}\n\
             try: curl -X POST http://{at}/call -d '{{\"query\": \"user profile\"}}'\n"
        ))?;
        server.run_until(stop.requested()).await;
        let stats = tool.stats();
        eprintln!(
            "{} calls: {} answered, {} failed, {} cancelled",
            stats.launched,
            stats.answered,
            stats.failures(),
            stats.cancelled
        );
        Ok(ExitCode::SUCCESS)
    })
}

fn list() -> Result<ExitCode, Box<dyn Error>> {
    let mut text = String::new();
    for plan in plans::ALL {
        let description = report::wrapped(&built_in(plan)?.description, 90).join("\n             ");
        text += &format!("{:<12} {description}\n", plan.name);
    }
    text += "\n`lab plans NAME` prints one, `lab run NAME` runs it, `lab help plan` explains the format.\n";
    Output::Stdout.write(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn show(name: &str) -> Result<ExitCode, Box<dyn Error>> {
    let plan = plans::find(name).ok_or_else(|| Unknown::plan(name))?;
    Output::Stdout.write(plan.text)?;
    Ok(ExitCode::SUCCESS)
}

const PLAN_PAGE: &str = include_str!("../docs/plan.md");

fn help(topic: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let mut lab = Cli::command();
    lab.build();
    let text = match topic {
        [plan] if plan == "plan" => PLAN_PAGE.to_owned(),
        names => {
            let mut command = &mut lab;
            for name in names {
                command = command.find_subcommand_mut(name).ok_or_else(|| Unknown::topic(name))?;
            }
            command.render_long_help().to_string()
        }
    };
    Output::Stdout.write(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A name on the command line that stands for nothing.
#[derive(Debug)]
struct Unknown(String);

impl Unknown {
    fn plan(name: &str) -> Self {
        let known = plans::ALL.map(|plan| plan.name).join(", ");
        Self(format!("no built-in plan {name:?}: there are {known}"))
    }

    fn tool(plan: &Plan, name: Option<&str>) -> Self {
        let known = plan.tools.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        Self(match name {
            Some(name) => format!("no tool {name:?} in this plan: --tool takes one of {known}"),
            None => format!("which tool? --tool takes one of {known}"),
        })
    }

    fn topic(name: &str) -> Self {
        Self(format!("no help on {name:?}: there is help on plan and on every command"))
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unknown {}
