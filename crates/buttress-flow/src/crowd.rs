//! Several futures at once, of which any may be the next to be ready.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

/// Futures that run side by side in the task that polls them. Dropping the crowd drops them all.
pub(crate) struct Crowd<T> {
    running: Vec<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T> Crowd<T> {
    pub(crate) const fn new() -> Self {
        Self { running: Vec::new() }
    }

    pub(crate) fn push(&mut self, future: impl Future<Output = T> + Send + 'static) {
        self.running.push(Box::pin(future));
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn clear(&mut self) {
        self.running.clear();
    }

    /// What the next future to be ready returns, in the order in which they were pushed; `None` if
    /// there are none.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        for place in 0..self.running.len() {
            let Some(future) = self.running.get_mut(place) else { break };
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                drop(self.running.remove(place));
                return Poll::Ready(Some(result));
            }
        }
        if self.running.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }

    pub(crate) async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

/// What futures come to of which some are under way at a time, in no order. Those that wait for somebody who
/// is down should not keep the others waiting.
pub(crate) async fn side_by_side<T>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    const MOST: usize = 16;
    let mut waiting = futures.into_iter();
    let (mut done, mut under_way) = (Vec::new(), Crowd::new());
    loop {
        while under_way.len() < MOST
            && let Some(future) = waiting.next()
        {
            under_way.push(future);
        }
        match under_way.next().await {
            Some(result) => done.push(result),
            None => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_to_be_ready_is_the_next() {
        let start = Instant::now();
        let mut crowd = Crowd::new();
        for seconds in [3, 1, 2] {
            crowd.push(async move {
                sleep(Duration::from_secs(seconds)).await;
                seconds
            });
        }
        assert_eq!((crowd.next().await, crowd.next().await), (Some(1), Some(2)));
        assert_eq!(crowd.len(), 1);
        assert_eq!((crowd.next().await, crowd.next().await), (Some(3), None));
        assert_eq!(start.elapsed(), Duration::from_secs(3));
    }
}
