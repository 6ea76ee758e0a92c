//! Ctrl-C, and other ways to be told to end.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    process,
    sync::mpsc,
    task::Poll,
    thread,
};

use buttress_lab::run::Stop;
use tokio::{
    runtime,
    signal::{
        ctrl_c,
        unix::{Signal, SignalKind, signal},
    },
};

/// The exit status of a program that was ended by Ctrl-C, as shells count.
pub(crate) const INTERRUPTED: u8 = 130;

/// Requests a stop at the first Ctrl-C, and ends the program at the second.
///
/// On a thread of its own: the runtime of an experiment in virtual time cannot wait for signals.
pub(crate) fn stop_on_ctrl_c(stop: &Stop) -> io::Result<()> {
    let stop = stop.clone();
    let (listening, ready) = mpsc::channel();
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    thread::Builder::new().name("ctrl-c".to_owned()).spawn(move || {
        runtime.block_on(async {
            let mut first = pin!(ctrl_c());
            // The first poll begins to listen.
            let polled = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
            // Nobody waits for it any more only if the program is ending.
            let _ = listening.send(());
            let heard = match polled {
                Poll::Ready(heard) => heard,
                Poll::Pending => first.await,
            };
            if heard.is_ok() {
                stop.request();
                if ctrl_c().await.is_ok() {
                    process::exit(INTERRUPTED.into());
                }
            }
        });
    })?;
    ready.recv().map_err(io::Error::other)
}

/// The signals by which one who has something to clean up is told to end.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// Listens from here on.
    pub(crate) fn listen() -> io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Requests a stop at the first signal, and is ready at the second.
    pub(crate) async fn stop(mut self, stop: &Stop) {
        self.next().await;
        stop.request();
        self.next().await;
    }

    async fn next(&mut self) {
        let Self([interrupt, terminate, hangup]) = self;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
