//! The same lanes over loom's locks: every assertion holds in every order in which the threads can take turns, and none of
//! them waits forever (loom reports a deadlock).

mod sync {
    pub use loom::sync::atomic::{AtomicUsize, Ordering};
    pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
    pub use std::sync::PoisonError;
}

#[path = "../lanes.rs"]
#[expect(dead_code, reason = "the models do not call everything")]
#[expect(clippy::duplicate_mod, reason = "once over the locks of std, once over those of loom")]
mod lanes;

use loom::thread;

use lanes::{Closed, RecvError, WhenFull, lanes};

/// Tries every order with at most so many preemptions: what goes wrong does so with two or three.
fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

#[test]
fn no_wake_up_is_lost_between_a_full_lane_and_its_receiver() {
    model(3, || {
        let (mut senders, lanes) = lanes("model", 1, 1);
        let lane = senders.remove(0);
        let sender = thread::spawn(move || {
            for item in 0..2 {
                lane.send(item).expect("the receiver stays");
            }
        });
        for item in 0..2 {
            assert_eq!(lanes.take(None).map(|received| (received.item, received.evicted)), Ok((item, 0)));
        }
        assert_eq!(lanes.take(None).map(|received| received.item), Err(RecvError::Disconnected));
        sender.join().expect("no panic");
    });
}

#[test]
fn two_senders_wake_one_receiver() {
    model(2, || {
        let (mut senders, lanes) = lanes("model", 2, 1);
        let threads: Vec<_> =
            senders.drain(..).zip(0..).map(|(lane, item)| thread::spawn(move || lane.send(item))).collect();
        let mut seen: Vec<_> = (0..2).map(|_| lanes.take(None).expect("it comes")).map(|r| (r.lane, r.item)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 0), (1, 1)]);
        assert_eq!(lanes.take(None).map(|received| received.item), Err(RecvError::Disconnected));
        for thread in threads {
            thread.join().expect("no panic").expect("the receiver stays");
        }
    });
}

/// Item 2 may evict item 1; the note before them stays where it was, and what was sent is received or counted.
#[test]
fn notes_keep_their_place_and_evictions_are_counted() {
    const NOTE: u64 = 100;
    model(3, || {
        let (mut senders, lanes) = lanes("model", 1, 1);
        let lane = senders.remove(0);
        lane.set_when_full(WhenFull::DropOldest);
        let sender = thread::spawn(move || {
            lane.note(NOTE).expect("the receiver stays");
            for item in [1, 2] {
                lane.send(item).expect("the receiver stays");
            }
        });
        let (mut received, mut evicted) = (Vec::new(), 0);
        while let Ok(taken) = lanes.take(None) {
            received.push(taken.item);
            evicted += taken.evicted;
        }
        assert_eq!((received[0], received.last().copied()), (NOTE, Some(2)));
        assert_eq!(received.len() as u64 - 1 + evicted, 2, "{received:?}");
        sender.join().expect("no panic");
    });
}

#[test]
fn a_receiver_that_goes_away_ends_every_wait_of_its_senders() {
    model(3, || {
        let (mut senders, lanes) = lanes("model", 1, 1);
        let (lane, other) = (senders[0].clone(), senders.remove(0));
        lane.send(0).expect("room");
        let sender = thread::spawn(move || lane.send(1));
        drop(lanes);
        assert_eq!(sender.join().expect("no panic"), Err(Closed));
        assert_eq!((other.send(2), other.note(3)), (Err(Closed), Err(Closed)));
    });
}

#[test]
fn the_last_sender_that_goes_away_ends_the_receiver_s_wait() {
    model(3, || {
        let (mut senders, lanes) = lanes::<u64>("model", 2, 1);
        let (first, second) = (senders.remove(0), senders.remove(0));
        let threads = [first, second].map(|lane| thread::spawn(move || drop(lane)));
        assert_eq!(lanes.take(None).map(|received| received.item), Err(RecvError::Disconnected));
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}
