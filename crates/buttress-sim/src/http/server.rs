use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::routes::{Sever, routes};
use crate::Tool;

/// Serves a [`Tool`] over HTTP/1.1. See the [module](super).
///
/// ```
/// use buttress_sim::{Faults, Tool, http::Server};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let server = Server::on_loopback(Tool::new(Faults::none(), 7), 0).await?;
/// println!("listening on http://{}", server.addr()?);
/// # let stop = async {};
/// server.run_until(stop).await; // for example `tokio::signal::ctrl_c()`
/// # Ok(())
/// # }
/// ```
///
/// # Defaults
/// Calls under way when the server is told to stop have 1 s to end.
#[derive(Debug)]
pub struct Server {
    tool: Tool,
    listener: TcpListener,
    grace: Duration,
}

impl Server {
    /// Listens on a port of this machine, reachable from this machine only; port 0 takes any.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub async fn on_loopback(tool: Tool, port: u16) -> io::Result<Self> {
        Ok(Self::new(tool, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?))
    }

    /// Serves on a listener of one's own. The server knows no authentication.
    pub const fn new(tool: Tool, listener: TcpListener) -> Self {
        Self { tool, listener, grace: Duration::from_secs(1) }
    }

    /// Sets how long calls may go on after the server was told to stop; 1 s by default.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` ends.
    ///
    /// Then no connection is accepted, calls under way get their grace, and what still runs is
    /// cut off, calls that hang among it. Dropping the future cuts everything off at once.
    /// A connection that fails is its client's affair.
    pub async fn run_until(self, stop: impl Future) {
        let routes = routes(self.tool);
        let graceful = GracefulShutdown::new();
        // Aborts what it holds when it is dropped.
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            select! {
                biased;
                _ = &mut stop => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(graceful.watch(connection(stream, routes.clone())));
                    }
                    Err(error) => {
                        tracing::warn!(target: "buttress_sim", %error, "accept failed");
                        // The usual cause is too many open files, which takes time to pass.
                        sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        drop(self.listener);
        // Out of time is out of grace: the rest is aborted.
        let _ = timeout(self.grace, graceful.shutdown()).await;
        connections.shutdown().await;
    }
}

/// The tool does not answer this call.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed as planned")]
struct Severed;

fn connection(
    stream: TcpStream,
    routes: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    // Small answers should not wait for others to share a packet with. Refused or not, it works.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let answer = routes.clone().call(request.map(Body::new));
        async move {
            let Ok(response): Result<Response, std::convert::Infallible> = answer.await;
            match response.extensions().get() {
                // hyper closes the connection of a service that errs.
                Some(Sever) => Err(Severed),
                None => Ok(response),
            }
        }
    });
    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service)
}
