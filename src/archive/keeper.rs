//! A thread that keeps the connection to a queue and the lease of the file that is worked on, while another one works.

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::Outcome;
use super::address::Address;
use super::item::Item;
use super::queue::{Figures, Queue, QueueError, Taken};
use crate::clock;
use crate::publish::{PublishError, trusted};
use crate::thread::{Thread, ThreadError, spawn, test_panic_point};

/// Of a lease, after so much it is renewed.
const RENEWED: u32 = 4;
/// How long is tried to say what came of a file, and that it is given back, which the end of its lease says as well.
const TRIED: Duration = Duration::from_secs(30);
const TRIED_BACK: Duration = Duration::from_secs(3);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(1);

/// A queue as a worker has it, with one file at a time.
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
    answers: Mutex<Receiver<Answer>>,
    thread: Option<Thread<()>>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Certificates.
    #[error(transparent)]
    Certificates(#[from] PublishError),
    /// No thread.
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

enum Ask {
    Take,
    Settle(Outcome),
    Figures,
}

enum Answer {
    Open(Result<(), QueueError>),
    Taken(Result<Option<(Option<Item>, u64)>, QueueError>),
    Settled(Result<bool, QueueError>),
    Figures(Result<Figures, QueueError>),
}

impl Keeper {
    /// Connects; `ca` is as `--publish-ca`.
    ///
    /// # Errors
    /// When the queue cannot be used.
    pub fn open(address: Address, ca: Option<&Path>, lease: Option<Duration>) -> Result<Self, KeeperError> {
        let tls = tls(&address, ca)?;
        let (asks, asked) = mpsc::channel(1);
        let (told, answers) = sync_channel(1);
        let thread = spawn("queue", move || {
            let opened = async {
                match Queue::open(&address, tls.as_ref(), (lease, false)).await {
                    Ok(queue) => {
                        if told.send(Answer::Open(Ok(()))).is_ok() {
                            keep(&queue, asked, &told).await;
                        }
                    }
                    // Who waits for it hears it.
                    Err(error) => drop(told.send(Answer::Open(Err(error)))),
                }
            };
            // A runtime that cannot be made ends the thread, which is told as such.
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(opened);
            }
        })?;
        let keeper = Self { asks, answers: Mutex::new(answers), thread: Some(thread) };
        match keeper.answer() {
            Some(Answer::Open(opened)) => opened?,
            _ => return Err(QueueError::Ended.into()),
        }
        Ok(keeper)
    }

    fn answer(&self) -> Option<Answer> {
        self.answers.lock().ok()?.recv().ok()
    }

    fn ask(&self, ask: Ask) -> Option<Answer> {
        self.asks.blocking_send(ask).ok()?;
        self.answer()
    }

    /// A file, where one waits, and how often it was taken; without a file where something else stood in the queue. It is held until it is settled.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn take(&self) -> Result<Option<(Option<Item>, u64)>, QueueError> {
        match self.ask(Ask::Take) {
            Some(Answer::Taken(taken)) => taken,
            _ => Err(QueueError::Ended),
        }
    }

    /// Says what came of the file; whether that counts: that it is not done, and is another worker's by now, says that one.
    ///
    /// # Errors
    /// When the server does not answer: the file is another's when the lease is over.
    pub fn settle(&self, outcome: Outcome) -> Result<bool, QueueError> {
        match self.ask(Ask::Settle(outcome)) {
            Some(Answer::Settled(settled)) => settled,
            _ => Err(QueueError::Ended),
        }
    }

    /// How far all workers are.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn figures(&self) -> Result<Figures, QueueError> {
        match self.ask(Ask::Figures) {
            Some(Answer::Figures(figures)) => figures,
            _ => Err(QueueError::Ended),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When its thread panicked.
    pub fn close(mut self) -> Result<(), ThreadError> {
        drop(self.asks);
        self.thread.take().map_or(Ok(()), Thread::join)
    }
}

/// Connects, and does one thing with a queue; `how` is as of [`Queue::open`].
///
/// # Errors
/// When the queue cannot be used; what is done with it.
pub fn with_queue<T>(
    address: &Address,
    ca: Option<&Path>,
    how: (Option<Duration>, bool),
    what: impl AsyncFnOnce(&Queue) -> Result<T, QueueError>,
) -> Result<T, KeeperError> {
    let tls = tls(address, ca)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|_| QueueError::Ended)?;
    Ok(runtime.block_on(async {
        let queue = Queue::open(address, tls.as_ref(), how).await?;
        what(&queue).await
    })?)
}

/// What a connection needs to be encrypted.
fn tls(address: &Address, ca: Option<&Path>) -> Result<Option<ClientConfig>, PublishError> {
    address.server.tls.then(|| trusted(ca)).transpose()
}

/// Answers, and renews the lease meanwhile.
async fn keep(queue: &Queue, mut asked: mpsc::Receiver<Ask>, told: &SyncSender<Answer>) {
    let mut held: Option<Held> = None;
    loop {
        let ask = tokio::select! {
            ask = asked.recv() => ask,
            () = sleep(queue.lease() / RENEWED), if held.is_some() => {
                if let Some(held) = &mut held {
                    held.renew(queue).await;
                }
                continue;
            }
        };
        test_panic_point();
        let answer = match ask {
            Some(Ask::Take) => Answer::Taken(queue.take().await.map(|taken| {
                held = taken.map(|taken| Held { taken, since: clock::now() });
                held.as_ref().map(|Held { taken, .. }| (taken.item.as_ref().ok().cloned(), taken.delivered))
            })),
            Some(Ask::Settle(outcome)) => Answer::Settled(match held.take() {
                Some(held) => held.settle(queue, &outcome).await,
                None => Ok(false),
            }),
            Some(Ask::Figures) => Answer::Figures(queue.figures().await),
            None => return,
        };
        if told.send(answer).is_err() {
            return;
        }
    }
}

/// A file that is worked on.
struct Held {
    taken: Taken,
    /// When the server last knew that.
    since: clock::HostTime,
}

impl Held {
    async fn renew(&mut self, queue: &Queue) {
        let asked = clock::now();
        // Once it is over, the file is another's, and stays so.
        if self.is_ours(queue) && queue.hold(&self.taken).await.is_ok() {
            self.since = asked;
        }
    }

    fn is_ours(&self, queue: &Queue) -> bool {
        clock::now().since(self.since) < queue.lease()
    }

    async fn settle(&self, queue: &Queue, outcome: &Outcome) -> Result<bool, QueueError> {
        let begun = clock::now();
        let tried = if matches!(outcome, Outcome::Left(_)) { TRIED_BACK } else { TRIED };
        loop {
            let settled = match outcome {
                Outcome::Done | Outcome::There => queue.acknowledge(&self.taken).await,
                // It may succeed with who has it now.
                _ if !self.is_ours(queue) => return Ok(false),
                Outcome::Failed(failure) => queue.bury(&self.taken, failure).await,
                Outcome::Left(delay) => queue.give_back(&self.taken, *delay).await,
            };
            match settled {
                Ok(()) => return Ok(true),
                Err(error) if clock::now().since(begun) > tried => return Err(error),
                Err(_) => sleep(AGAIN).await,
            }
        }
    }
}
