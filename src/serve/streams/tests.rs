//! Streams whose runs wait for a word: what the registry does meanwhile.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{Asked, Begins, Launch, Launched, Options, Prepared, Put, Status, StreamError, Streams};
use crate::clock::process;
use crate::controls::Controls;
use crate::detections::Feed;
use crate::geometry::Size;
use crate::model::Origin;
use crate::monitoring::{MergedMetrics, Metrics};
use crate::shutdown::Shutdown;
use crate::sink::Hub;

/// A run that ends when its shutdown is requested and the word has come.
struct Waits {
    word: Receiver<()>,
    stopping: Sender<()>,
}

fn launched(name: &str, run: Box<dyn FnOnce() -> Option<String> + Send>) -> Launched {
    let classes: Arc<[String]> = Arc::new(["car".to_owned()]);
    let origin = Origin {
        name: "model".into(),
        sha256: String::new(),
        classes: classes.clone(),
        conf: 0.25,
        iou: 0.7,
        static_size: None,
        default_size: Size { width: 640, height: 640 },
        notices: Vec::new(),
        recorded: None,
    };
    Launched {
        run,
        status: Arc::new(Status::new(name, "test:ball", classes.clone(), (Vec::new(), Vec::new()), process().clone())),
        feed: Feed::new(classes, Box::new(|| {})),
        metrics: Arc::new(Metrics::new(&[name.to_owned()], &origin, process().clone())),
        hub: Hub::new(name),
        controls: Arc::new(Controls::fixed(0.25, false)),
    }
}

impl Launch for Waits {
    fn prepare_for_fleet(&self, name: &str, options: &Options, _: u64) -> Result<Prepared, StreamError> {
        self.prepare(name, options)
    }

    fn prepare(&self, name: &str, _options: &Options) -> Result<Prepared, StreamError> {
        let (name, word, stopping) = (name.to_owned(), self.word.clone(), self.stopping.clone());
        Ok(Box::new(move |Begins { shutdown, .. }| {
            let slow = name == "slow";
            let run = Box::new(move || {
                let _ = shutdown.requested().recv();
                if slow {
                    let _ = (stopping.send(()), word.recv());
                }
                None
            });
            Ok(launched(&name, run))
        }))
    }
}

/// Streams, what tells that the slow one is stopping, and what lets it end.
fn streams() -> (Arc<Streams>, Receiver<()>, Sender<()>) {
    let ((say, word), (stopping, is_stopping)) = (bounded(1), bounded(1));
    let streams =
        Streams::new(Arc::new(Waits { word, stopping }), Arc::new(MergedMetrics::default()), &Shutdown::new(), 1);
    (streams, is_stopping, say)
}

#[test]
fn a_stream_that_is_slow_to_stop_holds_up_no_other() {
    let (streams, is_stopping, say) = streams();
    let options = Options::new();
    assert_eq!(streams.put("slow", &options).expect("it starts"), Put::Created);
    std::thread::scope(|scope| {
        let delete = scope.spawn(|| streams.delete("slow"));
        is_stopping.recv().expect("it is told to stop");
        assert_eq!(streams.put("other", &options).expect("it starts"), Put::Created);
        streams.delete("other").expect("it stops");
        assert!(!delete.is_finished());
        say.send(()).expect("it waits");
        delete.join().expect("no panic").expect("it was there");
    });
    assert!(streams.reports().is_empty());
}

#[test]
fn the_end_of_all_waits_no_longer_than_the_grace_period() {
    let (streams, is_stopping, say) = streams();
    for name in ["quick", "slow"] {
        streams.put(name, &Options::new()).expect("it starts");
    }
    let (late, failed) = streams.end_all(Duration::from_millis(50));
    assert_eq!((late, failed), (vec!["slow: did not finish its outputs within 0.05 s (--grace)".to_owned()], 0));
    assert!(is_stopping.recv().is_ok() && say.send(()).is_ok());
    assert!(matches!(streams.put("late", &Options::new()), Err(StreamError::Stopping)));
}

#[test]
fn what_a_client_did_to_a_configured_stream_is_known_until_it_runs_as_configured_again() {
    let (streams, ..) = streams();
    let configured = || {
        let prepared = Waits { word: bounded(0).1, stopping: bounded(0).0 }.prepare("gate", &Options::new());
        streams.start("gate", Asked::Configuration, || prepared)
    };
    assert!(!streams.is_as_configured("gate"));
    configured().expect("it starts");
    assert!(streams.is_as_configured("gate"));
    let other = Options::from_iter([("conf".to_owned(), 0.5.into())]);
    assert_eq!(streams.put("gate", &other).expect("it starts"), Put::Replaced);
    assert_eq!(streams.put("gate", &other).expect("it runs"), Put::Unchanged);
    assert!(!streams.is_as_configured("gate"));
    assert_eq!(configured().expect("it starts"), Put::Replaced);
    assert!(streams.is_as_configured("gate"));
    streams.delete("gate").expect("it is there");
    assert!(!streams.is_as_configured("gate"));
}

#[test]
fn one_whose_outputs_cannot_be_opened_says_so_and_the_one_before_it_has_ended() {
    let (streams, ..) = streams();
    streams.put("gate", &Options::new()).expect("it starts");
    let refused =
        || -> Result<Prepared, StreamError> { Ok(Box::new(|_| Err(StreamError::Options("gate.mkv: no room".into())))) };
    assert!(streams.start("gate", Asked::Configuration, refused).is_err());
    let report = streams.report("gate").expect("it is known");
    assert_eq!((report.state, report.error.as_deref()), (super::State::Failed, Some("gate.mkv: no room")));
    assert!(!streams.is_as_configured("gate"), "a reload tries it again");
}
