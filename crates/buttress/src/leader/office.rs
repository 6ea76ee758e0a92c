//! What the layer, the handle and the campaign share.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::OwnedNotified, watch},
    time::Instant,
};

use super::FencingToken;
use crate::{
    Event, Fault, Rejection, Why,
    event::Voice,
    store::{Journal, Keeper, Lease, StoreError, Tenure, WorkflowId},
};

/// What an office is made of.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) journal: Journal,
    pub(super) id: WorkflowId,
    /// A tenth of the lease's time unless they were set.
    pub(super) margin: Option<Duration>,
    pub(super) poll: Option<Duration>,
    pub(super) voice: Voice,
}

impl Settings {
    pub(super) fn ttl(&self) -> Duration {
        self.journal.lease_time()
    }

    pub(super) fn margin(&self) -> Duration {
        self.margin.unwrap_or_else(|| self.ttl() / 10)
    }

    pub(super) fn poll(&self) -> Duration {
        // Who looks without a pause asks the store all the time.
        self.poll.unwrap_or_else(|| self.ttl() / 10).max(Duration::from_millis(1))
    }
}

pub(super) struct Office {
    pub(super) settings: Settings,
    seat: Mutex<Seat>,
    /// The epoch under which this process leads.
    epoch: watch::Sender<Option<u64>>,
    deposed: Arc<Notify>,
    pub(super) resigning: Notify,
}

/// Who has the office.
#[derive(Default)]
struct Seat {
    ours: Option<(Tenure, Lease)>,
    /// The last other holder that was seen, and when its lease would end.
    rival: Option<(Arc<str>, Instant)>,
    /// The epoch that is to be given back.
    resigned: Option<u64>,
    trouble: Option<StoreError>,
}

impl Seat {
    fn lease(&self, now: Instant) -> Option<&Lease> {
        let (tenure, lease) = self.ours.as_ref()?;
        tenure.holds(now).then_some(lease)
    }
}

impl Office {
    pub(super) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            seat: Mutex::default(),
            epoch: watch::Sender::new(None),
            deposed: Arc::default(),
            resigning: Notify::new(),
        })
    }

    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call in, or says when it may be worth to come back.
    #[inline]
    pub(super) fn admit(&self) -> Result<FencingToken, Option<Duration>> {
        let now = Instant::now();
        let seat = self.seat();
        match &seat.ours {
            Some((tenure, _)) if tenure.holds(now) => Ok(FencingToken::new(tenure.epoch())),
            _ => {
                let until = seat.rival.as_ref().map(|(_, until)| until.duration_since(now));
                Err(until.filter(|left| !left.is_zero()))
            }
        }
    }

    #[inline]
    pub(super) fn leads(&self) -> bool {
        self.admit().is_ok()
    }

    #[cold]
    pub(super) fn reject(&self, retry_after: Option<Duration>) -> Rejection {
        self.settings.voice.tell(Event::Rejected { retry_after });
        Rejection::not_leader(self.settings.voice.name(), retry_after)
    }

    pub(super) fn lease(&self) -> Option<Lease> {
        self.seat().lease(Instant::now()).cloned()
    }

    pub(super) fn epoch(&self) -> Option<u64> {
        self.seat().lease(Instant::now()).map(|lease| lease.epoch)
    }

    /// Who has the office, as far as is known.
    pub(super) fn holder(&self) -> Option<Arc<str>> {
        let now = Instant::now();
        let seat = self.seat();
        let rival =
            || seat.rival.as_ref().filter(|(_, until)| now < *until).map(|(rival, _)| rival);
        seat.lease(now).map(|lease| &lease.owner).or_else(rival).cloned()
    }

    pub(super) fn trouble(&self) -> Option<StoreError> {
        self.seat().trouble.clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<u64>> {
        self.epoch.subscribe()
    }

    /// A future that is ready when this process leads no more.
    pub(super) fn deposed(&self) -> OwnedNotified {
        self.deposed.clone().notified_owned()
    }

    pub(super) fn elect(&self, keeper: &Keeper) {
        let epoch = keeper.lease().epoch;
        {
            let mut seat = self.seat();
            seat.ours = Some((keeper.tenure(), keeper.lease().clone()));
            seat.rival = None;
            seat.trouble = None;
        }
        self.settings.voice.tell(Event::Elected { epoch });
        self.epoch.send_replace(Some(epoch));
    }

    /// Goes on after a renewal, unless it was given up in the meantime.
    pub(super) fn extend(&self, tenure: Tenure) {
        let mut seat = self.seat();
        seat.trouble = None;
        let mut lapsed = false;
        if let Some((ours, _)) = &mut seat.ours
            && ours.epoch() == tenure.epoch()
        {
            lapsed = !ours.holds(Instant::now());
            *ours = tenure;
        }
        drop(seat);
        if lapsed {
            // Who asked meanwhile was told that nobody leads here, and waits.
            self.epoch.send_replace(Some(tenure.epoch()));
        }
    }

    /// Ends the leadership of an epoch, if it goes on.
    pub(super) fn depose(&self, epoch: u64, why: Why) -> bool {
        let ours = {
            let mut seat = self.seat();
            match &seat.ours {
                Some((tenure, _)) if tenure.epoch() == epoch => mem::take(&mut seat.ours),
                _ => None,
            }
        };
        if ours.is_none() {
            return false;
        }
        self.settings.voice.tell(Event::Deposed { epoch, why });
        self.epoch.send_if_modified(|led| *led == Some(epoch) && led.take().is_some());
        self.deposed.notify_waiters();
        true
    }

    /// Leads no more from now on, and has the campaign give the lease back.
    pub(super) fn resign(&self) -> bool {
        let Some(epoch) = self.epoch() else { return false };
        self.seat().resigned = Some(epoch);
        let deposed = self.depose(epoch, Why::Command);
        self.resigning.notify_waiters();
        deposed
    }

    pub(super) fn has_resigned(&self, epoch: u64) -> bool {
        self.seat().resigned == Some(epoch)
    }

    pub(super) fn held_by(&self, rival: Arc<str>, left: Duration) {
        let mut seat = self.seat();
        seat.rival = Instant::now().checked_add(left).map(|until| (rival, until));
        seat.trouble = None;
    }

    /// The office could not be asked for, or not be kept, so many times in a row.
    pub(super) fn failed(&self, times: u32, error: StoreError) {
        self.settings.voice.tell(Event::StoreFailed { attempt: times, verdict: error.verdict() });
        self.seat().trouble = Some(error);
    }
}

impl fmt::Debug for Office {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Office")
            .field("id", &self.settings.id)
            .field("epoch", &self.epoch())
            .field("holder", &self.holder())
            .field("trouble", &self.trouble())
            .finish()
    }
}
