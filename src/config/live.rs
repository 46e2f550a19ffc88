//! Options of live sources: network streams, cameras, standard input.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::choices;
use crate::secrets::{Credentials, Secret};
use crate::source::Transport;
use crate::units::interval;

/// How live sources are read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Live sources")]
pub struct LiveArgs {
    /// Drop frames that leave the decoder later than this (stale), ms
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub max_lag: u64,
    /// Jitter buffer latency, ms
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub jitter: u64,
    /// Reconnect when no data arrives for this long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub stall_timeout: Duration,
    /// Reconnect attempts after a disconnect, 0 for none [default: unlimited]
    #[arg(long, value_name = "N")]
    pub reconnect: Option<u64>,
    /// Keep trying when a source is not available at the start
    #[arg(long)]
    pub wait: bool,
    /// RTP transport for rtsp://
    #[arg(long, value_parser = choices::transport(), default_value = "auto")]
    pub rtsp_transport: Transport,
    /// CA certificates to trust, a PEM file [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Accept any TLS certificate
    #[arg(long)]
    pub insecure: bool,
    /// User name for sources whose address has none
    #[arg(long, value_name = "NAME")]
    pub user: Option<Secret>,
    /// Password for --user; visible in the process list, unlike `STREAMDET_PASSWORD` and the config file
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<Secret>,
    /// Decoder element, e.g. `avdec_h264` [default: hardware, else software]
    #[arg(long, value_name = "ELEMENT")]
    pub decoder: Option<String>,
    /// GStreamer descriptions that replace those of the built-in sources or define `pipeline:NAME` (format:
    /// pipelines/source.toml)
    #[arg(long, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
}

impl LiveArgs {
    /// Credentials for addresses without any.
    #[must_use]
    pub fn credentials(&self) -> Option<Credentials> {
        let empty = || Secret::new("");
        let given = self.user.is_some() || self.password.is_some();
        given.then(|| Credentials {
            user: self.user.clone().unwrap_or_else(empty),
            password: self.password.clone().unwrap_or_else(empty),
        })
    }
}
