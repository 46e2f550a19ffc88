//! The way to the detector: requests wait there with those of others, and with the streams' frames.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::problem::Problem;
use crate::detector::{Batch, Full, Output, Reply, Service, ServiceError, Ticket, Wanted};
use crate::frame::DecodedFrame;
use crate::tensor::InputTensor;

/// Batches whose images are decoded and not yet answered, unless there are more cores: one is run, and one is decoded meanwhile. Images that wait longer leave the
/// processor's caches before their turn.
const BATCHES: usize = 2;

/// The detector, for requests.
#[derive(Clone)]
pub(super) struct Work {
    service: Arc<Service>,
    /// One is held by each request from before its images are decoded: what is refused costs no more than its body.
    places: Arc<Semaphore>,
    /// One is held for each image from before it is decoded.
    turns: Arc<Semaphore>,
}

impl Work {
    pub fn new(service: Arc<Service>) -> Self {
        let places = Arc::new(Semaphore::new(service.capacity().min(Semaphore::MAX_PERMITS)));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new(cores.max(service.batch() * BATCHES)));
        Self { service, places, turns }
    }

    /// A place among those that are decoded, wait and are run.
    pub fn place(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = self.places.clone().try_acquire_owned();
        place.map_err(|_| Problem::busy(format!("{}: try again later", Full(self.service.capacity()))))
    }

    /// Images of a request that are decoded and run together, at most.
    pub fn piece(&self) -> usize {
        self.service.batch()
    }

    /// Waits until so many images, a piece at most, may be decoded, in the order of the calls.
    pub async fn turn(&self, images: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let images = u32::try_from(images).unwrap_or(u32::MAX);
        // Never closed.
        self.turns.clone().acquire_many_owned(images).await.map_err(|_| Problem::busy("the program ends"))
    }

    /// The frames, a piece at most, with what was detected in them.
    #[expect(clippy::vec_box, reason = "frames are boxed on their whole way: channels move pointers")]
    pub async fn detect(
        &self,
        wanted: Wanted,
        frames: Vec<Box<DecodedFrame>>,
    ) -> Result<Vec<Box<DecodedFrame>>, Problem> {
        // Images are of any size.
        let client = self.service.client(wanted, false);
        let inferred = (0..frames.len()).collect();
        let batch = Batch { frames, inferred, shape: None };
        Ok(answered(|reply| client.submit(batch, reply)).await?.frames)
    }

    /// The model's outputs for a tensor as it takes it.
    pub async fn run(&self, wanted: Wanted, tensor: InputTensor) -> Result<Vec<Output>, Problem> {
        let client = self.service.client(wanted, false);
        answered(|reply| client.submit_tensor(tensor, reply)).await
    }

    /// Whether nothing is detected any more.
    pub fn has_ended(&self) -> bool {
        self.service.has_ended()
    }
}

async fn answered<T: Send + 'static>(submit: impl FnOnce(Reply<T>) -> Result<Ticket, Full>) -> Result<T, Problem> {
    let (tell, told) = oneshot::channel();
    let ticket = submit(Box::new(move |result| {
        // Who asked may be gone.
        let _ = tell.send(result);
    }));
    let ticket = ticket.map_err(|full| Problem::busy(format!("{full}: try again later")))?;
    let answer = told.await.unwrap_or(Err(ServiceError::Ended));
    drop(ticket);
    answer.map_err(|error| match error {
        ServiceError::Ended => Problem::busy(error.to_string()),
        error => Problem::failed(error.to_string()),
    })
}
