//! The world, what may happen in it, and what should hold.

use std::collections::BTreeSet;

use buttress_flow::transaction::{
    Ask, Decision, Outcome, Standing, Vote,
    protocol::{Effect, Event, Members, Protocol, State},
};

use super::{AGREEMENT, IN_THE_END, NOT_FORGOTTEN, Settings};

/// What a wrong implementation would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    CommitBeforeLog,
    VoteBeforeLog,
    EndAfterFirst,
    BlindPut,
    PresumeWithoutRecord,
    ReuseOfIds,
    ForgottenAborts,
}

impl Fault {
    /// Each with what it breaks.
    pub(crate) const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::CommitBeforeLog, "telling the decision before it is written", AGREEMENT),
        (Self::VoteBeforeLog, "voting before the vote is written", AGREEMENT),
        (Self::EndAfterFirst, "an end after the first acknowledgement", NOT_FORGOTTEN),
        (Self::BlindPut, "a decision that is written over another", AGREEMENT),
        (Self::PresumeWithoutRecord, "an abort presumed without a record", AGREEMENT),
        (Self::ReuseOfIds, "an id that is used again", IN_THE_END),
        (Self::ForgottenAborts, "an abort that a participant forgets", NOT_FORGOTTEN),
    ];

    pub(crate) fn breaks(self) -> &'static str {
        let row = Self::ALL.into_iter().find(|(fault, ..)| *fault == self);
        row.map(|(_, _, breaks)| breaks).expect("every fault is in the table")
    }
}

