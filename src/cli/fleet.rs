//! `streamdet fleet`: streams that several machines share; and what makes `serve` one of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Command, Subcommand};

use super::detect::DetectArgs;
use super::launch::task;
use super::messages::{or_unusable, print, print_line};
use crate::clock;
use crate::config::{Layers, check_name, stream_from};
use crate::fleet::{Address, Capacity, FleetError, Instance, Joining, Listing, Member, Store, Stream, with_store};
use crate::monitoring::MergedMetrics;
use crate::secrets::redact;
use crate::serve::streams::{FleetStreams, Streams};
use crate::text::{counted, in_one_line};
use crate::units::length;

const EXAMPLES: &str = "Examples:
  streamdet bench rtsp://cam/main --max-streams --report capacity.json    how many this machine keeps up with
  streamdet serve --fleet nats://hub --capacity capacity.json             on each machine
  streamdet fleet add nats://hub gate=rtsp://gate/main yard=rtsp://yard/main --set track=true
  streamdet fleet list nats://hub
  streamdet fleet move nats://hub gate box2
  streamdet fleet remove nats://hub yard

A fleet is nats[s]://[USER:PASSWORD@]HOST[:PORT][/NAME]; NAME is streamdet unless it is given. Whoever can write there can start any source \
with any option on every instance: give the server users and passwords.";

/// Options of `serve` that make it an instance of a fleet.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fleet")]
pub struct FleetOptions {
    /// Run streams that several machines share: nats[s]://[USER:PASSWORD@]HOST[:PORT][/NAME]
    #[arg(long, value_name = "URL")]
    fleet: Option<Address>,
    /// Take so many streams of the fleet at most: a number, or the report of `bench --max-streams --report`
    #[arg(long, value_name = "N|FILE")]
    capacity: Option<Capacity>,
    /// Name in the fleet [default: the host's name]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Of a fleet without instances: streams of one are taken by others when nothing was heard of it for so long [default: 10s]
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    fleet_lease: Option<Duration>,
    /// CA certificates to trust for a natss:// fleet, a PEM file [default: the system's]
    #[arg(long, value_name = "FILE")]
    fleet_ca: Option<PathBuf>,
}

impl FleetOptions {
    /// What stands against it.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match (&self.fleet, &self.capacity) {
            (Some(_), None) => Err(anyhow!(
                "--fleet: how many streams this machine keeps up with is not said\n  give --capacity a number, or the report of `streamdet bench SOURCE --max-streams --report capacity.json`"
            )),
            _ => Ok(()),
        }
    }

    /// Joins, where it is asked for.
    pub(super) fn join(&self, streams: &Arc<Streams>, metrics: &Arc<MergedMetrics>) -> anyhow::Result<Option<Member>> {
        let Some((address, capacity)) = self.fleet.clone().zip(self.capacity) else { return Ok(None) };
        let host = || gstreamer::glib::host_name().to_string();
        let joining = Joining {
            address,
            lease: self.fleet_lease,
            instance: self.instance.clone().unwrap_or_else(host),
            capacity: capacity.0,
            runs: Arc::new(FleetStreams(streams.clone())),
            say: Box::new(|text| print_line(&format!("  {}", redact(&in_one_line(text))))),
        };
        let member = Member::join(joining, self.fleet_ca.as_deref())?;
        metrics.count_fleet(member.figures.clone());
        Ok(Some(member))
    }
}

/// Options of `fleet`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct FleetArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Streams with who runs them, and instances with what they run
    List {
        #[command(flatten)]
        at: At,
        /// As JSON on standard output
        #[arg(long)]
        json: bool,
    },
    /// Add streams, or give those that are there other options
    Add {
        #[command(flatten)]
        at: At,
        /// Names, and sources as `detect` takes them
        #[arg(required = true, value_name = "NAME=SOURCE")]
        streams: Vec<String>,
        /// An option of `detect` for them, as in a [[stream]] of the config file: track=true, conf=0.4, publish="mqtt://broker"
        #[arg(long, value_name = "OPTION=VALUE")]
        set: Vec<String>,
    },
    /// Stop streams, and forget them
    Remove {
        #[command(flatten)]
        at: At,
        /// Names
        #[arg(required = true, value_name = "NAME")]
        streams: Vec<String>,
    },
    /// Have a stream run on an instance while that has room for it
    Move {
        #[command(flatten)]
        at: At,
        /// Its name
        stream: String,
        /// The instance's name; without it, wherever there is room
        instance: Option<String>,
    },
}

