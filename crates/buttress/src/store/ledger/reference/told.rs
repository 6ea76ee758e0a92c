//! What is told, and what must never be told twice: an epoch, a key.

use super::{
    machine::{Machine, flow, id, millis, owner},
    naive::{Slip, Told},
};
use crate::store::{Begun, Fence, Lease, StoreError, Ticket};

pub(super) fn refusal(error: &StoreError) -> &'static str {
    match error {
        StoreError::Fenced { .. } => "fenced",
        StoreError::Deleted { .. } => "deleted",
        StoreError::Held { .. } => "held",
        StoreError::Stale { .. } => "stale",
        StoreError::NotFound { .. } => "not found",
        StoreError::Exists { .. } => "exists",
        StoreError::Corrupt { .. } => "corrupt",
        StoreError::Invalid { .. } => "invalid",
        _ => "another refusal",
    }
}

pub(super) fn told<T>(result: Result<T, StoreError>, told: impl FnOnce(T) -> Told) -> Told {
    match result {
        Ok(reply) => told(reply),
        Err(error) => Told::Refused(refusal(&error)),
    }
}

impl Machine {
    /// Whoever writes under a lease must be the last who was granted one.
    pub(super) fn newest(&self, flow: usize, epoch: u64) -> Result<(), String> {
        match self.granted[flow] {
            newest if newest == epoch => Ok(()),
            newest => Err(format!("epoch {epoch} wrote after {newest} was granted")),
        }
    }

    pub(super) fn granted(&mut self, lease: Result<Lease, StoreError>) -> Result<Told, String> {
        if let Ok(lease) = &lease {
            let flow = flow(&lease.workflow);
            let newer = self.epochs.last().is_none_or(|newest| lease.epoch > *newest);
            if !newer && lease.epoch != self.granted[flow] {
                return Err(format!("epoch {} was handed out twice", lease.epoch));
            }
            self.epochs.insert(lease.epoch);
            self.granted[flow] = lease.epoch;
            self.leases.push(lease.clone());
        }
        Ok(told(lease, |lease| Told::Epoch(lease.epoch)))
    }

    pub(super) fn begun(
        &mut self,
        begun: Result<Begun, StoreError>,
        flow: usize,
        at: usize,
        request: u8,
    ) -> Result<Told, String> {
        if let Ok(Begun::Fresh(ticket)) = &begun {
            let slip = Slip {
                flow,
                step: at,
                request,
                attempt: ticket.attempt,
                fence: ticket.fence,
                intent: ticket.intent,
            };
            self.tickets.push((ticket.clone(), slip));
            if let Fence::Epoch(epoch) = ticket.fence {
                self.epochs.insert(epoch);
                // What was taken by beginning may be used to hold it.
                let lease = Lease { workflow: id(flow), epoch, owner: owner(0), ttl: millis(1) };
                if !self.leases.contains(&lease) {
                    self.leases.push(lease);
                }
            }
        }
        let key = match &begun {
            Ok(Begun::Fresh(ticket)) => Some(ticket.key),
            Ok(Begun::Pending { key, .. } | Begun::Damaged { key, .. }) => Some(*key),
            _ => None,
        };
        let lineage = self.naive.flows[flow].as_ref().map_or(0, |flow| flow.lineage);
        if let Some(key) = key {
            let known = *self.keys.entry((flow, lineage, at)).or_insert(key);
            if known != key {
                return Err(format!("step {at} of {flow} has key {key} after {known}"));
            }
            if self.keys.values().filter(|other| **other == key).count() > 1 {
                return Err(format!("key {key} is that of two steps"));
            }
        }
        Ok(told(begun, |begun| match begun {
            Begun::Fresh(Ticket { attempt, intent, fence, .. }) => {
                Told::Fresh { attempt, intent, fence, lineage }
            }
            Begun::Completed { record } => Told::Completed(record.version),
            Begun::Failed { record } => Told::Failed(record.version),
            Begun::Pending { record, .. } => Told::Pending(record.version),
            Begun::Damaged { version, .. } => Told::Damaged(version),
            Begun::Mismatch { record } => Told::Mismatch(record.version),
        }))
    }
}