/// What participants do, as far as properties ask.
pub(crate) use buttress_flow::transaction::Decision as Claims;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    desks: [Desk; 2],
    log: Log,
    /// Writes of the dead that are still on their way.
    late: BTreeSet<(Effect, Members)>,
    participants: Vec<Participant>,
    /// Everything that was ever sent: it may arrive now, again, later or never.
    sent: Messages,
    crashes: u8,
    /// How often the client may still ask for the transaction: under the same id.
    asks: u8,
    /// What the client was told.
    told: Told,
    /// The first decision that was ever written.
    first: Option<Decision>,
    /// Who ended it: 0 or 1.
    ended_by: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Told {
    commit: bool,
    abort: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Desk {
    state: State,
    /// A write that was asked for, and is not answered.
    writing: Option<(Effect, Members)>,
    crashed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Log {
    opened: bool,
    decision: Option<Decision>,
    /// The end, and who did otherwise.
    ended: Option<Members>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Participant {
    disk: Standing,
    /// The same as on disk, unless there is a fault.
    memory: Standing,
}

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
struct Messages(u64);

impl Messages {
    fn add(&mut self, message: Message) {
        let member = message.member();
        let place = Message::about(member).iter().position(|other| *other == message);
        self.0 |= 1 << (8 * member + place.expect("a message is about its participant"));
    }

    fn of(self, participants: usize) -> impl Iterator<Item = Message> {
        let all = (0..participants).flat_map(|member| {
            Message::about(member)
                .into_iter()
                .enumerate()
                .map(move |(at, message)| (8 * member + at, message))
        });
        all.filter(move |(place, _)| self.0 >> place & 1 == 1).map(|(_, message)| message)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The client asks a coordinator.
    Run(usize),
    Recover(usize),
    /// The write of a coordinator is done and answered.
    Write(usize),
    /// That of a dead one is done.
    WriteLate(Effect, Members),
    /// A request arrives; `bool` says whether what is to be prepared is possible.
    Ask(Message, bool),
    /// An answer arrives at a coordinator.
    Answer(Message, usize),
    /// A coordinator has waited long enough for a vote.
    GiveUp(usize, usize),
    /// A participant writes what it has told already.
    Flush(usize),
    Crash(usize),
    CrashParticipant(usize),
    /// A participant aborts what it prepared on its own account.
    Alone(usize),
}

impl World {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            desks: [Desk { state: State::Idle, writing: None, crashed: false }; 2],
            log: Log::default(),
            late: BTreeSet::new(),
            participants: vec![Participant::default(); settings.participants],
            sent: Messages::default(),
            crashes: settings.crashes,
            asks: 2,
            told: Told::default(),
            first: None,
            ended_by: None,
        }
    }

    pub(crate) fn acts(&self, settings: &Settings, acts: &mut Vec<Act>) {
        for (place, desk) in self.desks.iter().enumerate() {
            if desk.state == State::Idle {
                if self.asks > 0 {
                    acts.push(Act::Run(place));
                }
                if self.log.opened && self.log.ended.is_none() {
                    acts.push(Act::Recover(place));
                }
            }
            if desk.writing.is_some() {
                acts.push(Act::Write(place));
            }
            if self.crashes > 0 && desk.state != State::Idle {
                acts.push(Act::Crash(place));
            }
            if matches!(desk.state, State::Preparing { .. }) {
                acts.extend((0..settings.participants).map(|member| Act::GiveUp(place, member)));
            }
        }
        acts.extend(self.late.iter().map(|(effect, contrary)| Act::WriteLate(*effect, *contrary)));
        for message in self.sent.of(settings.participants) {
            match message {
                Message::Prepare(_) => {
                    acts.extend([Act::Ask(message, true), Act::Ask(message, false)]);
                }
                Message::Tell(..) => acts.push(Act::Ask(message, true)),
                Message::Voted(..) | Message::Acknowledged(..) => {
                    acts.extend([Act::Answer(message, 0), Act::Answer(message, 1)]);
                }
            }
        }
        for (member, participant) in self.participants.iter().enumerate() {
            if participant.disk != participant.memory {
                acts.push(Act::Flush(member));
                if self.crashes > 0 {
                    acts.push(Act::CrashParticipant(member));
                }
            }
            if settings.heuristics && participant.disk == Standing::Prepared {
                acts.push(Act::Alone(member));
            }
        }
    }

    pub(crate) fn follow(&mut self, settings: &Settings, act: Act) {
        match act {
            Act::Run(place) => {
                self.asks -= 1;
                self.hear(settings, place, Event::Run);
            }
            Act::Recover(place) => self.recover(settings, place),
            Act::Write(place) => {
                let writing = self.desks[place].writing.take();
                if let Some((effect, contrary)) = writing {
                    let event = self.write(settings, effect, contrary, place);
                    self.hear(settings, place, event);
                }
            }
            Act::WriteLate(effect, contrary) => {
                self.late.remove(&(effect, contrary));
                self.write(settings, effect, contrary, 2);
            }
            Act::Ask(message, possible) => self.ask(settings, message, possible),
            Act::Answer(Message::Voted(member, vote), place) => {
                self.hear(settings, place, Event::Voted(member, vote));
            }
            Act::Answer(Message::Acknowledged(member, done), place) => {
                self.hear(settings, place, Event::Acknowledged(member, done));
            }
            Act::Answer(Message::Prepare(_) | Message::Tell(..), _) => {}
            Act::GiveUp(place, member) => {
                self.hear(settings, place, Event::Voted(member, Vote::No));
            }
            Act::Flush(member) => self.participants[member].disk = self.participants[member].memory,
            Act::Crash(place) => {
                self.crashes -= 1;
                let dead = Desk { state: State::Idle, writing: None, crashed: true };
                let before = std::mem::replace(&mut self.desks[place], dead);
                self.late.extend(before.writing);
            }
            Act::CrashParticipant(member) => {
                self.crashes -= 1;
                self.participants[member].memory = self.participants[member].disk;
            }
            Act::Alone(member) => {
                let aborted = Standing::Aborted;
                self.participants[member] = Participant { disk: aborted, memory: aborted };
            }
        }
    }

    fn recover(&mut self, settings: &Settings, place: usize) {
        if settings.fault == Some(Fault::PresumeWithoutRecord) && self.log.decision.is_none() {
            let decision = Decision::Abort;
            let none = Members::default();
            self.desks[place].state = State::Telling { decision, heard: none, contrary: none };
            self.tell(settings, decision);
        } else {
            self.hear(settings, place, Event::Recover);
        }
    }

    /// A coordinator hears of something and does what the table says.
    fn hear(&mut self, settings: &Settings, place: usize, event: Event) {
        let protocol = Protocol::new(settings.participants);
        let before = self.desks[place].state;
        let (mut state, mut effect) = protocol.step(before, event);
        if settings.fault == Some(Fault::EndAfterFirst)
            && let State::Telling { decision, contrary, .. } = state
            && let Event::Acknowledged(..) = event
        {
            (state, effect) = (State::Ending { decision, contrary }, Some(Effect::End));
        }
        self.desks[place].state = state;
        match state.outcome() {
            Outcome::InDoubt => {}
            Outcome::Committed | Outcome::Mixed(Decision::Commit) => self.told.commit = true,
            Outcome::Aborted | Outcome::Mixed(Decision::Abort) => self.told.abort = true,
        }
        let contrary = match state {
            State::Ending { contrary, .. } => contrary,
            _ => Members::default(),
        };
        match effect {
            None => {}
            Some(Effect::Prepare) => {
                (0..settings.participants)
                    .for_each(|member| self.sent.add(Message::Prepare(member)));
            }
            Some(Effect::Tell(decision)) => self.tell(settings, decision),
            Some(effect @ (Effect::Open | Effect::Log(_) | Effect::End)) => {
                if settings.fault == Some(Fault::CommitBeforeLog)
                    && let Effect::Log(decision) = effect
                {
                    self.tell(settings, decision);
                }
                self.desks[place].writing = Some((effect, contrary));
            }
        }
    }

    fn tell(&mut self, settings: &Settings, decision: Decision) {
        (0..settings.participants)
            .for_each(|member| self.sent.add(Message::Tell(member, decision)));
    }

    /// The log as the store keeps it: an id is taken once, and the first decision counts.
    fn write(
        &mut self,
        settings: &Settings,
        effect: Effect,
        contrary: Members,
        by: usize,
    ) -> Event {
        let reuse = settings.fault == Some(Fault::ReuseOfIds);
        match effect {
            Effect::Open => {
                let fresh = !self.log.opened || reuse && self.log.ended.is_some();
                if fresh {
                    self.log = Log { opened: true, ..Log::default() };
                }
                Event::Opened { fresh }
            }
            Effect::Log(decision) => {
                if self.log.decision.is_none() || settings.fault == Some(Fault::BlindPut) {
                    self.log.decision = Some(decision);
                }
                let counts = self.log.decision.unwrap_or(decision);
                self.first.get_or_insert(counts);
                Event::Decided(counts)
            }
            Effect::End => {
                if self.log.ended.is_none() {
                    self.log.ended = Some(contrary);
                    self.ended_by = Some(by);
                }
                Event::Closed
            }
            Effect::Prepare | Effect::Tell(_) => unreachable!("not a write"),
        }
    }

    /// A participant is asked: it writes how it stands, then says so.
    fn ask(&mut self, settings: &Settings, message: Message, possible: bool) {
        let (member, ask) = match message {
            Message::Prepare(member) => (member, Ask::Prepare(possible)),
            Message::Tell(member, Decision::Commit) => (member, Ask::Commit),
            Message::Tell(member, Decision::Abort) => (member, Ask::Abort),
            Message::Voted(..) | Message::Acknowledged(..) => return,
        };
        let participant = &mut self.participants[member];
        let before = participant.memory;
        participant.memory = before.after(ask);
        let told = participant.memory;
        if settings.fault == Some(Fault::ForgottenAborts)
            && (before, told) == (Standing::Unknown, Standing::Aborted)
        {
            participant.memory = before;
        }
        let early = settings.fault == Some(Fault::VoteBeforeLog);
        if !(early && matches!(ask, Ask::Prepare(_))) {
            participant.disk = participant.memory;
        }
        match (ask, told.settled()) {
            (Ask::Prepare(_), _) => {
                self.sent.add(Message::Voted(member, told.vote()));
            }
            (_, Some(done)) => {
                self.sent.add(Message::Acknowledged(member, done));
            }
            (_, None) => {}
        }
    }

    fn standings(&self) -> impl Iterator<Item = Standing> {
        self.participants.iter().map(|participant| participant.disk)
    }

    pub(crate) fn agreed(&self) -> bool {
        !(self.standings().any(|standing| standing == Standing::Committed)
            && self.standings().any(|standing| standing == Standing::Aborted))
    }

    pub(crate) fn decision_stands(&self) -> bool {
        self.first.is_none() || self.log.decision == self.first
    }

    pub(crate) fn told_what_is_written(&self) -> bool {
        (!self.told.commit || self.first == Some(Decision::Commit))
            && (!self.told.abort || self.first == Some(Decision::Abort))
            && self.standings().all(|standing| {
                standing != Standing::Committed || self.first == Some(Decision::Commit)
            })
    }

    pub(crate) fn ended_when_settled(&self) -> bool {
        let settled = |standing| matches!(standing, Standing::Committed | Standing::Aborted);
        self.log.ended.is_none() || self.standings().all(settled)
    }

    pub(crate) fn contrary_are_known(&self) -> bool {
        let Some((contrary, decision)) = self.log.ended.zip(self.log.decision) else { return true };
        let mut members = self.standings().enumerate();
        members.all(|(member, standing)| {
            contrary.has(member) == (standing.settled() != Some(decision))
        })
    }

    /// Whether there is something to do without a look at the messages.
    pub(crate) fn busy(&self) -> bool {
        let open = self.log.opened && self.log.ended.is_none();
        !self.late.is_empty()
            || self.desks.iter().any(|desk| {
                desk.writing.is_some()
                    || desk.state == State::Idle && (self.asks > 0 || open)
                    || matches!(desk.state, State::Preparing { .. })
            })
    }

    /// Nothing is left to do: it is ended, and everybody has done what was decided.
    pub(crate) fn settled(&self, heuristics: bool) -> bool {
        let done = |decision| {
            self.standings().all(|standing| standing.settled() == Some(decision) || heuristics)
        };
        !self.log.opened || self.log.ended.is_some() && self.log.decision.is_some_and(done)
    }

    pub(crate) fn everywhere(&self, done: Claims) -> bool {
        self.log.ended.is_some()
            && self.standings().all(|standing| standing.settled() == Some(done))
    }

    pub(crate) fn race(&self) -> bool {
        self.desks.iter().all(|desk| desk.state == State::Deciding)
    }

    pub(crate) fn ended_by_another(&self) -> bool {
        self.desks[0].crashed && self.ended_by == Some(1) && self.everywhere(Decision::Commit)
    }

    pub(crate) fn mixed(&self) -> bool {
        self.log.ended.is_some_and(|contrary| !contrary.is_empty())
    }
}