/// Where the fleet is.
#[derive(Debug, Args)]
struct At {
    /// Fleet: nats[s]://[USER:PASSWORD@]HOST[:PORT][/NAME]
    fleet: Address,
    /// CA certificates to trust for natss://, a PEM file [default: the system's]
    #[arg(long, value_name = "FILE")]
    fleet_ca: Option<PathBuf>,
    /// Of a fleet without instances: streams of one are taken by others when nothing was heard of it for so long [default: 10s]
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    fleet_lease: Option<Duration>,
}

impl At {
    fn with<T>(&self, what: impl AsyncFnOnce(&Store) -> Result<T, FleetError>) -> anyhow::Result<T> {
        Ok(with_store(&self.fleet, self.fleet_ca.as_deref(), self.fleet_lease, what)?)
    }
}

/// Runs the command; returns the exit code.
#[must_use]
pub fn run(args: &FleetArgs, all: Command) -> u8 {
    or_unusable(match &args.action {
        Action::List { at, json } => list(at, *json),
        Action::Add { at, streams, set } => add(at, (streams, set), &Layers::silent(all)),
        Action::Remove { at, streams } => remove(at, streams),
        Action::Move { at, stream, instance } => change(at, stream, instance.as_deref()),
    })
}

fn list(at: &At, as_json: bool) -> anyhow::Result<u8> {
    let (view, lease) = at.with(async |store| Ok((store.seen().await?, store.lease())))?;
    let listing = Listing { view: &view, now: clock::now(), lease };
    print(&if as_json { format!("{}\n", listing.json()) } else { listing.to_string() });
    Ok(0)
}

fn add(at: &At, (streams, set): (&[String], &[String]), layers: &Layers) -> anyhow::Result<u8> {
    // Test patterns are asked of it.
    gstreamer::init()?;
    let mut common = toml::Table::new();
    for text in set {
        // It may hold a password.
        let (key, value) = text.split_once('=').ok_or_else(|| anyhow!("--set: give OPTION=VALUE, as track=true"))?;
        let (key, value) = (key.trim(), value.parse().unwrap_or_else(|_| value.into()));
        anyhow::ensure!(key != "source", "--set source: it is given as NAME=SOURCE, by stream");
        common.insert(key.to_owned(), value);
    }
    let mut all = Vec::new();
    for text in streams {
        let (name, source) =
            text.split_once('=').ok_or_else(|| anyhow!("{text}: give NAME=SOURCE, as gate=rtsp://cam/main"))?;
        check_name(name).map_err(|problem| anyhow!("{text}: {problem}"))?;
        let mut options = common.clone();
        options.insert("source".into(), source.into());
        // What is wrong with the options is said here, and not by every instance.
        let config = stream_from::<DetectArgs>(layers, name, &options, name)?;
        task(&config)?;
        all.push((name, options));
    }
    at.with(async |store| {
        let view = store.seen().await?;
        for (name, options) in all {
            let instance = view.streams.get(name).and_then(|(stream, _)| stream.instance.clone());
            store.put(name, &Stream { options, instance }).await?;
        }
        Ok(())
    })?;
    print_line(&format!("  {} in {}", counted(streams.len() as u64, "stream"), at.fleet));
    Ok(0)
}

fn remove(at: &At, streams: &[String]) -> anyhow::Result<u8> {
    at.with(async |store| {
        let view = store.seen().await?;
        for name in streams {
            store.known(&view, name)?;
        }
        for name in streams {
            store.remove(name).await?;
        }
        Ok(())
    })?;
    print_line(&format!("  {} removed from {}", counted(streams.len() as u64, "stream"), at.fleet));
    Ok(0)
}

fn change(at: &At, name: &str, instance: Option<&str>) -> anyhow::Result<u8> {
    let has_room = at.with(async |store| {
        let view = store.seen().await?;
        let stream = Stream { instance: instance.map(str::to_owned), ..store.known(&view, name)?.clone() };
        store.put(name, &stream).await?;
        let is_it = |(_, found): (&str, &Instance)| Some(found.instance.as_str()) == instance;
        Ok(instance.is_none() || view.alive(clock::now(), store.lease()).any(is_it))
    })?;
    print_line(&match instance {
        Some(instance) if has_room => format!("  {name} moves to {instance} while there is room for it"),
        Some(instance) => {
            format!("  {name} stays where it is: no instance called {instance} is there; it moves once one is")
        }
        None => format!("  {name} runs wherever there is room"),
    });
    Ok(0)
}
