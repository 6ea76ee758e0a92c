//! Which tier of a fallback gave the response.

use crate::fallback::{Mark, Tier};

/// Puts the [`Tier`] that gave a response into its extensions.
///
/// ```
/// use buttress::{FallbackLayer, Verdict, fallback::Tier, http::MarkTier};
/// use http::{Request, Response};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let apology = |_: Verdict| Response::new("closed, come back later");
/// let service = ServiceBuilder::new()
///     .layer(FallbackLayer::to_value_with(apology).named("apology").mark(MarkTier))
///     .service(service_fn(async |_: Request<()>| {
///         Err::<Response<&str>, BoxError>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into())
///     }));
/// let response = service.oneshot(Request::new(())).await.unwrap();
/// assert_eq!(response.extensions().get::<Tier>().unwrap().name().as_str(), "apology");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkTier;

impl<B> Mark<http::Response<B>> for MarkTier {
    fn mark(&self, response: &mut http::Response<B>, tier: &Tier) {
        response.extensions_mut().insert(tier.clone());
    }
}
