//! Which replica a call goes to, as things stand. Nothing changes by it.

use super::{Balance, Rank, Roster, Seat, Tried};

impl Roster {
    /// Those that may be called and were not tried.
    pub(super) fn open(&self, tried: Tried) -> impl Iterator<Item = (usize, &Seat)> {
        let seats = self.seats.iter().enumerate();
        seats.filter(move |(place, seat)| !tried.has(*place) && seat.is_callable())
    }

    /// Chooses among all that are as good as any.
    pub(super) fn balanced(
        &self,
        balance: Balance,
        tried: Tried,
        now: u64,
        unit: impl FnOnce() -> f64,
    ) -> Option<usize> {
        // A call that failed elsewhere goes where it has the best prospects. First attempts are
        // spread over all in panic; else over those on trial too, and over suspects, who are needed.
        let first = tried.is_empty();
        let rank = |seat: &Seat| match seat.rank(now) {
            _ if first && self.panicking => Rank::Fit,
            Rank::Suspect | Rank::OnTrial if first => Rank::Fit,
            rank => rank,
        };
        let best = self.open(tried).map(|(_, seat)| rank(seat)).min()?;
        let among = || self.open(tried).filter(|(_, seat)| rank(seat) == best);
        let share = |seat: &Seat| seat.weight * seat.share(now, self.terms.slow_start);
        let burden = |place: usize| {
            let seat = &self.seats[place];
            (f64::from(seat.in_flight) / share(seat), seat.looks_ill())
        };
        let lighter = |one: (f64, bool), two: (f64, bool)| {
            one.0.total_cmp(&two.0).then(one.1.cmp(&two.1)).is_lt()
        };
        match balance {
            Balance::TwoChoices => {
                let total: f64 = among().map(|(_, seat)| share(seat)).sum();
                // Two numbers out of one: the leading bits, and those behind them.
                let unit = unit();
                let other = (unit * f64::from(1 << 24)).fract();
                let one = draw(among().map(|(place, seat)| (place, share(seat))), unit * total)?;
                let rest = total - share(&self.seats[one]);
                let others = among().filter(|(place, _)| *place != one);
                let two = draw(others.map(|(place, seat)| (place, share(seat))), other * rest);
                Some(two.filter(|two| lighter(burden(*two), burden(one))).unwrap_or(one))
            }
            Balance::LeastLoad => {
                let places = || among().map(|(place, _)| place);
                let least =
                    places().map(burden).reduce(|a, b| if lighter(b, a) { b } else { a })?;
                let shares = || {
                    let least = places().filter(|place| !lighter(least, burden(*place)));
                    least.map(|place| (place, share(&self.seats[place])))
                };
                let total: f64 = shares().map(|(_, share)| share).sum();
                draw(shares(), unit() * total)
            }
        }
    }

    /// The one that fail-back leads to, if a call is to find out whether it is back.
    pub(super) fn probed(&self, now: u64) -> Option<usize> {
        let due = self.fails_back() && now >= self.held_until;
        let home = self.seats.get(self.home).filter(|_| due)?;
        // What hangs there since before it was ejected says nothing about how it is now.
        let idle = home.sent == 0 && home.is_callable();
        (idle && home.rank(now) == Rank::OnTrial).then_some(self.home)
    }

    /// Chooses the active one, or the best of the others.
    pub(super) fn in_order(&self, tried: Tried, now: u64) -> Option<usize> {
        let best = self.open(tried).min_by_key(|(place, seat)| {
            let rank = match seat.rank(now) {
                // The active one had to be tried some time.
                Rank::OnTrial if *place == self.active => Rank::Fit,
                // When all are ill they are tried in turns: one of them may be back.
                Rank::Ejected => return (Rank::Ejected, false, (0, seat.last_failure, *place)),
                rank => rank,
            };
            let order = (seat.priority, seat.latency.for_order(), *place);
            (rank, *place != self.active, order)
        });
        best.map(|(place, _)| place)
    }
}

/// The first whose share, added to those before it, passes the point; the last if none does.
fn draw(shares: impl Iterator<Item = (usize, f64)>, point: f64) -> Option<usize> {
    let (mut sum, mut last) = (0.0, None);
    for (place, share) in shares {
        sum += share;
        last = Some(place);
        if point < sum {
            break;
        }
    }
    last
}
