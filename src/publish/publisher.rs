//! The output that publishes, and its thread.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::follow::Follower;
use super::inbox::Inbox;
use super::link::Link;
use super::message::uuid;
use super::plan::{Plan, PublishError, Route};
use super::sink::PublishSink;
use super::spool::{Spool, identity};
use super::target::Protocol;
use super::views::Views;
use super::voice::Voice;
use super::{kafka, mqtt, nats, tls};
use crate::backoff::Backoff;
use crate::clock::Deadline;
use crate::detections::{DetectionError, DetectionOutput, DetectionSink, FileNames, Say};
use crate::frame::pixelate::Pixelation;
use crate::geometry::Size;
use crate::shutdown::Shutdown;
use crate::stream::StreamId;
use crate::text::counted;
use crate::thread::{Thread, ThreadError, spawn};

/// Delays before a broker is connected again.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// Reasons that are said of one outage, at most.
const REASONS: usize = 4;
/// How long the end may take: a spool is not emptied at any price, since the next run goes on with it.
const CLOSE: Duration = Duration::from_secs(40);
/// The same where the run is to stop.
const STOP: Duration = Duration::from_secs(10);
/// How long a thread that has nothing left to do may take to end.
const SOON: Duration = Duration::from_secs(5);

/// Publishes all streams of a run.
pub struct Publisher {
    plan: Arc<Plan>,
    classes: Arc<[String]>,
    pixelation: Pixelation,
    /// Whether frames may wait for a moment, by stream.
    may_wait: Vec<bool>,
    /// One a route.
    inboxes: Vec<Inbox>,
    voice: Arc<Voice>,
    /// The thread is to end, whatever is left.
    quit: Arc<Notify>,
    thread: Mutex<Option<Thread<()>>>,
}

impl Publisher {
    /// Opens the spools and starts the thread. `may_wait` says of each stream whether its frames may wait for a moment: those of
    /// recordings. What `pixelation` names is pixelated in crops.
    ///
    /// # Errors
    /// When there is no spool, no certificate or no thread.
    pub fn open(
        plan: Arc<Plan>,
        classes: Arc<[String]>,
        may_wait: Vec<bool>,
        pixelation: Pixelation,
    ) -> Result<Self, PublishError> {
        let request = &plan.request;
        let is_tls = plan.routes.iter().any(|route| route.target.tls);
        let tls = if is_tls { Some(Arc::new(tls::config(request.tls_ca.as_deref())?)) } else { None };
        let (voice, run) = (Arc::new(Voice::default()), uuid());
        let mut inboxes = Vec::new();
        let mut parts = Vec::new();
        for route in &plan.routes {
            let folder = request.spool.join(route.folder());
            let spool = opened(&folder, route, request.spool_bytes, &voice)?;
            let id = identity(&folder)?;
            let inbox = Inbox::default();
            inboxes.push(inbox.clone());
            let home_assistant = request.home_assistant.clone().filter(|_| route.target.protocol == Protocol::Mqtt);
            let tls = tls.clone().filter(|_| route.target.tls).map(|tls| (tls, request.tls_ca.clone()));
            parts.push(((route.clone(), request.format, home_assistant), (spool, inbox), (id, run.clone()), tls));
        }
        let routes = plan.routes.iter().cloned();
        let (told, waiting) = (voice.clone(), routes.zip(inboxes.clone()).collect());
        let quit = Arc::new(Notify::new());
        let asked = quit.clone();
        let thread = spawn("publish", move || {
            // However it ends, nobody waits for it.
            let _gone = Gone(waiting);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return told.say(&format!("--publish: {error}; nothing is published")),
            };
            let links: Vec<Link> = parts
                .into_iter()
                .map(|(what, from, names, tls)| Link::new(what, from, names, tls, told.clone()))
                .collect();
            runtime.block_on(async {
                tokio::select! {
                    _ = join_all(links.iter().map(publish)) => {}
                    () = asked.notified() => {}
                }
            });
            // What is left behind ends by itself.
            runtime.shutdown_background();
        })?;
        Ok(Self { plan, classes, pixelation, may_wait, inboxes, voice, quit, thread: Mutex::new(Some(thread)) })
    }
}

fn opened(folder: &Path, route: &Route, limit: u64, voice: &Voice) -> Result<Spool, PublishError> {
    let (spool, found) = Spool::open(folder, limit)?;
    let (name, target) = (&route.name, &route.target);
    if found.messages > 0 {
        let messages = counted(found.messages, "message");
        voice.say(&format!("{name}: {target}: {messages} of an earlier run are sent first"));
    }
    if found.cut > 0 {
        let cut = counted(found.cut, "byte");
        voice.say(&format!("{name}: {target}: the spool was damaged: {cut} were no whole message, and are gone"));
    }
    Ok(spool)
}

