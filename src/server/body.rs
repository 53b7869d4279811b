//! Bodies of requests: short, and within their time.

use std::time::Duration;

use async_io::Timer;
use bytes::Bytes;
use futures_lite::future::or;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;

/// Time for a body to arrive.
const TIME: Duration = Duration::from_secs(15);

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// What to answer: 413 for a longer one, 408 for one that does not arrive, 400 for one that breaks
/// off.
pub async fn read(body: Incoming, max: usize) -> Result<Bytes, StatusCode> {
    let read = async {
        match Limited::new(body, max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
            Err(_) => Err(StatusCode::BAD_REQUEST),
        }
    };
    let late = async {
        Timer::after(TIME).await;
        Err(StatusCode::REQUEST_TIMEOUT)
    };
    or(read, late).await
}
