use super::*;

fn message(number: u64) -> Message {
    Message {
        topic: "gate/detections".into(),
        run: "run".into(),
        key: number.to_string(),
        payload: format!("payload {number}").into_bytes(),
    }
}

fn keys(spool: &Spool) -> Vec<String> {
    let mut reader = spool.reader();
    std::iter::from_fn(|| reader.next(spool).expect("it is read")).map(|(_, message)| message.key).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn filled(folder: &Path, limit: u64, count: u64) -> Spool {
    let (mut spool, _) = Spool::open(folder, limit).expect("a spool");
    (0..count).for_each(|number| spool.append(&message(number), 0).expect("it fits"));
    spool
}

/// Segments with something in them, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ending| ending == "seg")).collect();
    files.retain(|path| path.metadata().expect("a file").len() > 0);
    files.sort();
    files
}

#[test]
fn what_is_not_acknowledged_is_there_again_in_order_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut spool = filled(folder.path(), 1 << 20, 500);
    spool.ack(122).expect("it is noted");
    drop(spool);
    let (mut spool, found) = Spool::open(folder.path(), 1 << 20).expect("a spool");
    assert_eq!(found, Found { messages: 377, cut: 0 });
    assert_eq!(keys(&spool), numbers(123..500));
    spool.append(&message(500), 0).expect("it fits");
    assert_eq!(keys(&spool), numbers(123..501));
    spool.ack(500).expect("it is noted");
    assert_eq!((spool.waiting(), keys(&spool).len()), (0, 0));
    drop(spool);
    let (spool, found) = Spool::open(folder.path(), 1 << 20).expect("a spool");
    assert_eq!((found, spool.waiting(), spool.next), (Found::default(), 0, 501), "positions go on");
}

#[test]
fn what_does_not_fit_is_refused_and_room_comes_back_segment_by_segment() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut spool, _) = Spool::open(folder.path(), 64 << 10).expect("a spool");
    let taken = (0..10_000).take_while(|number| spool.append(&message(*number), 0).is_ok()).count() as u64;
    assert!(taken > 500 && spool.bytes() <= 64 << 10, "{taken}");
    let on_disk: u64 = files(folder.path()).iter().map(|path| path.metadata().expect("a file").len()).sum();
    assert_eq!(on_disk, spool.bytes());
    spool.ack(taken / 2).expect("it is noted");
    assert!(spool.append(&message(taken), 0).is_ok(), "there is room again");
    assert_eq!(keys(&spool), numbers(taken / 2 + 1..taken + 1));
    spool.ack(taken).expect("it is noted");
    for number in 0..5000 {
        spool.append(&message(number), 0).expect("all is acknowledged");
        spool.ack(taken + 1 + number).expect("it is noted");
    }
    assert!(files(folder.path()).len() <= 2);
}

#[test]
fn a_torn_tail_is_cut_off_whatever_is_left_of_it() {
    for torn in [1, HEAD - 1, HEAD, HEAD + 7] {
        let folder = tempfile::tempdir().expect("a folder");
        drop(filled(folder.path(), 1 << 20, 10));
        let last = files(folder.path()).pop().expect("a segment");
        let whole = std::fs::read(&last).expect("a segment");
        let length = whole.len() / 10;
        std::fs::write(&last, &whole[..length * 9 + torn]).expect("it is torn");
        let (spool, found) = Spool::open(folder.path(), 1 << 20).expect("a spool");
        assert_eq!(found, Found { messages: 9, cut: torn as u64 });
        assert_eq!(keys(&spool), numbers(0..9));
    }
}

#[test]
fn a_damaged_segment_costs_what_follows_in_it_and_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(filled(folder.path(), 32 << 10, 200));
    let segments = files(folder.path());
    assert!(segments.len() > 2);
    let mut bytes = std::fs::read(&segments[1]).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&segments[1], bytes).expect("it is damaged");
    let (spool, found) = Spool::open(folder.path(), 32 << 10).expect("a spool");
    let keys = keys(&spool);
    assert!(found.cut > 0 && keys.len() > 100 && keys.len() < 200, "{found:?}, {}", keys.len());
    let read: Vec<u64> = keys.iter().map(|key| key.parse().expect("a number")).collect();
    assert!(read.is_sorted() && read.last() == Some(&199) && read[0] == 0);
}

#[test]
fn two_cannot_have_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = filled(folder.path(), 1 << 20, 1);
    assert!(matches!(Spool::open(folder.path(), 1 << 20), Err(SpoolError::Locked { .. })));
    drop(first);
    assert!(Spool::open(folder.path(), 1 << 20).is_ok());
    let id = identity(folder.path()).expect("an id");
    assert_eq!(identity(folder.path()).expect("an id"), id);
}

proptest::proptest! {
    /// No file is too broken: it is opened, and what comes out of it was put in.
    #[test]
    fn fuzz_segments(at in 0usize..4000, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
        let folder = tempfile::tempdir().expect("a folder");
        drop(filled(folder.path(), 1 << 20, 60));
        let path = files(folder.path()).pop().expect("a segment");
        let mut segment = std::fs::read(&path).expect("a segment");
        let at = at.min(segment.len());
        let end = (at + bytes.len()).min(segment.len());
        segment.splice(at..end, bytes);
        std::fs::write(&path, segment).expect("it is damaged");
        let (spool, _) = Spool::open(folder.path(), 1 << 20).expect("a spool");
        let mut reader = spool.reader();
        let mut last = None;
        while let Some((position, read)) = reader.next(&spool).expect("it is read") {
            proptest::prop_assert_eq!(read.payload, message(position).payload);
            proptest::prop_assert!(last < Some(position));
            last = Some(position);
        }
    }
}
