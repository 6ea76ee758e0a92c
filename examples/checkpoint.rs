//! Two hundred orders are paid, and the process that pays each of them is killed on the way.
//!
//! The bank charges half a second after it was asked, and answers after a whole one. Each process is killed
//! somewhat later than the one before it, from before the bank is asked to after it has answered; a
//! minute later another takes the order up. Prints, for each rule of what to do in doubt, how often
//! orders were charged. The clock is simulated.

use std::{
    collections::HashSet,
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress::{
    CheckpointLayer, Rejection,
    checkpoint::{Effects, Halt, InDoubt, Step},
    store::{IdempotencyKey, Journal, MemoryStore},
};
use tokio::time::{sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

const ORDERS: u32 = 200;

/// A bank that knows a charge again by its key, or does not look at it.
#[derive(Default)]
struct Bank {
    charges: AtomicU32,
    honours_keys: bool,
    keys: Mutex<HashSet<IdempotencyKey>>,
}

impl Bank {
    async fn charge(self: Arc<Self>, step: Step<u32>) -> Result<String, BoxError> {
        let key = step.key.ok_or("a charge needs a key")?;
        sleep(Duration::from_millis(500)).await;
        let first = self.keys.lock().map_err(|_| "poisoned")?.insert(key);
        if first || !self.honours_keys {
            self.charges.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(500)).await;
        Ok(format!("paid {} cents", step.request))
    }
}

/// A process of its own: what it shares with others is the store.
fn process(
    store: &MemoryStore,
    rule: InDoubt,
    bank: &Arc<Bank>,
) -> impl Service<Step<u32>, Response = String, Error = BoxError> + use<> {
    let journal = Journal::new(store.clone()).namespace("shop");
    let bank = bank.clone();
    CheckpointLayer::new(journal, Effects::SideEffect(rule))
        .name("bank")
        .observe(|_: buttress::Teller<'_>, _: &buttress::Event| {})
        .layer(service_fn(move |step| bank.clone().charge(step)))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("in doubt  bank honours keys  orders  charged  never  more than once  left in doubt");
    for (rule, honours_keys) in
        [(InDoubt::Fail, false), (InDoubt::Retry, false), (InDoubt::Retry, true)]
    {
        let (mut never, mut often, mut doubts, mut charged) = (0, 0, 0, 0);
        for order in 0..ORDERS {
            let store = MemoryStore::new();
            let bank = Arc::new(Bank { honours_keys, ..Bank::default() });
            let charge = || Step::new(format!("order-{order}"), "charge", 1_200);

            let kill = Duration::from_millis(u64::from(order) * 6);
            let killed = timeout(kill, process(&store, rule, &bank).oneshot(charge())).await;
            let acknowledged = killed.ok().transpose()?;
            sleep(Duration::from_secs(60)).await;

            match process(&store, rule, &bank).oneshot(charge()).await {
                // What a process was told is what all later ones are told.
                Ok(receipt) => assert!(acknowledged.is_none_or(|before| before == receipt)),
                Err(error) => match error.downcast_ref() {
                    Some(Rejection::Halted { halt, .. })
                        if matches!(**halt, Halt::InDoubt { .. }) =>
                    {
                        doubts += 1;
                    }
                    _ => return Err(error),
                },
            }
            let charges = bank.charges.load(Ordering::Relaxed);
            charged += charges;
            never += u32::from(charges == 0);
            often += u32::from(charges > 1);
        }
        println!(
            "{:8}  {honours_keys:<17}  {ORDERS:6}  {charged:7}  {never:5}  {often:14}  {doubts:13}",
            format!("{rule:?}")
        );
    }
    Ok(())
}
