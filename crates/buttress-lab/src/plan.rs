//! What an experiment is: tools, and arms that call them through stacks.
//!
//! A plan is read from TOML; the format is described in `docs/plan.md`. Whatever is not
//! understood is refused with its place and with what would be right.

mod breaker;
mod degrade;
mod failover;
mod fallback;
mod fields;
mod hedge;
mod layer;
mod limit;
mod quorum;
mod refusal;
mod retry;
mod rule;
mod tool;

use std::{collections::BTreeMap, fs::File, io::Read, ops::Range, path::Path, time::Duration};

use toml::de::DeTable;

pub use self::{
    breaker::Breaker,
    degrade::Degrade,
    failover::{Failover, Mode},
    fallback::Fallback,
    hedge::{Delay, Hedge},
    layer::{BudgetPlan, LayerPlan},
    limit::{Limit, Most},
    quorum::{Agree, Launch, Members, Quorum},
    refusal::Refusal,
    retry::Retry,
    tool::ToolPlan,
};
use self::{
    fields::{Field, Fields},
    refusal::{Fault, position, shorten, unknown},
};

/// How large a plan may be, in bytes.
const LARGEST: u64 = 1 << 20;
/// How many requests an arm may make.
pub const MOST_REQUESTS: u64 = 10_000_000;
/// How long an arm may make requests, in seconds: ten days.
const LONGEST_ARM: f64 = 864_000.0;
/// How many tools and arms a plan may have.
const MOST_TABLES: usize = 100;

/// An experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// What it shows.
    pub description: String,
    /// Requests per arm.
    pub requests: u64,
    /// For how long an arm makes requests, if it does not make them all before.
    pub duration: Option<Duration>,
    /// Where all randomness comes from.
    pub seed: u64,
    /// From when on requests are measured apart, too.
    pub after: Option<Duration>,
    /// How long the stretches of time are for which it is told what happened when.
    pub series: Option<Duration>,
    /// How long a request is waited for before it is given up.
    pub patience: Duration,
    /// The tools by name.
    pub tools: BTreeMap<String, ToolPlan>,
    /// The arms in order.
    pub arms: Vec<Arm>,
}

/// One way of calling a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// What it is called.
    pub name: String,
    /// The tool that it calls.
    pub tool: String,
    /// When requests are made.
    pub load: Load,
    /// The layers around the tool, outermost first.
    pub stack: Vec<LayerPlan>,
}

impl Arm {
    /// The tools that it calls, its own first, each once.
    pub fn tools(&self) -> Vec<&str> {
        let mut tools = vec![self.tool.as_str()];
        for tool in self.stack.iter().flat_map(LayerPlan::tools) {
            if !tools.contains(&tool) {
                tools.push(tool);
            }
        }
        tools
    }
}

/// When requests are made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Load {
    /// One after another, each without regard to the others.
    #[default]
    Alone,
    /// Always so many at a time.
    Concurrency(usize),
    /// At their times, whether or not earlier ones are answered.
    Rate {
        /// Requests per second.
        per_second: f64,
        /// How they are spaced.
        arrivals: Arrivals,
    },
}

/// How requests of a rate are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// Independently of each other, as from many users.
    #[default]
    Poisson,
    /// Evenly.
    Fixed,
}

