//! Counts what one request costs at the tool, whatever the layers between do with it.
//!
//! Layers spawn nothing, so all attempts of a request run within its task: a task-local says whose
//! they are.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tower::Service;

use crate::{series::Recorder, stats::Cost};

tokio::task_local! {
    static BILL: Arc<Bill>;
}

/// What one request has cost so far.
#[derive(Debug, Default)]
struct Bill {
    calls: AtomicU64,
    cancelled: AtomicU64,
    busy_nanos: AtomicU64,
}

/// Runs one request, and says what it cost.
pub(crate) async fn metered<F: Future>(request: F) -> (F::Output, Cost) {
    let bill = Arc::new(Bill::default());
    // The request is dropped within the scope, and with it every attempt that still runs.
    let output = BILL.scope(bill.clone(), request).await;
    let cost = Cost {
        calls: bill.calls.load(Relaxed),
        cancelled: bill.cancelled.load(Relaxed),
        busy: Duration::from_nanos(bill.busy_nanos.load(Relaxed)),
    };
    (output, cost)
}

/// Puts the calls of a tool on the bill of the request that makes them.
///
/// The time that they take is billed in any case, their number only where they are counted; these
/// are also written down, where there is a recorder.
#[derive(Clone, Debug)]
pub(crate) struct Meter<S> {
    tool: S,
    is_counted: bool,
    recorder: Option<Recorder>,
}

impl<S> Meter<S> {
    pub(crate) const fn new(tool: S, is_counted: bool, recorder: Option<Recorder>) -> Self {
        Self { tool, is_counted, recorder }
    }
}

impl<S, Req> Service<Req> for Meter<S>
where
    S: Service<Req>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.tool.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let running = Running::start(self.is_counted);
        if let (Some(recorder), true) = (&self.recorder, self.is_counted) {
            recorder.called();
        }
        let answer = self.tool.call(request);
        Box::pin(async move {
            let outcome = answer.await;
            running.finish();
            outcome
        })
    }
}

/// A call of the tool that is under way.
struct Running {
    bill: Option<Arc<Bill>>,
    since: Instant,
    is_counted: bool,
    is_finished: bool,
}

impl Running {
    fn start(is_counted: bool) -> Self {
        let bill = BILL.try_with(Arc::clone).ok();
        if let (Some(bill), true) = (&bill, is_counted) {
            bill.calls.fetch_add(1, Relaxed);
        }
        Self { bill, since: Instant::now(), is_counted, is_finished: false }
    }

    fn finish(mut self) {
        self.is_finished = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(bill) = &self.bill else { return };
        let nanos = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        bill.busy_nanos.fetch_add(nanos, Relaxed);
        if self.is_counted && !self.is_finished {
            bill.cancelled.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};
    use tower::{ServiceExt, service_fn};

    use super::*;

    async fn nap(seconds: u64) -> Result<(), ()> {
        sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn finished_and_dropped_calls_are_on_the_bill() {
        let tool = Meter::new(service_fn(nap), true, None);
        let request = async {
            let late = timeout(Duration::from_secs(2), tool.clone().oneshot(9)).await;
            assert!(late.is_err());
            tool.clone().oneshot(1).await
        };
        let (_, cost) = metered(request).await;
        let busy = Duration::from_secs(3);
        assert_eq!(cost, Cost { calls: 2, cancelled: 1, busy });
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_are_not_counted_cost_time_all_the_same() {
        let tool = Meter::new(service_fn(nap), true, None);
        let other = Meter::new(service_fn(nap), false, None);
        let request = async {
            assert!(timeout(Duration::from_secs(2), other.oneshot(9)).await.is_err());
            tool.oneshot(1).await
        };
        let (_, cost) = metered(request).await;
        assert_eq!(cost, Cost { calls: 1, cancelled: 0, busy: Duration::from_secs(3) });
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_given_up_pays_for_what_it_started() {
        let pending = async |(): ()| {
            std::future::pending::<()>().await;
            Ok::<_, ()>(())
        };
        let tool = Meter::new(service_fn(pending), true, None);
        let limit = Duration::from_secs(5);
        let (_, cost) = metered(timeout(limit, tool.oneshot(()))).await;
        assert_eq!(cost, Cost { calls: 1, cancelled: 1, busy: limit });
    }
}
