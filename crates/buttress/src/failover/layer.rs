use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use tower_layer::Layer;

use super::{
    Balance, Failover, FailoverHandle,
    desk::{Desk, Member, Settings, nanos},
    manners::Manners,
    roster::{Order, Terms},
};
use crate::{
    Backoff, Budget, ByClone, ByFault, Factor, Jitter, Name, Observe, Random, Ratio,
    event::{Pattern, Voice},
    stack::note,
};

/// Calls one of several replicas, and leaves alone what is ill. See the [module](super).
#[derive(Clone)]
pub struct FailoverLayer<S, C = ByFault, R = ByClone> {
    settings: Settings,
    manners: Manners<C, R>,
    /// The service that the layer is put over.
    primary: Member,
    others: Vec<Replica<S>>,
    desk: Arc<Desk>,
}

/// A replica for a roster: a service, its name, weight and priority.
///
/// A pair of a name and a service is one too.
#[derive(Clone, Debug)]
pub struct Replica<S> {
    member: Member,
    service: S,
}

impl<S> Replica<S> {
    /// A replica with weight 1 and priority 0.
    pub fn new(name: impl Into<Name>, service: S) -> Self {
        Self { member: Member { name: name.into(), weight: 1, priority: 0 }, service }
    }

    /// Sets how much of the load it takes, compared with the others, where all are active.
    #[must_use]
    pub fn weight(mut self, weight: NonZeroU32) -> Self {
        self.member.weight = weight.get();
        self
    }

    /// Sets how early it is promoted where one is active: lower ones first, as for mail servers.
    ///
    /// Among equals the one that answered faster goes first, then the one that was added earlier.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.member.priority = priority;
        self
    }
}

impl<S, N: Into<Name>> From<(N, S)> for Replica<S> {
    fn from((name, service): (N, S)) -> Self {
        Self::new(name, service)
    }
}

impl<S> FailoverLayer<S> {
    /// All replicas are active and share the load.
    pub fn active_active() -> Self {
        Self::new(Order::Active(Balance::TwoChoices), 5)
    }

    /// One replica is active; when it fails, the best of the others takes its place.
    pub fn active_passive() -> Self {
        let hold_down = nanos(Duration::from_secs(10));
        Self::new(Order::Passive { hold_down, fail_back: false }, 3)
    }

    fn new(order: Order, failures: u32) -> Self {
        let second = Duration::from_secs(1);
        let settings = Settings {
            terms: Terms {
                order,
                failures,
                rate: 0.5,
                fewest_calls: 20,
                stretch: nanos(30 * second),
                slower: 3.0,
                slower_by: nanos(second / 20),
                ejection: Backoff::exponential(5 * second, 60 * second).jitter(Jitter::Equal),
                most_ejected: 0.5,
                panic_above: 0.5,
                slow_start: nanos(30 * second),
                longest_rest: nanos(60 * second),
            },
            slow_after: 10 * second,
            random: Random::default(),
            voice: Voice::new(Pattern::Failover),
        };
        let manners = Manners {
            attempts: 2,
            patience: second,
            budget: None,
            classify: ByFault,
            replay: ByClone,
        };
        let primary = Member { name: Name::new("primary"), weight: 1, priority: 0 };
        let desk = Desk::new(&settings, std::slice::from_ref(&primary));
        Self { settings, manners, primary, others: Vec::new(), desk }
    }
}

impl<S, C, R> FailoverLayer<S, C, R> {
    /// Adds a replica beside the service that the layer is put over: a name and a service, or a
    /// [`Replica`]. At most 64 are used.
    #[must_use]
    pub fn replica(mut self, replica: impl Into<Replica<S>>) -> Self {
        self.others.push(replica.into());
        self.renewed()
    }

    /// Adds a replica that stands by: [`replica`](Self::replica), as it reads where one is active.
    #[must_use]
    pub fn standby(self, name: impl Into<Name>, service: S) -> Self {
        self.replica(Replica::new(name, service))
    }

    /// Sets the name of the service that the layer is put over; `primary` by default.
    #[must_use]
    pub fn primary(mut self, name: impl Into<Name>) -> Self {
        self.primary.name = name.into();
        self.renewed()
    }

    /// Sets how calls are spread where all are active; [`Balance::TwoChoices`] by default.
    #[must_use]
    pub fn balance(self, balance: Balance) -> Self {
        self.set(|settings| {
            if let Order::Active(order) = &mut settings.terms.order {
                *order = balance;
            }
        })
    }

