//! What `--show-config` prints: key, value, and where it came from.

use clap::{ArgMatches, Command};

use super::known::{Kind, NEED_TRACKS, TURN_TRACK_ON, exclusive, key, kind, own_settings, settings};
use super::layers::{Entry, shown};
use crate::model::ModelRef;
use crate::secrets::redact;
use crate::text::{append, printable};

/// The tracker that keeps ids by time.
const TIMED: &str = "timed";

/// The table of command `of`: `set` is what counts, `chosen` what layers gave, `sources` where its sources come from.
pub(super) fn table(of: &Command, set: &ArgMatches, chosen: &[Entry], sources: Option<&Entry>) -> String {
    let model = set.try_get_one::<String>("model").ok().flatten();
    let model = ModelRef::resolve(model.map(String::as_str)).ok();
    let mut rows = vec![["key".to_owned(), "value".to_owned(), "from".to_owned()]];
    rows.extend(sources.map(|sources| {
        let values: Vec<String> = sources.values.iter().map(|value| redact(&value.to_string_lossy())).collect();
        ["source".to_owned(), printable(&values.join(",")), printable(&sources.origin)]
    }));
    let given = |name: &str| chosen.iter().find(|entry| entry.key == name);
    let is_shared = |name: &str| settings(of).any(|option| key(option) == name);
    for option in own_settings(of).filter(|option| is_shared(key(option)) || given(key(option)).is_some()) {
        let name = key(option);
        let values = set.get_raw(option.get_id().as_str()).unwrap_or_default();
        let value = values.map(|value| redact(&value.to_string_lossy())).collect::<Vec<_>>().join(",");
        let told =
            || option.get_help()?.to_string().split_once("[default: ").map(|(_, d)| d.trim_end_matches(']').into());
        let (value, origin) = if let Some(by) = (name == "track").then(|| implied(of, set, chosen)).flatten() {
            ("true".into(), format!("implied by {by}"))
        } else if let Some(entry) = given(name) {
            (value, entry.origin.clone())
        } else if let Some(other) = chosen.iter().find(|entry| !entry.is_off(of) && exclusive(of, name, &entry.key)) {
            (value, format!("not used with {}", other.key))
        } else if name == "conf" && given("detections").is_some() {
            // What a file has is kept, all of it.
            ("0".into(), "default with detections".into())
        } else if let Some(card) = model.as_ref().and_then(|model| model.card_default(name)) {
            (card, "model card".into())
        } else {
            (if value.is_empty() { told().unwrap_or(value) } else { value }, "default".into())
        };
        let origin = match set.try_get_raw("tracker").ok().flatten().and_then(|mut raw| raw.next()) {
            Some(tracker) if name == "track-buffer" && tracker != TIMED => {
                format!("not used with tracker {}", tracker.to_string_lossy())
            }
            _ => origin,
        };
        let value = match (value.is_empty(), kind(option)) {
            (true, Kind::Switch) => "false".into(),
            (true, _) => "-".into(),
            (false, _) => shown(option, &value).to_owned(),
        };
        rows.push([name.to_owned(), printable(&value), printable(&redact(&origin))]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(0), width(1));
    rows.iter().fold(String::new(), |mut text, [key, value, origin]| {
        append(&mut text, format_args!("{key:keys$}  {value:values$}  {origin}\n"));
        text
    })
}

/// What turns tracking on, where `track` itself does not.
fn implied<'a>(of: &Command, set: &ArgMatches, chosen: &'a [Entry]) -> Option<&'a str> {
    let track = chosen.iter().find(|entry| entry.key == "track");
    let is_off = track.is_some_and(|track| track.is_off(of));
    if track.is_some() && !is_off {
        return None;
    }
    let gives = |names: &[&str]| {
        let speaks = |entry: &&Entry| {
            // `trails = false` draws none.
            let is_on = !entry.is_off(of) && (entry.key != "trails" || !entry.values.iter().any(|v| v == "false"));
            names.contains(&entry.key.as_str()) && is_on
        };
        chosen.iter().find(speaks).map(|entry| entry.key.as_str())
    };
    // Boxes that are pixelated move with what they hide, between frames that are inferred.
    let strides = set.try_get_one::<u64>("stride").ok().flatten().is_some_and(|stride| *stride > 1);
    let moved = || if strides { gives(&["blur"]) } else { None };
    let is_published = chosen.iter().any(|entry| entry.key == "publish");
    let tracked = |entry: &&Entry| {
        matches!((entry.key.as_str(), entry.values.as_slice()), ("publish-on", [on]) if on == "track")
            || matches!((entry.key.as_str(), entry.values.as_slice()), ("publish-format", [format]) if format == "frigate")
    };
    let published = || chosen.iter().find(tracked).filter(|_| is_published).map(|entry| entry.key.as_str());
    gives(&NEED_TRACKS).or_else(published).or_else(moved).or_else(|| if is_off { None } else { gives(&TURN_TRACK_ON) })
}
