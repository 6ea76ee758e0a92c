//! Several futures in one task, of which only those are polled that were woken.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// A fixed number of futures, each with a waker of its own. Dropped, it drops those that run.
pub(super) struct Slots<F> {
    slots: Vec<Slot<F>>,
    task: Arc<Task>,
}

struct Slot<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Whom to wake when any of them is to be polled.
#[derive(Default)]
struct Task(Mutex<Option<Waker>>);

struct Bell {
    rung: AtomicBool,
    task: Arc<Task>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F: Future<Output = ()>> Slots<F> {
    pub(super) fn new(futures: impl IntoIterator<Item = F>) -> Self {
        let task = Arc::<Task>::default();
        let slots = futures.into_iter().map(|future| {
            let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: task.clone() });
            Slot { future: Box::pin(future), waker: bell.clone().into(), bell }
        });
        Self { slots: slots.collect(), task }
    }

    /// Ready when all have ended.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        // In place before any bell is looked at: one that rings later wakes whoever polls now.
        let replaced = {
            let mut task = self.task.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &*task {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                _ => task.replace(cx.waker().clone()),
            }
        };
        drop(replaced);
        self.slots.retain_mut(|slot| {
            !slot.bell.rung.swap(false, Ordering::AcqRel)
                || slot.future.as_mut().poll(&mut Context::from_waker(&slot.waker)).is_pending()
        });
        if self.slots.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::atomic::{AtomicU32, Ordering::Relaxed},
        time::Duration,
    };

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_was_woken_is_polled() {
        let polls: [AtomicU32; 3] = Default::default();
        let mut slots = Slots::new([1_u64, 2, 3].map(|seconds| {
            let polls = &polls;
            async move {
                let mut timer = Box::pin(sleep(Duration::from_secs(seconds)));
                poll_fn(|cx| {
                    polls[seconds as usize - 1].fetch_add(1, Relaxed);
                    timer.as_mut().poll(cx)
                })
                .await;
            }
        }));
        poll_fn(|cx| slots.poll(cx)).await;
        assert_eq!(polls.each_ref().map(|polls| polls.load(Relaxed)), [2, 2, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_wakes_itself_is_polled_again() {
        let mut slots = Slots::new([async { tokio::task::yield_now().await }]);
        poll_fn(|cx| slots.poll(cx)).await;
    }
}
