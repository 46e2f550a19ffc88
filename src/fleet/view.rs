//! What an instance knows of its fleet, and what it does for that: every instance works it out alike from what all of them see.

use std::collections::BTreeMap;
use std::time::Duration;

use super::records::{Instance, Owner, Stream};
use crate::clock::HostTime;

/// How long a stream is left to the instance that should take it.
const GRACE: Duration = Duration::from_secs(3);

/// Streams, who runs them, and who is alive; the numbers are those of the writes.
#[derive(Debug, Default)]
pub struct View {
    /// Streams that should run.
    pub streams: BTreeMap<String, (Stream, u64)>,
    /// Who runs them.
    pub owners: BTreeMap<String, (Owner, u64)>,
    /// Instances, and when each was heard of last.
    pub instances: BTreeMap<String, (Instance, HostTime)>,
    /// The last writes of owners that gave up their streams.
    pub(super) given_up: BTreeMap<String, u64>,
    /// Since when streams are nobody's.
    orphans: BTreeMap<String, HostTime>,
}

impl View {
    /// Instances that were heard of within a lease, by id.
    pub fn alive(&self, now: HostTime, lease: Duration) -> impl Iterator<Item = (&str, &Instance)> {
        let alive = self.instances.iter().filter(move |(_, (_, heard))| now.since(*heard) < lease);
        alive.map(|(id, (instance, _))| (id.as_str(), instance))
    }

    /// Streams that `me` should take now.
    pub(super) fn takes(&mut self, me: &str, now: HostTime, lease: Duration) -> Vec<String> {
        let mut load: BTreeMap<&str, u32> = self.alive(now, lease).map(|(id, _)| (id, 0)).collect();
        let mut nobodys = Vec::new();
        for name in self.streams.keys() {
            match self.owners.get(name).and_then(|(owner, _)| load.get_mut(owner.id.as_str())) {
                Some(streams) => *streams += 1,
                None => nobodys.push(name.clone()),
            }
        }
        let since = |name: &String| (name.clone(), self.orphans.get(name).copied().unwrap_or(now));
        let orphans: BTreeMap<String, HostTime> = nobodys.iter().map(since).collect();
        let mut takes = Vec::new();
        for (name, since) in &orphans {
            let has_room = |(id, instance): &(&str, &Instance)| {
                load.get(id).is_some_and(|streams| *streams < instance.capacity) && !instance.refused.contains_key(name)
            };
            let able: Vec<(&str, &Instance)> = self.alive(now, lease).filter(has_room).collect();
            let named = self.streams.get(name).and_then(|(stream, _)| stream.instance.as_deref());
            let wished = able.iter().filter(|(_, instance)| Some(instance.instance.as_str()) == named);
            let wished: Vec<_> = wished.copied().collect();
            let among = if wished.is_empty() { &able } else { &wished };
            // Where most of the room is free; of those that are alike, the first.
            let free = |(id, instance): &&(&str, &Instance)| {
                let streams = u64::from(load.get(id).copied().unwrap_or_default() + 1);
                streams * 1_000_000 / u64::from(instance.capacity.max(1))
            };
            let Some((chosen, _)) = among.iter().min_by_key(free).copied() else { continue };
            let is_overdue = now.since(*since) >= GRACE && among.iter().any(|(id, _)| *id == me);
            let taker = if is_overdue { me } else { chosen };
            if taker == me {
                takes.push(name.clone());
            }
            if let Some((id, _)) = among.iter().find(|(id, _)| *id == taker) {
                *load.entry(*id).or_default() += 1;
            }
        }
        drop(load);
        self.orphans = orphans;
        takes
    }

    /// Whether a stream should move from `me` to an instance that has room for it.
    pub(super) fn moves(&self, name: &str, me: &str, now: HostTime, lease: Duration) -> bool {
        let wished = self.streams.get(name).and_then(|(stream, _)| stream.instance.as_deref());
        let Some(wished) = wished else { return false };
        let named = |id: &str| self.instances.get(id).is_some_and(|(instance, _)| instance.instance == wished);
        // Those that are wished there as well and come first: nobody's, and of the others those before this one.
        let is_before = |(other, (stream, _)): &(&String, &(Stream, u64))| {
            let owner = self.owners.get(*other).map(|(owner, _)| owner.id.as_str());
            let is_there = owner.is_some_and(named);
            stream.instance.as_deref() == Some(wished) && !is_there && (owner.is_none() || other.as_str() < name)
        };
        let coming = self.streams.iter().filter(is_before).count();
        let has_room = |id: &str, instance: &Instance| {
            let runs = self.owners.values().filter(|(owner, _)| owner.id == id).count();
            runs + coming < instance.capacity as usize && !instance.refused.contains_key(name)
        };
        !named(me) && self.alive(now, lease).any(|(id, instance)| instance.instance == wished && has_room(id, instance))
    }

    /// The last write of a stream's owner, which who takes it has to know.
    pub(super) fn written(&self, name: &str) -> u64 {
        let owned = self.owners.get(name).map(|(_, write)| *write);
        owned.or_else(|| self.given_up.get(name).copied()).unwrap_or_default()
    }

