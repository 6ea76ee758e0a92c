//! How a process dies, or the server that it writes to.

use std::{future::pending, time::Duration};

use rand::{RngExt, rngs::StdRng};
use tokio::{sync::broadcast::error::RecvError, time::sleep};

use super::{
    WORKFLOWS,
    point::Point,
    tool::{Moment, Tool},
};

/// How a process is to die.
#[derive(Clone, Copy, Debug)]
pub(super) struct Death {
    pub(super) point: Point,
    pub(super) nth: u32,
    /// For one that may die at any time: when.
    after: Duration,
}

impl Death {
    pub(super) fn draw(points: &[Point], random: &mut StdRng) -> Self {
        let point = points[random.random_range(0..points.len())];
        Self {
            point,
            // Not so late that most processes would come to the end before.
            nth: random.random_range(1..=WORKFLOWS * 2),
            after: Duration::from_millis(random.random_range(0..120)),
        }
    }
}

/// Ready with the point when what does not kill itself is to be killed.
pub(super) async fn strike(tool: Tool, death: Option<Death>) -> Point {
    let Some(Death { point, nth, after }) = death else { return pending().await };
    let wanted: &[Moment] = match point {
        Point::Whenever => {
            sleep(after).await;
            return point;
        }
        Point::Asked => &[Moment::Asked],
        Point::Done => &[Moment::Done],
        Point::Server => &[Moment::Asked, Moment::Done],
        _ => return pending().await,
    };
    let mut moments = tool.moments();
    let mut left = nth;
    loop {
        match moments.recv().await {
            Ok(moment) if wanted.contains(&moment) => {
                left -= 1;
                if left == 0 {
                    break;
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return pending().await,
        }
    }
    if point == Point::Server {
        // About as long as it takes until it commits what came of that.
        sleep(after / 8).await;
    }
    point
}
