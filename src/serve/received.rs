//! Bodies of requests, read whole before any route sees them: bounded in size, in time, and all together.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::limits::Limits;
use super::problem::Problem;

/// Bytes that one permit stands for.
const UNIT: usize = 1 << 10;

/// Room for all bodies together.
#[derive(Clone)]
pub(super) struct Room(Arc<Semaphore>);

/// The room that a body takes, until it is dropped.
#[derive(Default)]
pub(super) struct Held {
    permit: Option<OwnedSemaphorePermit>,
    units: usize,
}

/// A body with the room that it takes.
pub(super) struct Received {
    pub bytes: Bytes,
    pub held: Held,
}

impl Room {
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / UNIT)))
    }

    /// Has `held` be enough for so many bytes.
    pub fn hold(&self, held: &mut Held, bytes: usize) -> Result<(), Problem> {
        let lacking = bytes.div_ceil(UNIT).saturating_sub(held.units);
        if lacking == 0 {
            return Ok(());
        }
        let full = || Problem::busy("too many large requests at once: try again later");
        let more = u32::try_from(lacking).map_err(|_| full())?;
        let more = self.0.clone().try_acquire_many_owned(more).map_err(|_| full())?;
        match &mut held.permit {
            Some(permit) => permit.merge(more),
            None => held.permit = Some(more),
        }
        held.units += lacking;
        Ok(())
    }
}

/// That a body is longer than is taken.
pub(super) fn too_large(limits: &Limits) -> Problem {
    let detail = format!("the body is longer than {} bytes; --max-body takes more", limits.body);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Reads a body whose announced length is `announced`, where there is one.
pub(super) async fn receive(
    mut body: Incoming,
    announced: Option<u64>,
    limits: &Limits,
    room: &Room,
) -> Result<Received, Problem> {
    if announced.is_some_and(|length| length > limits.body as u64) {
        return Err(too_large(limits));
    }
    let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    let whole = async {
        let (mut bytes, mut held) = (Vec::new(), Held::default());
        loop {
            let frame = match timeout(limits.stall, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => return Err(Problem::bad("the body is not what its headers say")),
                Ok(None) => break,
                Err(_) => return Err(slow()),
            };
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limits.body {
                return Err(too_large(limits));
            }
            room.hold(&mut held, bytes.len() + data.len())?;
            bytes.extend_from_slice(&data);
        }
        Ok(Received { bytes: bytes.into(), held })
    };
    timeout(limits.body_time, whole).await.unwrap_or_else(|_| Err(slow()))
}
