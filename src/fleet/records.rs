//! What stands in a fleet's buckets, as JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A stream that should run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// The keys of a `[[stream]]`, `name` aside.
    pub options: toml::Table,
    /// Where, while such an instance has room; `None`: wherever there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// Who runs a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The process: another one at each start.
    pub id: String,
    /// The name that people know it by.
    pub instance: String,
}

/// A process that runs streams, as it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The name that people know it by.
    pub instance: String,
    /// So many streams at once; none where it is being stopped.
    pub capacity: u32,
    /// Streams that do not run there, and why.
    #[serde(default)]
    pub refused: BTreeMap<String, String>,
}

/// Streams at once: a number, or what `bench --max-streams --report` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity(pub u32);

/// Streams that one process runs, at most.
const MOST: u32 = 256;

impl FromStr for Capacity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let streams = match text.parse::<u64>() {
            Ok(number) => number,
            Err(_) => measured(Path::new(text))?,
        };
        match u32::try_from(streams) {
            Ok(0) => Err("this machine keeps up with no such stream: no stream can be taken".into()),
            Ok(number) if number <= MOST => Ok(Self(number)),
            _ => Err(format!("a process runs {MOST} streams at most")),
        }
    }
}

/// As a report has it.
fn measured(report: &Path) -> Result<u64, String> {
    const REMEDY: &str =
        "give a number, or the report of `streamdet bench SOURCE --max-streams --report capacity.json`";
    let text = std::fs::read_to_string(report).map_err(|error| format!("{error}; {REMEDY}"))?;
    let report: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("{error}; {REMEDY}"))?;
    report["capacity"]["streams"].as_u64().ok_or_else(|| format!("no capacity.streams in it; {REMEDY}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_is_a_number_or_was_measured() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("capacity.json");
        let asked = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            path.to_str().expect("a name").parse::<Capacity>()
        };
        assert_eq!("12".parse(), Ok(Capacity(12)));
        assert_eq!(asked(r#"{"capacity":{"streams":7}}"#), Ok(Capacity(7)));
        for refused in [asked(r#"{"capacity":{"streams":0}}"#), asked("{}"), asked("x"), "257".parse(), "none".parse()]
        {
            assert!(refused.is_err());
        }
    }
}