    /// Sets for how long after a promotion there is no other one where one is active, but by
    /// command; 10 s by default.
    ///
    /// An active replica that fails in that time is left alone meanwhile, as at any other time:
    /// its calls go to the best standby.
    #[must_use]
    pub fn hold_down(self, time: Duration) -> Self {
        self.set(|settings| {
            if let Order::Passive { hold_down, .. } = &mut settings.terms.order {
                *hold_down = nanos(time);
            }
        })
    }

    /// Makes the first replica the active one again when it is back and the
    /// [hold-down](Self::hold_down) is over, where one is active; not by default.
    ///
    /// Once its ejection is over, one call finds out whether it is back; if that fails, the next
    /// one does so after a longer time.
    #[must_use]
    pub fn fail_back(self, back: bool) -> Self {
        self.set(|settings| {
            if let Order::Passive { fail_back, .. } = &mut settings.terms.order {
                *fail_back = back;
            }
        })
    }

    /// Sets how many failures in a row make a replica look ill; 5 by default where all are active,
    /// 3 where one is.
    #[must_use]
    pub fn failures(self, failures: NonZeroU32) -> Self {
        self.set(|settings| settings.terms.failures = failures.get())
    }

    /// Sets the share of failures of late that makes a replica look ill, `None` for none; half of
    /// the calls by default.
    #[must_use]
    pub fn failure_rate(self, rate: impl Into<Option<Ratio>>) -> Self {
        let rate = rate.into().map_or(f64::INFINITY, Ratio::get);
        self.set(|settings| settings.terms.rate = rate)
    }

    /// Sets of how many calls at least, and of how much time, the failure rate is taken; 20 calls
    /// of the last 30 to 60 s by default.
    #[must_use]
    pub fn recent(self, fewest_calls: NonZeroU64, time: Duration) -> Self {
        self.set(|settings| {
            settings.terms.fewest_calls = fewest_calls.get();
            settings.terms.stretch = nanos(time).max(1);
        })
    }

    /// Sets how many times slower than the median of the others a replica must be to look ill
    /// where all are active, `None` for never; 3 by default.
    ///
    /// Taken of moving means of ten answers and more, and only where the difference is 50 ms or
    /// more.
    #[must_use]
    pub fn slower_than(self, factor: impl Into<Option<Factor>>) -> Self {
        let slower = factor.into().map_or(f64::INFINITY, Factor::get);
        self.set(|settings| settings.terms.slower = slower)
    }

