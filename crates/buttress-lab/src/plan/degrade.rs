//! An ensemble that degrades, as a plan writes it.

use std::time::Duration;

use super::{
    Tools,
    fields::Field,
    layer::{seconds, tools_of},
    refusal::Fault,
};

/// How many members there may be of either sort.
const MOST_MEMBERS: usize = 50;

/// The settings of an ensemble. What is inside of it is its first required member.
#[derive(Clone, Debug, PartialEq)]
pub struct Degrade {
    /// Further members of which only a few may fail.
    pub required: Vec<String>,
    /// Members that may all fail.
    pub optional: Vec<String>,
    /// The share of the required members that may fail.
    pub tolerate: Option<f64>,
    /// How long members are waited for.
    pub patience: Option<Duration>,
}

pub(super) fn degrade(field: Field<'_>, tools: Tools<'_>) -> Result<Degrade, Fault> {
    let fields = field.fields("degrade", &["required", "optional", "tolerate", "patience"])?;
    let members = |key| match fields.optional(key) {
        Some(listed) => tools_of(listed, MOST_MEMBERS, tools),
        None => Ok(Vec::new()),
    };
    let (required, optional) = (members("required")?, members("optional")?);
    if required.is_empty() && optional.is_empty() {
        let message = "an ensemble needs other members: add `required` or `optional`";
        return Err(field.fault(message));
    }
    Ok(Degrade {
        required,
        optional,
        tolerate: fields.optional("tolerate").map(|field| field.number(0.0, 1.0)).transpose()?,
        patience: seconds(&fields, "patience")?,
    })
}