/// Closes inboxes when it is dropped.
struct Gone(Vec<(Arc<Route>, Inbox)>);

impl Drop for Gone {
    fn drop(&mut self) {
        for (route, inbox) in &self.0 {
            route.figures.lost.fetch_add(inbox.close(), Ordering::Relaxed);
        }
    }
}

/// Publishes a stream to a broker until its end.
async fn publish(link: &Link) {
    let sending = async {
        tokio::select! {
            () = sessions(link) => {}
            () = link.given_up() => {}
        }
    };
    futures_util::future::join(link.take_in(), sending).await;
    link.route.figures.is_connected.store(false, Ordering::Relaxed);
    link.conclude();
}

/// One connection after the other.
async fn sessions(link: &Link) {
    let (figures, target) = (&link.route.figures, &link.route.target);
    let mut backoff = Backoff::new(FIRST, LONGEST);
    let mut delay = Duration::ZERO;
    let mut was_connected = false;
    // Why it is not connected, as it was said.
    let mut said: Vec<String> = Vec::new();
    let mut kept = kafka::Kept::default();
    loop {
        let held = Deadline::after(delay);
        let connected = || {
            if was_connected {
                figures.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            figures.is_connected.store(true, Ordering::Relaxed);
            if !said.is_empty() {
                link.voice.say(&format!("{}: {target}: connected", link.route.name));
            }
        };
        let outcome = match target.protocol {
            Protocol::Mqtt => mqtt::session(link, &connected).await,
            Protocol::Nats => nats::session(link, &connected).await,
            Protocol::Kafka => kafka::session(link, &mut kept, &connected).await,
        };
        let Err(problem) = outcome else { return };
        let had_connection = figures.is_connected.swap(false, Ordering::Relaxed);
        // A broker that ends every connection at once is not asked twice a second.
        if had_connection && held.is_over() {
            backoff.reset();
        }
        if had_connection {
            said.clear();
        }
        if said.len() < REASONS && !said.contains(&problem) {
            link.voice.say(&format!(
                "{}: {target}: {problem}; messages are kept on disk until it is connected",
                link.route.name
            ));
            said.push(problem);
        }
        was_connected |= had_connection;
        delay = backoff.next_delay();
        // At the end it is not waited for long.
        let over = tokio::time::sleep(if link.is_ended() { delay.min(FIRST) } else { delay });
        tokio::select! {
            () = over => {}
            () = link.ended() => {}
        }
    }
}

impl DetectionOutput for Publisher {
    fn sink(&self, stream: StreamId, _: &FileNames, _: &Shutdown) -> Box<dyn DetectionSink> {
        let request = &self.plan.request;
        let own = self.plan.routes.iter().zip(&self.inboxes).filter(|(route, _)| route.stream == stream);
        let name = self.plan.of(stream).next().map_or_else(String::new, |route| route.name.clone());
        Box::new(PublishSink {
            stream,
            name,
            classes: self.classes.clone(),
            routes: own.map(|(route, inbox)| (route.clone(), inbox.clone())).collect(),
            format: request.format,
            on: request.on(),
            may_wait: self.may_wait.get(stream.0 as usize).copied().unwrap_or(false),
            interval_ns: request.interval_ns(),
            views: request.crops.then(|| Views::new(self.pixelation.clone(), self.voice.clone())),
            follower: Follower::new(request.interval_ns()),
            counts: None,
            told: None,
            next_ns: 0,
            size: Size { width: 0, height: 0 },
        })
    }

    fn listen(&self, say: Say) {
        self.voice.listen(&say);
    }

    /// Waits for the brokers, for a bounded time: what they do not acknowledge is the next run's.
    fn finish(&self, stopping: &Shutdown) -> Result<(), DetectionError> {
        self.inboxes.iter().for_each(Inbox::end);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let within = if stopping.is_requested() { STOP } else { CLOSE };
        let failed =
            |problem: ThreadError| DetectionError::Output { option: "--publish", problem: problem.to_string() };
        let Some(thread) = thread else { return Ok(()) };
        if thread.ends_within(within) {
            return thread.join().map_err(failed);
        }
        self.voice.say("--publish: not all is sent; the rest is kept on disk for the next run");
        // The spool is to be free for it.
        self.quit.notify_one();
        match thread.join_within(SOON) {
            // Whatever holds it up: exit codes do not depend on brokers.
            Err(late @ ThreadError::Late { .. }) => {
                self.voice.say(&format!("--publish: {late}"));
                Ok(())
            }
            ended => ended.map_err(failed),
        }
    }
}

/// One that is not used after all.
impl Drop for Publisher {
    fn drop(&mut self) {
        self.inboxes.iter().for_each(Inbox::end);
    }
}
