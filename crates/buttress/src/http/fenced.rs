//! The leader's fence, in a request.

use http::{HeaderName, HeaderValue, Request};

use crate::leader::{Fenced, FencingToken};

/// The header that carries the fence of a leader, in decimal digits.
pub const FENCING_TOKEN: HeaderName = HeaderName::from_static("fencing-token");

/// Sets the header [`FENCING_TOKEN`] and the extension [`FencingToken`].
impl<B> Fenced for Request<B> {
    fn attach(&mut self, token: FencingToken) {
        self.headers_mut().insert(FENCING_TOKEN, HeaderValue::from(token.get()));
        self.extensions_mut().insert(token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_takes_the_place_of_any_other() {
        let mut request = Request::post("/").header("Fencing-Token", "1").body(()).unwrap();
        request.headers_mut().append(FENCING_TOKEN, HeaderValue::from(2));
        request.attach(FencingToken::new(17));
        let values: Vec<_> = request.headers().get_all(FENCING_TOKEN).iter().collect();
        assert_eq!(values, ["17"]);
        assert_eq!(request.extensions().get(), Some(&FencingToken::new(17)));
    }
}
