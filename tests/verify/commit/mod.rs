//! Two-phase commit in a small world: two coordinators, one log, participants, a network.
//!
//! The coordinators run the table of `buttress_flow::transaction::protocol`, the participants that of
//! `Standing::after`. What is between them is the model: messages that were sent once may arrive at any time,
//! often, or never; a write to the log is done, and answered, some time after it was asked for, or done when
//! the one who asked is dead. There are no leases here: they keep coordinators from disturbing each
//! other, and nothing that must hold rests on them.

mod claims;
mod fault;
mod message;
mod world;

use std::time::Duration;

use buttress_flow::transaction::Decision;
use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

pub(crate) use self::fault::Fault;
use self::world::{Act, World};

const AGREEMENT: &str = "what is done at one participant is done at all";
const NOT_FORGOTTEN: &str = "nothing is forgotten before all have acknowledged";
const IN_THE_END: &str = "in the end all have done what was decided";

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) participants: usize,
    pub(crate) crashes: u8,
    /// Whether participants may abort on their own account.
    pub(crate) heuristics: bool,
    pub(crate) fault: Option<Fault>,
}

/// What a check came to.
pub(crate) struct Found {
    pub(crate) states: usize,
    /// What does not hold, each with the way to it.
    pub(crate) broken: Vec<(&'static str, String)>,
    /// What should be possible, and is not.
    pub(crate) never: Vec<&'static str>,
}

pub(crate) fn check(settings: Settings) -> Found {
    let finish = match settings.fault {
        Some(fault) => HasDiscoveries::AllOf([fault.breaks()].into()),
        None => HasDiscoveries::All,
    };
    let checker = settings
        .checker()
        .finish_when(finish)
        .threads(std::thread::available_parallelism().map_or(1, usize::from))
        .timeout(Duration::from_secs(3_600))
        .spawn_bfs()
        .join();
    assert!(checker.is_done(), "the check was not completed");
    let discoveries = checker.discoveries();
    let mut found =
        Found { states: checker.unique_state_count(), broken: Vec::new(), never: Vec::new() };
    for property in settings.properties() {
        match (property.expectation, discoveries.get(property.name)) {
            (Expectation::Sometimes, None) if settings.fault.is_none() => {
                found.never.push(property.name);
            }
            (Expectation::Always, Some(path)) => {
                let acts = path.clone().into_actions();
                found.broken.push((property.name, format!("{acts:?}")));
            }
            _ => {}
        }
    }
    found
}

impl Model for Settings {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        world.acts(self, acts);
    }

    fn next_state(&self, world: &World, act: Act) -> Option<World> {
        let mut next = world.clone();
        next.follow(self, act);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(AGREEMENT, |model: &Self, world: &World| {
                model.heuristics || world.agreed()
            }),
            Property::always(
                "the first decision that is written stays",
                |_: &Self, world: &World| world.decision_stands(),
            ),
            Property::always("nobody is told what is not written", |_: &Self, world: &World| {
                world.told_what_is_written()
            }),
            Property::always(NOT_FORGOTTEN, |_: &Self, world: &World| world.ended_when_settled()),
            Property::always("who did otherwise is told of", |_: &Self, world: &World| {
                world.contrary_are_known()
            }),
            // The world moves on only a finite number of times, so every course ends in a state
            // where nothing is left to happen. What holds in all of them comes about in the end.
            Property::always(IN_THE_END, |model: &Self, world: &World| {
                world.busy()
                    || world.settled(model.heuristics)
                    || !model.next_states(world).is_empty()
            }),
            Property::sometimes("all commit", |_: &Self, world: &World| {
                world.everywhere(Decision::Commit)
            }),
            Property::sometimes("all abort", |_: &Self, world: &World| {
                world.everywhere(Decision::Abort)
            }),
            Property::sometimes("two decide at a time", |_: &Self, world: &World| world.race()),
        ];
        if self.crashes > 0 {
            properties.push(Property::sometimes(
                "another ends what was committed",
                |_: &Self, world: &World| world.ended_by_another(),
            ));
        }
        if self.heuristics {
            properties.push(Property::sometimes("mixed", |_: &Self, world: &World| world.mixed()));
        }
        properties
    }
}
