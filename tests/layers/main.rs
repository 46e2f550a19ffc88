//! The order of the rooms, read from `src/`: who imports whom, and how large a file is. ARCHITECTURE.md draws the same
//! table.
//!
//! Code for tests is exempt from the layers and circles: it is no part of the library, and a test may need whatever
//! proves its point.

mod check;
mod planted;
mod tree;

use std::path::Path;
use std::sync::LazyLock;

use check::{Among, Finding, Layer};
use tree::{Sources, Tree};

/// From the ground up, in the order of ARCHITECTURE.md.
const LAYERS: &[Layer] = &[
    Layer {
        name: "ground",
        rooms: &[
            "clock",
            "secrets",
            "shutdown",
            "geometry",
            "channel",
            "part",
            "text",
            "units",
            "folders",
            "thread",
            "backoff",
            "image_file",
            "teardown",
            "assignment",
        ],
        among: Among::All,
    },
    Layer {
        name: "vocabulary",
        rooms: &["frame", "stream", "detection", "tensor", "controls", "mot", "telemetry"],
        among: Among::All,
    },
    Layer { name: "models", rooms: &["model"], among: Among::All },
    Layer { name: "steps", rooms: &["preprocess", "inference", "postprocess", "tiling"], among: Among::Only(&[]) },
    Layer { name: "detector", rooms: &["detector"], among: Among::All },
    Layer {
        name: "stages",
        rooms: &[
            "source",
            "sink",
            "stills",
            "detections",
            "publish",
            "track",
            "counting",
            "heatmap",
            "overlay",
            "latency",
        ],
        among: Among::Only(&[
            ("sink", "stills"),
            ("detections", "stills"),
            ("publish", "detections"),
            ("publish", "stills"),
        ]),
    },
    // The charts and the machine are the report's.
    Layer {
        name: "results",
        rooms: &["report", "validate", "profile"],
        among: Among::Only(&[("validate", "report"), ("profile", "report")]),
    },
    Layer { name: "pipeline", rooms: &["pipeline", "doctor", "trials"], among: Among::Only(&[]) },
    Layer { name: "many machines", rooms: &["archive", "fleet"], among: Among::Only(&[]) },
    Layer { name: "monitoring and ui", rooms: &["monitoring", "ui"], among: Among::Only(&[]) },
    Layer { name: "settings", rooms: &["config"], among: Among::Only(&[]) },
    Layer { name: "http", rooms: &["serve"], among: Among::All },
    Layer { name: "cli", rooms: &["cli"], among: Among::All },
    Layer { name: "program", rooms: &["main"], among: Among::All },
];

/// No file is longer.
const FILE_LINES: usize = 600;
/// `src/cli` is command line and dispatch; work is done elsewhere.
const CLI_LINES: usize = 4_750;

/// Violations that are still to be taken away, by their keys. One that is gone has to leave the list.
const KNOWN: &[&str] = &[];

static SOURCES: LazyLock<Sources> = LazyLock::new(|| read("src"));
static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::of(&SOURCES));

/// The Rust files below `folder`, by their paths from there.
fn read(folder: &str) -> Sources {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Sources::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("it lies below").to_str().expect("a name in UTF-8");
                files.insert(name.to_owned(), std::fs::read_to_string(&path).expect("a source file"));
            }
        }
    }
    files
}

/// Nothing is found but what is known under `kind`, and all that is known is found.
#[track_caller]
fn only_known(kind: &str, found: &[Finding]) {
    let new: Vec<&str> = found.iter().filter(|f| !KNOWN.contains(&f.key.as_str())).map(|f| f.words.as_str()).collect();
    let gone: Vec<&&str> =
        KNOWN.iter().filter(|known| known.starts_with(kind) && !found.iter().any(|f| f.key == **known)).collect();
    assert!(new.is_empty(), "{} forbidden:\n{}", new.len(), new.join("\n"));
    assert!(gone.is_empty(), "gone, so delete from KNOWN in tests/layers/main.rs: {gone:#?}");
}

#[test]
fn rooms_import_only_what_lies_below_them() {
    only_known("layer: ", &check::layers(&TREE, LAYERS));
}

/// The table of ARCHITECTURE.md: a layer stands in its first room's row.
#[test]
fn architecture_md_has_the_same_table() {
    let text = include_str!("../../ARCHITECTURE.md");
    let rooms = text.split("\n## ").find(|chapter| chapter.starts_with("Rooms\n")).expect("a chapter on rooms");
    let mut drawn: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rooms.lines().filter(|line| line.starts_with('|')).skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if !cells[1].is_empty() {
            drawn.push((cells[1], Vec::new()));
        }
        drawn.last_mut().expect("a layer in the first row").1.push(cells[2].trim_matches('`'));
    }
    let held: Vec<(&str, Vec<&str>)> = LAYERS.iter().map(|layer| (layer.name, layer.rooms.to_vec())).collect();
    assert_eq!(drawn, held, "the table in ARCHITECTURE.md (left) and LAYERS in tests/layers/main.rs (right) differ");
}

#[test]
fn no_files_import_each_other() {
    only_known("circle: ", &check::circles(&TREE));
}

#[test]
fn no_file_is_long() {
    let folders = ["src", "tests", "benches"]
        .map(|folder| read(folder).into_iter().map(move |(file, text)| (format!("{folder}/{file}"), text)));
    only_known("length: ", &check::lengths(&folders.into_iter().flatten().collect(), FILE_LINES));
}

#[test]
fn the_command_line_does_no_domain_work() {
    only_known("size: ", check::size(&SOURCES, "cli", CLI_LINES).as_slice());
}

#[test]
fn listeners_name_every_event() {
    only_known("wildcard: ", &check::wildcards(&SOURCES));
}
