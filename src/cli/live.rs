//! Options of sources that are there only while they last.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::units::interval;
use crate::secrets::{Credentials, Secret};
use crate::source::{Heads, LiveOptions, Transport};
use crate::text::nearest;

/// How live sources are dealt with.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Live sources")]
pub struct LiveArgs {
    /// Frames that come out of the decoder later than this are dropped (stale), ms
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub max_lag: u64,
    /// How long a missing packet is waited for, ms
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub jitter: u64,
    /// A stream that sends nothing for so long is given up and opened again
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub stall_timeout: Duration,
    /// Attempts to come back after a stream was lost, 0 for none [default: forever]
    #[arg(long, value_name = "N")]
    pub reconnect: Option<u64>,
    /// Wait for a source that is not there yet
    #[arg(long)]
    pub wait: bool,
    /// How the packets of rtsp:// travel
    #[arg(long, value_enum, default_value_t)]
    pub rtsp_transport: Transport,
    /// Certificates to trust, a file in PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long)]
    pub insecure: bool,
    /// Name for sources whose address has none
    #[arg(long, value_name = "NAME")]
    pub user: Option<Secret>,
    /// Password for it; better in `STREAMDET_PASSWORD` or the config file, where nobody else sees it
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<Secret>,
    /// Decoder element, e.g. `avdec_h264` [default: hardware before software]
    #[arg(long, value_name = "ELEMENT")]
    pub decoder: Option<String>,
    /// Descriptions of sources in place of those built in, and of sources called `pipeline:NAME` (as pipelines/source.toml)
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
}

impl LiveArgs {
    /// Who one is where an address does not say.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        let empty = || Secret::new("");
        let given = self.user.is_some() || self.password.is_some();
        given.then(|| Credentials {
            user: self.user.clone().unwrap_or_else(empty),
            password: self.password.clone().unwrap_or_else(empty),
        })
    }

    /// As the pipeline takes them; a decoder that was asked for is preferred from now on.
    pub(super) fn options(&self) -> anyhow::Result<LiveOptions> {
        prefer_decoder(self.decoder.as_deref())?;
        if let Some(path) = &self.tls_ca {
            std::fs::metadata(path)
                .map_err(|e| anyhow!("--tls-ca {}: {e}\n  give a file of certificates in PEM", path.display()))?;
        }
        Ok(LiveOptions {
            max_lag: Duration::from_millis(self.max_lag),
            jitter: Duration::from_millis(self.jitter),
            stall_timeout: self.stall_timeout,
            reconnect: self.reconnect,
            wait: self.wait,
            transport: self.rtsp_transport,
            tls_ca: self.tls_ca.clone(),
            insecure: self.insecure,
            heads: self
                .pipeline
                .as_deref()
                .map_or_else(|| Ok(Heads::default()), Heads::with_file)
                .map_err(|e| anyhow!(e))?,
        })
    }
}

/// Decoders in hardware, preferred where they are; `GStreamer` ranks some of them below its software.
const HARDWARE: [&str; 12] = [
    "nvh264dec",
    "nvh265dec",
    "nvav1dec",
    "nvvp9dec",
    "vah264dec",
    "vah265dec",
    "vaav1dec",
    "vavp9dec",
    "v4l2h264dec",
    "v4l2h265dec",
    "v4l2slh264dec",
    "v4l2slh265dec",
];

fn prefer_decoder(asked: Option<&str>) -> anyhow::Result<()> {
    for name in HARDWARE {
        if let Some(factory) = gst::ElementFactory::find(name) {
            factory.set_rank(factory.rank().max(gst::Rank::PRIMARY + 128));
        }
    }
    let Some(name) = asked else { return Ok(()) };
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    if let Some(factory) = gst::ElementFactory::find(name).filter(|factory| factory.has_type(kind)) {
        factory.set_rank(gst::Rank::PRIMARY + 1024);
        return Ok(());
    }
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::NONE);
    let names: Vec<String> = all.iter().map(|factory| factory.name().to_string()).collect();
    let nearest = nearest(name, names.iter()).map_or("", String::as_str);
    Err(anyhow!("--decoder {name}: there is no such video decoder here\n  the nearest is {nearest}"))
}