impl Plan {
    /// Reads a plan from a file.
    ///
    /// # Errors
    /// Says why the file cannot be read, or what in it is wrong and where.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let file = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|open| open.take(LARGEST + 1).read_to_end(&mut bytes))
            .map_err(|error| Refusal::whole(&file, format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > LARGEST {
            let message = format!("a plan may have at most {LARGEST} bytes, this file has more");
            return Err(Refusal::whole(&file, message));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Self::parse(&file, &text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                Err(Refusal::whole(&file, format!("not UTF-8 text from byte {at} on")))
            }
        }
    }

    /// Reads a plan from text; `file` is what refusals call it.
    ///
    /// # Errors
    /// Says what is wrong and where.
    pub fn parse(file: &str, text: &str) -> Result<Self, Refusal> {
        read_plan(text).map_err(|fault| Refusal::within(file, text, fault))
    }
}

fn read_plan(text: &str) -> Result<Plan, Fault> {
    let document = DeTable::parse(text)?;
    let known = [
        "name",
        "description",
        "requests",
        "duration",
        "seed",
        "after",
        "series",
        "patience",
        "load",
        "tools",
        "arms",
    ];
    let fields = Fields::new("the plan", 0..0, document.get_ref(), &known)?;
    let name = fields.required("name", "\"my experiment\"")?.text(80)?.to_owned();
    let description = match fields.optional("description") {
        Some(field) => field.text(2_000)?.to_owned(),
        None => String::new(),
    };
    let requests = match fields.optional("requests") {
        Some(field) => field.count(1, MOST_REQUESTS)?,
        None => 100_000,
    };
    let seed = match fields.optional("seed") {
        // TOML has no larger whole numbers.
        Some(field) => field.count(0, i64::MAX as u64)?,
        None => 1,
    };
    let patience = match fields.optional("patience") {
        Some(field) => field.seconds(0.001, 86_400.0)?,
        None => Duration::from_secs(600),
    };
    let seconds =
        |key, low| fields.optional(key).map(|field| field.seconds(low, LONGEST_ARM)).transpose();
    let (duration, series) = (seconds("duration", 0.001)?, seconds("series", 0.001)?);
    let after = seconds("after", 0.0)?;
    if let (Some(field), Some(after), Some(duration)) = (fields.optional("after"), after, duration)
        && after >= duration
    {
        return Err(
            field.fault("\"after\" must be less than \"duration\": nothing is measured then")
        );
    }
    let load = match fields.optional("load") {
        Some(field) => load(field)?,
        None => Load::default(),
    };
    let tools = tools(&fields)?;
    let arms = arms(&fields, text, &tools, load)?;
    Ok(Plan { name, description, requests, duration, seed, after, series, patience, tools, arms })
}

fn load(field: Field<'_>) -> Result<Load, Fault> {
    let fields = field.fields("load", &["rate", "arrivals", "concurrency"])?;
    match (fields.optional("rate"), fields.optional("concurrency")) {
        (Some(rate), None) => {
            let arrivals = match fields.optional("arrivals") {
                Some(field) => {
                    field.choice(&[("poisson", Arrivals::Poisson), ("fixed", Arrivals::Fixed)])?
                }
                None => Arrivals::default(),
            };
            Ok(Load::Rate { per_second: rate.number(0.001, 100_000.0)?, arrivals })
        }
        (None, Some(concurrency)) => match fields.optional("arrivals") {
            None => Ok(Load::Concurrency(concurrency.small(1, 100_000)? as usize)),
            Some(arrivals) => Err(arrivals.fault("\"arrivals\" goes with `rate` only")),
        },
        _ => Err(field.must_be("either `{ rate = per second }` or `{ concurrency = n }`")),
    }
}

fn tools(fields: &Fields<'_>) -> Result<BTreeMap<String, ToolPlan>, Fault> {
    let field = fields.required("tools", "{ tool = {} }")?;
    let tables = field.table().filter(|tools| !tools.is_empty() && tools.len() <= MOST_TABLES);
    let Some(tables) = tables else {
        return Err(field.must_be(&format!(
            "1 to {MOST_TABLES} tables, each under its name as in `[tools.search]`"
        )));
    };
    let mut tools = BTreeMap::new();
    for (name, value) in tables {
        if !is_printable(name.get_ref()) {
            let message = "the name of a tool must have 1 to 60 printable characters";
            return Err(Fault::new(name.span(), message));
        }
        let field = Field { key: name.get_ref(), value };
        tools.insert(name.get_ref().to_string(), tool::tool(field)?);
    }
    Ok(tools)
}

fn is_printable(name: &str) -> bool {
    let length = name.chars().count();
    (1..=60).contains(&length) && !name.trim().is_empty() && !name.chars().any(char::is_control)
}

fn arms(
    fields: &Fields<'_>,
    text: &str,
    tools: Tools<'_>,
    load_of_plan: Load,
) -> Result<Vec<Arm>, Fault> {
    let field = fields.required("arms", "[{ name = \"bare\", tool = \"..\" }]")?;
    let items = field.items(MOST_TABLES)?;
    if items.is_empty() {
        return Err(field.must_be("at least one `[[arms]]`"));
    }
    let mut arms: Vec<(Arm, Range<usize>)> = Vec::new();
    for item in items {
        let fields = item.fields("an arm", &["name", "tool", "load", "stack"])?;
        let named = fields.required("name", "\"what it does\"")?;
        let name = named.text(60)?;
        if let Some((_, first)) = arms.iter().find(|(arm, _)| arm.name == name) {
            let (line, ..) = position(text, first.start);
            let message =
                format!("a second arm named {}: the first is in line {line}", shorten(name));
            return Err(named.fault(message));
        }
        let tool = match fields.optional("tool") {
            Some(field) => known_tool(field, tools)?,
            // With a single tool there is nothing to choose.
            None if tools.len() == 1 => tools.keys().next().cloned().unwrap_or_default(),
            None => return Err(missing_tool(&fields, tools)),
        };
        let load = match fields.optional("load") {
            Some(field) => load(field)?,
            None => load_of_plan,
        };
        let stack = match fields.optional("stack") {
            Some(field) => layer::stack(field, tools)?,
            None => Vec::new(),
        };
        arms.push((Arm { name: name.to_owned(), tool, load, stack }, named.span()));
    }
    Ok(arms.into_iter().map(|(arm, _)| arm).collect())
}

/// The tools of a plan by name.
type Tools<'a> = &'a BTreeMap<String, ToolPlan>;

fn known_tool(field: Field<'_>, tools: Tools<'_>) -> Result<String, Fault> {
    let found = field.text(60)?;
    if tools.contains_key(found) {
        return Ok(found.to_owned());
    }
    let names: Vec<&str> = tools.keys().map(String::as_str).collect();
    Err(field.fault(unknown("tool", "tools", found, &names)))
}

fn missing_tool(fields: &Fields<'_>, tools: Tools<'_>) -> Fault {
    let names: Vec<&str> = tools.keys().map(String::as_str).collect();
    let message = format!("missing key \"tool\" in an arm: the tools are {}", names.join(", "));
    Fault::new(fields.span(), message)
}
