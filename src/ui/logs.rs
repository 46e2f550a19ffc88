//! Logs on standard error: events of `tracing`, as text or as JSON, without secrets.
//!
//! Text goes through the screen, so that it breaks neither the progress bar nor the dashboard. With JSON every line on standard
//! error is an object: what the screen would print becomes an event too.

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::secrets::redact;
use crate::text::print_stderr;

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `2026-11-28T12:00:00.000Z DEBUG streamdet::pipeline: message key=value`
    #[default]
    Text,
    /// One object a line: `timestamp`, `level`, `target`, `message`, and the event's fields.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
#[error("STREAMDET_LOG={given}: {source}\n  give a level or TARGET=LEVEL, comma separated, as streamdet=debug")]
pub struct LogError {
    given: String,
    source: ParseError,
}

/// Whether every line on standard error is JSON.
static JSON: AtomicBool = AtomicBool::new(false);
/// Where text is printed while a run is shown.
static PRINTER: Mutex<Option<Weak<dyn Printer>>> = Mutex::new(None);

/// Installs the logs of this process: those that `filter` (`EnvFilter` syntax) names, else by `verbosity`, the number of `-v`:
/// from 2 debug, from 3 trace. Without any of it there are none, but for JSON, where there is what the screen would print.
///
/// # Errors
/// When `filter` cannot be read.
pub fn init(format: LogFormat, verbosity: u8, filter: Option<&str>) -> Result<(), LogError> {
    let by_verbosity = match (verbosity, format) {
        (0 | 1, LogFormat::Text) => None,
        (0 | 1, LogFormat::Json) => Some("streamdet=info"),
        (2, _) => Some("streamdet=debug"),
        _ => Some("streamdet=trace"),
    };
    let Some(filter) = filter.or(by_verbosity) else { return Ok(()) };
    let parsed = EnvFilter::try_new(filter).map_err(|source| LogError { given: filter.to_owned(), source })?;
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    // Fails where there is a subscriber already: that of a program which uses the library.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(parsed).with(Lines { format }));
    Ok(())
}

/// Whether what people read is an event of the log instead.
pub(crate) fn are_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// Prints an error on standard error, without secrets.
pub(crate) fn print_error(error: &dyn std::fmt::Display) {
    let text = redact(&error.to_string());
    if are_json() {
        tracing::error!("{text}");
    } else {
        print_stderr(&format!("error: {text}"));
    }
}

/// What prints lines of the log while a run is shown.
pub(super) trait Printer: Send + Sync {
    /// Prints a line without breaking what is shown.
    fn log(&self, text: &str);
}

/// Prints text through `printer` from now on, as long as it is there.
pub(super) fn print_through(printer: &Arc<dyn Printer>) {
    *PRINTER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(printer));
}

/// Writes each event as a line.
struct Lines {
    format: LogFormat,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        match self.format {
            LogFormat::Text => {
                let text = fields.text(&now(), *level, target);
                let printer = PRINTER.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade);
                match printer {
                    Some(printer) => printer.log(&text),
                    None => print_stderr(&text),
                }
            }
            LogFormat::Json => {
                print_stderr(&fields.json(&now(), *level, target));
            }
        }
    }
}

/// The present moment, UTC, as in RFC 3339.
fn now() -> String {
    let mut text = String::new();
    match SystemTime.format_time(&mut Writer::new(&mut text)) {
        Ok(()) => text,
        Err(_) => String::new(),
    }
}

/// An event's message and fields, without secrets.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.others.insert(name.to_owned(), value);
            }
        }
    }

    fn text(&self, now: &str, level: Level, target: &str) -> String {
        let mut text = format!("{now} {level:>5} {target}: {}", self.message);
        for (name, value) in &self.others {
            text = match value {
                Value::String(value) => format!("{text} {name}={value:?}"),
                value => format!("{text} {name}={value}"),
            };
        }
        text
    }

    fn json(self, now: &str, level: Level, target: &str) -> String {
        let mut object = Map::new();
        for (name, value) in
            [("timestamp", now), ("level", level.as_str()), ("target", target), ("message", &self.message)]
        {
            object.insert(name.to_owned(), value.into());
        }
        object.extend(self.others);
        Value::Object(object).to_string()
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        if write!(text, "{value:?}").is_ok() {
            self.add(field, redact(&text).into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, redact(value).into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What events look like, one after the other.
    struct Kept(Arc<Mutex<Vec<[String; 2]>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let lines = |format| {
                let mut fields = Fields::default();
                event.record(&mut fields);
                let (level, target) = (*event.metadata().level(), event.metadata().target());
                match format {
                    LogFormat::Text => fields.text("NOW", level, target),
                    LogFormat::Json => fields.json("NOW", level, target),
                }
            };
            self.0.lock().expect("no panic").push([lines(LogFormat::Text), lines(LogFormat::Json)]);
        }
    }

    #[test]
    fn events_have_their_fields_and_no_secrets() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let subscriber = Registry::default().with(Kept(kept.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let uri = "rtsp://pilot:hunter2@camera/x";
            tracing::debug!(target: "streamdet::test", stream = 1, uri, other = %uri, "connected to {uri}");
        });
        let kept = kept.lock().expect("no panic");
        let [text, json] = &kept[0];
        assert_eq!(
            text,
            "NOW DEBUG streamdet::test: connected to rtsp://***@camera/x other=\"rtsp://***@camera/x\" stream=1 \
             uri=\"rtsp://***@camera/x\""
        );
        let json: Value = serde_json::from_str(json).expect("JSON");
        assert_eq!((&json["level"], &json["stream"]), (&"DEBUG".into(), &1.into()));
        assert_eq!(json["uri"], "rtsp://***@camera/x");
        assert!(!format!("{kept:?}").contains("hunter2"));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let error = init(LogFormat::Text, 0, Some("streamdet=loud")).expect_err("no such level").to_string();
        assert!(error.contains("STREAMDET_LOG=streamdet=loud") && error.contains("streamdet=debug"), "{error}");
    }
}
