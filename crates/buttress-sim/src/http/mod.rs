//! The tool as a server on a port, to put real clients and real layers before.
//!
//! | request | answer |
//! |---|---|
//! | `POST /call` with JSON `{"query": ".."}` | 200 and `{"instance": 1, "text": ".."}`, or as planned |
//! | `POST /restart` | 204; the tool is back after a crash |
//! | `GET /health` | 200 and `{"status": "ok"}` as long as the server runs, whatever the plan |
//! | `GET /stats` | 200 and the [`Stats`](crate::Stats) as JSON, times in seconds |
//!
//! What is planned for a call looks like this on the wire:
//!
//! | plan | wire |
//! |---|---|
//! | [`Fate::Corrupt`](crate::Fate::Corrupt) | 200; nothing but the text tells |
//! | [`FailKind`](crate::FailKind) | 400, 402, 500, 502, 503 or 504, as said there, and `{"error": ".."}` |
//! | [`FailKind::Connect`](crate::FailKind::Connect), [`Fate::Crash`](crate::Fate::Crash) | the connection is closed without an answer |
//! | [`Fate::Throttle`](crate::Fate::Throttle) | 429, with `retry-after` (whole seconds, rounded up) and `retry-after-ms` if it is said |
//! | [`Fate::DropMidAnswer`](crate::Fate::DropMidAnswer) | 200 and half of the body that was promised, then the connection is closed |
//! | [`Fate::Hang`](crate::Fate::Hang) | nothing, until the client or the server goes away |
//!
//! A client that goes away cancels its call. Bodies of more than 64 KiB are refused with 413,
//! what is not such JSON with 400; neither is a call of the tool.

mod routes;
mod server;

pub use self::server::Server;
