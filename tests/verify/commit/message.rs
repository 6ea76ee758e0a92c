//! What is sent between coordinators and participants.

use buttress_flow::transaction::{Decision, Vote};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    Prepare(usize),
    Tell(usize, Decision),
    Voted(usize, Vote),
    Acknowledged(usize, Decision),
}

impl Message {
    /// What is about one participant.
    fn about(member: usize) -> [Self; 7] {
        [
            Self::Prepare(member),
            Self::Tell(member, Decision::Commit),
            Self::Tell(member, Decision::Abort),
            Self::Voted(member, Vote::Yes),
            Self::Voted(member, Vote::No),
            Self::Acknowledged(member, Decision::Commit),
            Self::Acknowledged(member, Decision::Abort),
        ]
    }

    fn member(self) -> usize {
        match self {
            Self::Prepare(member)
            | Self::Tell(member, _)
            | Self::Voted(member, _)
            | Self::Acknowledged(member, _) => member,
        }
    }
}

/// A set of messages: a byte for each participant, since the checker compares millions of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Messages(u64);

impl Messages {
    pub(crate) fn add(&mut self, message: Message) {
        let member = message.member();
        let place = Message::about(member).iter().position(|other| *other == message);
        self.0 |= 1 << (8 * member + place.expect("a message is about its participant"));
    }

    pub(crate) fn of(self, participants: usize) -> impl Iterator<Item = Message> {
        let all = (0..participants).flat_map(|member| {
            Message::about(member)
                .into_iter()
                .enumerate()
                .map(move |(at, message)| (8 * member + at, message))
        });
        all.filter(move |(place, _)| self.0 >> place & 1 == 1).map(|(_, message)| message)
    }
}
