//! What there is to see of a fleet.

use std::fmt::{Display, Formatter};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::records::{Instance, Owner, Stream};
use super::view::View;
use crate::clock::HostTime;
use crate::secrets::redact;
use crate::text::{in_one_line, printable};

/// Streams with who runs them, and instances with what they run.
pub struct Listing<'a> {
    /// What is known.
    pub view: &'a View,
    /// When.
    pub now: HostTime,
    /// How long an instance is taken to be alive that says nothing.
    pub lease: Duration,
}

impl Listing<'_> {
    fn alive(&self) -> impl Iterator<Item = (&str, &Instance)> {
        self.view.alive(self.now, self.lease)
    }

    fn runs(&self, id: &str) -> usize {
        self.view.owners.values().filter(|(owner, _)| owner.id == id).count()
    }

    /// Streams by name, and their owner with the epoch and whether that is alive.
    fn streams(&self) -> impl Iterator<Item = (&String, &Stream, Option<(&Owner, u64, bool)>)> {
        self.view.streams.iter().map(|(name, (stream, _))| {
            let owner = self.view.owners.get(name);
            let owner = owner.map(|(owner, epoch)| (owner, *epoch, self.alive().any(|(id, _)| id == owner.id)));
            (name, stream, owner)
        })
    }

    /// As an object of JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let stream = |(name, stream, owner): (&String, &Stream, Option<(&Owner, u64, bool)>)| {
            let told = json!({
                "source": redact(source(stream)),
                "wished": stream.instance,
                "instance": owner.map(|(owner, ..)| &owner.instance),
                "id": owner.map(|(owner, ..)| &owner.id),
                "epoch": owner.map(|(_, epoch, _)| epoch),
                "alive": owner.is_some_and(|(.., alive)| alive),
            });
            (name.clone(), told)
        };
        let instance = |(id, found): (&str, &Instance)| {
            let Instance { instance, capacity, refused } = found;
            (
                id.to_owned(),
                json!({"instance": instance, "capacity": capacity, "streams": self.runs(id), "refused": refused}),
            )
        };
        let streams: Map<String, Value> = self.streams().map(stream).collect();
        let instances: Map<String, Value> = self.alive().map(instance).collect();
        json!({"streams": streams, "instances": instances, "lease_s": self.lease.as_secs_f64()})
    }
}

impl Display for Listing<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let mut rows = vec![["stream", "instance", "epoch", "source"].map(str::to_owned)];
        rows.extend(self.streams().map(|(name, stream, owner)| {
            let instance = match owner {
                Some((owner, _, true)) => owner.instance.clone(),
                Some((owner, _, false)) => format!("({} is gone)", owner.instance),
                None => "(none)".to_owned(),
            };
            let epoch = owner.map_or(String::new(), |(_, epoch, _)| epoch.to_string());
            [name.clone(), instance, epoch, redact(source(stream))].map(|cell| printable(&cell))
        }));
        table(&rows, f)?;
        writeln!(f)?;
        let mut rows = vec![["instance", "streams", "capacity", "id"].map(str::to_owned)];
        rows.extend(self.alive().map(|(id, found)| {
            let row = [found.instance.clone(), self.runs(id).to_string(), found.capacity.to_string(), id.to_owned()];
            row.map(|cell| printable(&cell))
        }));
        table(&rows, f)?;
        for (_, Instance { instance, refused, .. }) in self.alive() {
            for (name, why) in refused {
                let (name, instance) = (printable(name), printable(instance));
                writeln!(f, "  {name} does not run on {instance}: {}", printable(&redact(&in_one_line(why))))?;
            }
        }
        Ok(())
    }
}

fn source(stream: &Stream) -> &str {
    stream.options.get("source").and_then(toml::Value::as_str).unwrap_or_default()
}

/// Rows, the first of which is the head, with every column as wide as its widest.
fn table<const N: usize>(rows: &[[String; N]], f: &mut Formatter<'_>) -> std::fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
