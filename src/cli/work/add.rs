//! `streamdet work add`: files into a queue.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;

use super::engine::{check, file};
use crate::archive::{Added, Address, Item, Names, SAID, absolute, make_absolute, named, with_queue};
use crate::cli::detect::DetectOptions;
use crate::cli::messages::{print_error, print_line};
use crate::cli::options::Invocation;
use crate::clock::Deadline;
use crate::config::Layers;
use crate::pipeline::plan;
use crate::text::{counted, grouped};
use crate::units::length;

/// Options of `work add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Queue: nats[s]://[USER:PASSWORD@]HOST[:PORT]/NAME
    queue: Address,
    /// Files, folders with all that is below them, globs; `-` reads names from standard input, one a line
    #[arg(required = true, value_name = "FILE")]
    files: Vec<OsString>,
    /// Of a new queue: a file is another worker's when nothing was heard of its own for so long: 10s, 1m [default: 30s]
    #[arg(long, value_name = "LENGTH", value_parser = length)]
    lease: Option<Duration>,
    #[command(flatten)]
    options: DetectOptions,
}

impl AddArgs {
    pub fn run(&self, layers: &Layers) -> anyhow::Result<u8> {
        check(&self.options)?;
        if let Some(option) = layers.of_the_process() {
            anyhow::bail!("--{option}: files of all kinds share a worker's process\n  give it to the workers");
        }
        let Invocation { config, show_config, .. } = &self.options.invocation;
        if config.is_some() || *show_config {
            return Err(anyhow!(
                "a queue's files have options of the command line only\n  leave --config out, or give it to the workers"
            ));
        }
        let Ok(mut options) = layers.table() else {
            return Err(anyhow!(
                "a password on the command line: a queue holds no secrets\n  give it to the workers, in the environment or the config file"
            ));
        };
        make_absolute(&mut options);
        // What is wrong with the options is said here, and not by every worker for every file.
        let example = file(layers, &Item { source: "/archive/clip.mp4".into(), options: options.clone() }, "work add")?;
        example.named(&Names::of(Path::new("/archive/clip.mp4")))?;
        let (mut left_out, mut next) = (0, Deadline::after(SAID));
        let sources = self.files.iter().flat_map(|name| named(name, plan::is_media));
        let items = sources.filter_map(|source| match source.and_then(|source| absolute(&source)) {
            Ok(source) => Some(Item { source, options: options.clone() }),
            Err(fault) => {
                print_error(&fault);
                left_out += 1;
                None
            }
        });
        let say = |Added { new, known }: Added| {
            if next.is_over() {
                next = Deadline::after(SAID);
                print_line(&format!("  {} added", counted(new + known, "file")));
            }
        };
        let added = with_queue(&self.queue, self.options.publish.ca(), (self.lease, false), async |queue| {
            queue.add(items, say).await
        })?;
        let known = match added.known {
            0 => String::new(),
            known => format!("; {} had been added a moment ago", grouped(known)),
        };
        print_line(&format!("  {} added to {}{known}", counted(added.new, "file"), self.queue));
        if left_out > 0 {
            return Err(anyhow!("{} left out, as said above; the others are in the queue", counted(left_out, "name")));
        }
        if added == Added::default() {
            return Err(anyhow!("no video or image among what was named\n  name files, or folders with some"));
        }
        Ok(0)
    }
}
