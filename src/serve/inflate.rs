//! Compressed bodies, as `tritonclient` sends them; what comes out is bounded as what comes in is.

use std::io::Read;

use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, StatusCode};
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::aside::aside;
use super::limits::Limits;
use super::problem::Problem;
use super::received::{Received, Room, too_large};

/// Undoes a body's compression, where its headers name one, and has them say so.
pub(super) async fn inflate(
    received: Received,
    headers: &mut HeaderMap,
    limits: &Limits,
    room: &Room,
) -> Result<Received, Problem> {
    let named = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    let is_gzip = match named.as_deref() {
        None | Some("" | "identity") => return Ok(received),
        Some("gzip" | "x-gzip") => true,
        Some("deflate") => false,
        Some(_) => {
            let detail = "the content encoding is none of gzip, deflate and identity";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let (bytes, limit) = (received.bytes.clone(), limits.body as u64);
    let (inflated, mut received) = aside(move || {
        let mut out = Vec::new();
        let (encoded, most) = (&bytes[..], limit + 1);
        let read = if is_gzip {
            MultiGzDecoder::new(encoded).take(most).read_to_end(&mut out)
        } else {
            ZlibDecoder::new(encoded).take(most).read_to_end(&mut out)
        };
        // What it takes is held until then, whether or not somebody still waits for it.
        (read.map(|_| out), received)
    })
    .await?;
    let inflated = inflated.map_err(|_| Problem::bad("the body is not compressed as its headers say"))?;
    if inflated.len() > limits.body {
        return Err(too_large(limits));
    }
    room.hold(&mut received.held, received.bytes.len() + inflated.len())?;
    received.bytes = inflated.into();
    headers.remove(CONTENT_ENCODING);
    headers.insert(CONTENT_LENGTH, received.bytes.len().into());
    Ok(received)
}