    /// Sets how long a replica that looks ill is left alone: the first time, then each further
    /// time in a row.
    ///
    /// By default 5 s, doubling up to 60 s, of which a random half is taken off. It starts over
    /// once a replica that came back has answered for as long as the
    /// [slow start](Self::slow_start) takes.
    #[must_use]
    pub fn ejection(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.terms.ejection = backoff)
    }

    /// Sets the largest share of the replicas that may be ejected at the same time where all are
    /// active; half of them by default, rounded down.
    #[must_use]
    pub fn most_ejected(self, share: Ratio) -> Self {
        self.set(|settings| settings.terms.most_ejected = share.get())
    }

    /// Sets how many must look ill for all to be used again where all are active: more than half
    /// of them by default.
    ///
    /// When so much looks ill, the fault is likely elsewhere, and the few that look well could not
    /// bear the load.
    #[must_use]
    pub fn panic_above(self, share: Ratio) -> Self {
        self.set(|settings| settings.terms.panic_above = share.get())
    }

    /// Sets how long a replica that came back takes to grow from a tenth of its share to the
    /// whole; 30 s by default.
    #[must_use]
    pub fn slow_start(self, time: Duration) -> Self {
        self.set(|settings| settings.terms.slow_start = nanos(time))
    }

    /// Sets the longest `retry_after` for which a replica that asked for it is passed over while
    /// there are others; 60 s by default.
    #[must_use]
    pub fn max_retry_after(self, longest: Duration) -> Self {
        self.set(|settings| settings.terms.longest_rest = nanos(longest))
    }

    /// Sets how long a call must have been pending for its being dropped to count as a failure;
    /// 10 s by default.
    ///
    /// A call dropped earlier counts for nothing, unless its [deadline](crate::Deadline) had
    /// passed: then it was not given up, but timed out. A replica that was left with less than
    /// half of the time of the call is not to blame for that.
    #[must_use]
    pub fn slow_after(self, after: Duration) -> Self {
        self.set(|settings| settings.slow_after = after)
    }

    /// Sets on how many replicas a call is tried; 2 by default.
    ///
    /// The first attempt is always made, so 0 means the same as 1. Replicas that are no use for
    /// the request ([reroute](crate::Kind::Reroute)) or whose layers refuse it
    /// ([rejected](crate::Kind::Rejected)) do not count; none is called twice.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.manners.attempts = attempts;
        self
    }

    /// Sets how long a replica may take to become ready before it is passed over; 1 s by default.
    ///
    /// Under a surrounding [deadline](crate::Deadline) at most its share of the time that is left,
    /// so that all are tried.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.manners.patience = patience;
        self
    }

    /// Makes further attempts cost tokens; without a budget by default.
    ///
    /// A replica that is passed over because it is not ready costs nothing.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.manners.budget = Some(budget);
        self
    }

    /// Sets who says what an outcome means; the error itself by default.
    #[must_use]
    pub fn classify<D>(self, classify: D) -> FailoverLayer<S, D, R> {
        let Self { settings, manners, primary, others, desk } = self;
        let Manners { attempts, patience, budget, classify: _, replay } = manners;
        let manners = Manners { attempts, patience, budget, classify, replay };
        FailoverLayer { settings, manners, primary, others, desk }
    }

    /// Sets which requests may be repeated and how they are copied; all, by `Clone`, by default.
    ///
    /// A request that was not sent because a replica was not ready goes to the next in any case.
    #[must_use]
    pub fn replay<Q>(self, replay: Q) -> FailoverLayer<S, C, Q> {
        let Self { settings, manners, primary, others, desk } = self;
        let Manners { attempts, patience, budget, classify, replay: _ } = manners;
        let manners = Manners { attempts, patience, budget, classify, replay };
        FailoverLayer { settings, manners, primary, others, desk }
    }

    /// Sets where choices and jitter come from; the process's own source by default.
    #[must_use]
    pub fn random(self, random: Random) -> Self {
        self.set(|settings| settings.random = random)
    }

    /// Sets the name that refusals and events carry.
    #[must_use]
    pub fn name(self, name: impl Into<Name>) -> Self {
        self.set(|settings| settings.voice.set_name(name.into()))
    }

    /// Sets who listens to events; `tracing` by default.
    #[must_use]
    pub fn observe(self, observe: impl Observe + 'static) -> Self {
        self.set(|settings| settings.voice.set_observe(observe))
    }

    /// The handle of the roster, which is that of every service that the layer is put over.
    ///
    /// Take it from the finished layer: setters make a new roster.
    pub fn handle(&self) -> FailoverHandle {
        FailoverHandle::new(self.desk.clone())
    }

    /// Makes a service of a list of replicas, followed by those that were added to the layer.
    ///
    /// It has a roster of its own; its [handle](Failover::handle) is that of the service. Without
    /// any replica it refuses all calls.
    ///
    /// ```
    /// use buttress::FailoverLayer;
    /// use tower::{BoxError, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let region = |name| service_fn(move |_: ()| async move { Ok::<&str, BoxError>(name) });
    /// let service = FailoverLayer::active_passive()
    ///     .over(["rome", "oslo"].map(|name| (name, region(name))));
    /// assert!(service.handle().promote("oslo"));
    /// assert_eq!(service.oneshot(()).await.unwrap(), "oslo");
    /// # }
    /// ```
    pub fn over<T>(self, replicas: impl IntoIterator<Item = T>) -> Failover<S, C, R>
    where
        T: Into<Replica<S>>,
    {
        let replicas = replicas.into_iter().map(Into::into).chain(self.others);
        let (members, services): (Vec<_>, Vec<_>) =
            replicas.map(|replica| (replica.member, replica.service)).unzip();
        Failover::new(services, Desk::new(&self.settings, &members), self.manners)
    }

    fn set(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(&mut self.settings);
        self.renewed()
    }

    fn renewed(mut self) -> Self {
        let others = self.others.iter().map(|other| &other.member);
        let members: Vec<Member> = [&self.primary].into_iter().chain(others).cloned().collect();
        self.desk = Desk::new(&self.settings, &members);
        self
    }
}

impl<S, C, R> FailoverLayer<S, C, R> {
    /// Adds itself to the outline of a stack.
    fn note(&self, replicas: usize) {
        let Settings { terms, voice, .. } = &self.settings;
        note(voice, || match terms.order {
            Order::Active(_) => format!("{replicas} replicas, all active"),
            Order::Passive { .. } => format!("{replicas} replicas, one active"),
        });
    }
}

impl<S: Clone, C: Clone, R: Clone> Layer<S> for FailoverLayer<S, C, R> {
    type Service = Failover<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        self.note(1 + self.others.len());
        let others = self.others.iter().map(|other| other.service.clone());
        let services = [inner].into_iter().chain(others);
        Failover::new(services, self.desk.clone(), self.manners.clone())
    }
}

impl<S, C, R> fmt::Debug for FailoverLayer<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverLayer")
            .field("settings", &self.settings)
            .field("replicas", &self.handle())
            .finish_non_exhaustive()
    }
}
