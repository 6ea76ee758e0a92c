//! A quorum, as a plan writes it.

use std::time::Duration;

use super::{
    Tools,
    fields::{Field, Fields},
    layer::{LONGEST, tools_of},
    refusal::Fault,
};

/// How many may be asked.
const MOST_MEMBERS: u32 = 100;

/// The settings of a quorum.
#[derive(Clone, Debug, PartialEq)]
pub struct Quorum {
    /// Who is asked.
    pub members: Members,
    /// How many must agree.
    pub needed: Option<u32>,
    /// When they are asked.
    pub launch: Launch,
    /// Which answers are the same.
    pub agree: Agree,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Members {
    /// What is inside, so many times.
    Replicas(u32),
    /// What is inside, and these tools.
    With(Vec<String>),
}

/// When the members of a quorum are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Launch {
    /// All at once.
    #[default]
    Eager,
    /// No more than are needed, and another one when one fails or dissents, or after a time.
    Lazy(Option<Duration>),
}

/// Which answers a quorum takes for the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agree {
    /// Right ones, and wrong ones: the worst case, in which all are wrong in the same way.
    #[default]
    Answer,
    /// Right ones; each wrong answer is wrong in its own way.
    Right,
    /// Any two: the first answer is returned.
    Any,
}

pub(super) fn quorum(field: Field<'_>, tools: Tools<'_>) -> Result<Quorum, Fault> {
    let fields = field.fields("quorum", &["replicas", "tools", "needed", "lazy", "agree"])?;
    let members = match (fields.optional("replicas"), fields.optional("tools")) {
        (Some(replicas), None) => Members::Replicas(replicas.small(1, MOST_MEMBERS)?),
        (None, Some(listed)) => Members::With(tools_of(listed, MOST_MEMBERS as usize - 1, tools)?),
        (given, _) => {
            let span = given.map_or(field.span(), |given| given.span());
            return Err(Fault::new(span, "a quorum needs either `replicas` or `tools`"));
        }
    };
    let agree = fields.optional("agree").map(|field| {
        field.choice(&[("answer", Agree::Answer), ("right", Agree::Right), ("any", Agree::Any)])
    });
    Ok(Quorum {
        needed: needed(&fields, &members)?,
        members,
        launch: fields.optional("lazy").map(launch).transpose()?.unwrap_or_default(),
        agree: agree.transpose()?.unwrap_or_default(),
    })
}

fn needed(fields: &Fields<'_>, members: &Members) -> Result<Option<u32>, Fault> {
    let Some(field) = fields.optional("needed") else { return Ok(None) };
    let most = match members {
        Members::Replicas(replicas) => *replicas,
        Members::With(others) => u32::try_from(others.len() + 1).unwrap_or(MOST_MEMBERS),
    };
    field.small(1, most).map(Some)
}

fn launch(field: Field<'_>) -> Result<Launch, Fault> {
    match field.truth() {
        Ok(true) => Ok(Launch::Lazy(None)),
        Ok(false) => Ok(Launch::Eager),
        Err(_) => match field.seconds(0.001, LONGEST) {
            Ok(delay) => Ok(Launch::Lazy(Some(delay))),
            Err(_) => {
                let what = format!("true, or a number of seconds from 0.001 to {LONGEST}");
                Err(field.must_be(&what))
            }
        },
    }
}
