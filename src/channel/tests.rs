//! Lanes in ordinary threads.

use std::time::Duration;

use super::*;
use crate::clock::Deadline;

fn now() -> Deadline {
    Deadline::after(Duration::ZERO)
}

fn taken(lanes: &Lanes<u32>) -> Vec<(usize, u32, u64)> {
    std::iter::from_fn(|| lanes.take(Some(now())).ok()).map(|t| (t.lane, t.item, t.evicted)).collect()
}

#[test]
fn lanes_take_turns() {
    let (senders, lanes) = lanes("test", 3, 4);
    for n in 0..4 {
        senders[0].send(n).expect("room");
    }
    senders[2].send(20).expect("room");
    senders[2].send(21).expect("room");
    assert_eq!((lanes.waiting(), lanes.capacity()), (6, 12));
    let order: Vec<u32> = taken(&lanes).into_iter().map(|(_, item, _)| item).collect();
    assert_eq!(order, [0, 20, 1, 21, 2, 3]);
}

#[test]
fn a_lane_that_is_held_waits_and_is_not_at_its_end() {
    let (mut senders, lanes) = lanes("test", 2, 4);
    for (sender, n) in senders.iter().zip([1, 2]) {
        sender.send(n).expect("room");
    }
    lanes.hold(0, true);
    senders.clear();
    assert_eq!(taken(&lanes).into_iter().map(|(_, item, _)| item).collect::<Vec<u32>>(), [2]);
    assert_eq!(lanes.take(Some(now())).map(|taken| taken.item), Err(RecvError::Timeout));
    lanes.hold(0, false);
    assert_eq!(lanes.take(Some(now())).map(|taken| taken.item), Ok(1));
    assert_eq!(lanes.take(None).map(|taken| taken.item), Err(RecvError::Disconnected));
}

#[test]
fn the_newest_win_and_notes_stay() {
    let (senders, lanes) = lanes("test", 1, 2);
    senders[0].set_when_full(WhenFull::DropOldest);
    for n in 0..3 {
        senders[0].send(n).expect("it never waits");
    }
    senders[0].note(100).expect("a note");
    for n in 3..6 {
        senders[0].send(n).expect("it never waits");
    }
    assert!(senders[0].is_full());
    assert_eq!(taken(&lanes), [(0, 100, 4), (0, 4, 0), (0, 5, 0)]);
}

#[test]
fn a_full_lane_waits_for_room_and_no_longer_than_there_is_a_receiver() {
    let (senders, lanes) = lanes("test", 1, 1);
    let lane = senders[0].clone();
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || (0..100).take_while(|n| lane.send(*n).is_ok()).count());
        for n in 0..50 {
            assert_eq!(lanes.take(None).expect("it comes").item, n);
        }
        drop(lanes);
        assert!(sender.join().expect("no panic") < 100);
    });
    assert_eq!(senders[0].note(1), Err(Closed));
}

#[test]
fn the_end_is_seen_once_all_is_taken() {
    let (senders, lanes) = lanes("test", 2, 2);
    senders[1].send(7).expect("room");
    let soon = || Some(Deadline::after(Duration::from_millis(1)));
    assert_eq!(lanes.take(soon()).expect("it is there").item, 7);
    assert_eq!(lanes.take(soon()).map(|t| t.item), Err(RecvError::Timeout));
    std::thread::scope(|scope| {
        scope.spawn(move || drop(senders));
        assert_eq!(lanes.take(None).map(|t| t.item), Err(RecvError::Disconnected));
    });
}

#[test]
fn what_nobody_took_is_given_back_when_the_lanes_close() {
    let (senders, lanes) = lanes("test", 2, 1);
    senders[1].set_when_full(WhenFull::DropOldest);
    for n in 0..3 {
        senders[1].send(n).expect("it never waits");
    }
    senders[1].note(10).expect("a note");
    let rest: Vec<_> = lanes.close().into_iter().map(|rest| (rest.items, rest.evicted)).collect();
    assert_eq!(rest, [(vec![], 0), (vec![2, 10], 2)]);
    assert_eq!(senders[0].send(1), Err(Closed));
}
