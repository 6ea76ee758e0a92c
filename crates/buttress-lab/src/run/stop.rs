use tokio::sync::watch;

/// Ends an experiment early, from any thread.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until somebody asks.
    pub async fn requested(&self) {
        // The sender outlives this borrow, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
