//! The world, and what may happen in it.

use std::collections::BTreeSet;

use buttress_flow::transaction::{
    Ask, Decision, Outcome, Standing, Vote,
    protocol::{Effect, Event, Members, Protocol, State},
};

use super::{
    Fault, Settings,
    message::{Message, Messages},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(super) desks: [Desk; 2],
    pub(super) log: Log,
    /// Writes of the dead that are still on their way.
    pub(super) late: BTreeSet<(Effect, Members)>,
    pub(super) participants: Vec<Participant>,
    /// Everything that was ever sent: it may arrive now, again, later or never.
    sent: Messages,
    crashes: u8,
    /// How often the client may still ask for the transaction: under the same id.
    pub(super) asks: u8,
    /// What the client was told.
    pub(super) told: Told,
    /// The first decision that was ever written.
    pub(super) first: Option<Decision>,
    /// Who ended it: 0 or 1.
    pub(super) ended_by: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Told {
    pub(super) commit: bool,
    pub(super) abort: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Desk {
    pub(super) state: State,
    /// A write that was asked for, and is not answered.
    pub(super) writing: Option<(Effect, Members)>,
    pub(super) crashed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Log {
    pub(super) opened: bool,
    pub(super) decision: Option<Decision>,
    /// The end, and who did otherwise.
    pub(super) ended: Option<Members>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Participant {
    pub(super) disk: Standing,
    /// The same as on disk, unless there is a fault.
    memory: Standing,
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
}