    /// Has every instance be heard of now: whoever was paused does not know who was.
    pub(super) fn hear_all(&mut self, now: HostTime) {
        self.instances.values_mut().for_each(|(_, heard)| *heard = now);
    }

    /// Streams whose owner is gone.
    pub(super) fn has_left_over(&self, now: HostTime, lease: Duration) -> bool {
        let is_alive = |id: &str| self.alive(now, lease).any(|(alive, _)| alive == id);
        self.owners.values().any(|(owner, _)| !is_alive(&owner.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> HostTime {
        HostTime::from_start(Duration::from_secs(seconds))
    }

    fn instance(name: &str, capacity: u32) -> Instance {
        Instance { instance: name.to_owned(), capacity, refused: BTreeMap::new() }
    }

    fn view(streams: usize, instances: &[(&str, u32)]) -> View {
        let options = toml::Table::from_iter([("source".to_owned(), "test:ball".into())]);
        let mut view = View::default();
        for number in 0..streams {
            let stream = Stream { options: options.clone(), instance: None };
            view.streams.insert(format!("cam{number:02}"), (stream, 1));
        }
        for (name, capacity) in instances {
            view.instances.insert(format!("{name}-1"), (instance(name, *capacity), at(0)));
        }
        view
    }

    fn own(view: &mut View, name: &str, id: &str) {
        let owner = Owner { id: id.to_owned(), instance: id.trim_end_matches("-1").to_owned() };
        view.owners.insert(name.to_owned(), (owner, 1));
    }

    #[test]
    fn streams_are_spread_by_room_and_each_is_taken_once() {
        let of = |id: &str| view(12, &[("a", 8), ("b", 4), ("c", 4)]).takes(id, at(1), LEASE);
        let taken = [of("a-1"), of("b-1"), of("c-1")];
        assert_eq!(taken.each_ref().map(Vec::len), [6, 3, 3]);
        let mut all = taken.concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 12);
        // What has no room waits.
        assert_eq!(view(9, &[("a", 2)]).takes("a-1", at(1), LEASE).len(), 2);
    }

    #[test]
    fn those_of_who_is_gone_are_taken_and_no_others() {
        let mut view = view(4, &[("a", 4), ("b", 4)]);
        own(&mut view, "cam00", "a-1");
        own(&mut view, "cam01", "a-1");
        own(&mut view, "cam02", "b-1");
        own(&mut view, "cam03", "b-1");
        assert!(view.takes("b-1", at(5), LEASE).is_empty() && !view.has_left_over(at(5), LEASE));
        view.instances.get_mut("b-1").expect("b").1 = at(9);
        assert!(view.has_left_over(at(11), LEASE));
        assert_eq!(view.takes("b-1", at(11), LEASE), ["cam00", "cam01"]);
    }

    #[test]
    fn what_is_left_lying_is_taken_by_whoever_has_room() {
        let mut view = view(1, &[("a", 4), ("b", 4)]);
        assert!(view.takes("b-1", at(1), LEASE).is_empty());
        assert_eq!(view.takes("b-1", at(4), LEASE), ["cam00"]);
        // Not where it does not run.
        view.instances.get_mut("b-1").expect("b").0.refused.insert("cam00".into(), "why".into());
        assert!(view.takes("b-1", at(5), LEASE).is_empty());
    }

    #[test]
    fn a_stream_goes_where_it_is_wished_while_there_is_room() {
        let mut view = view(2, &[("a", 4), ("b", 1)]);
        view.streams.get_mut("cam01").expect("it").0.instance = Some("b".into());
        own(&mut view, "cam00", "a-1");
        own(&mut view, "cam01", "a-1");
        assert!(view.moves("cam01", "a-1", at(1), LEASE) && !view.moves("cam00", "a-1", at(1), LEASE));
        view.owners.remove("cam01");
        assert!(view.takes("a-1", at(1), LEASE).is_empty());
        assert_eq!(view.takes("b-1", at(1), LEASE), ["cam01"]);
        // Full: it stays, and is anybody's.
        own(&mut view, "cam00", "b-1");
        assert!(!view.moves("cam01", "a-1", at(1), LEASE));
        assert_eq!(view.takes("a-1", at(1), LEASE), ["cam01"]);
    }

    #[test]
    fn no_more_streams_move_than_there_is_room_for() {
        let mut view = view(3, &[("a", 4), ("b", 2)]);
        for name in ["cam00", "cam01", "cam02"] {
            view.streams.get_mut(name).expect("it").0.instance = Some("b".into());
            own(&mut view, name, "a-1");
        }
        let moving = |view: &View| ["cam00", "cam01", "cam02"].map(|name| view.moves(name, "a-1", at(1), LEASE));
        assert_eq!(moving(&view), [true, true, false]);
        // One is on its way, and one there.
        view.owners.remove("cam00");
        own(&mut view, "cam01", "b-1");
        assert!(!view.moves("cam02", "a-1", at(1), LEASE));
    }
}
