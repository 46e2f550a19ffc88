//! Each check fails where what it forbids is planted, and where it is not, does not.

use crate::check::{self, Among, Finding, Layer};
use crate::tree::{Sources, Tree};

const LAYERS: &[Layer] = &[
    Layer { name: "low", rooms: &["geometry", "text"], among: Among::All },
    Layer { name: "stages", rooms: &["source", "sink", "stills"], among: Among::Only(&[("sink", "stills")]) },
    Layer { name: "high", rooms: &["pipeline"], among: Among::All },
];

/// The crate of `LAYERS`, with something more in the files named.
fn planted(more: &[(&str, &str)]) -> Sources {
    let mut sources: Sources = [
        ("lib.rs", "pub mod geometry; pub mod text; pub mod source; pub mod sink; pub mod stills; pub mod pipeline;"),
        ("geometry.rs", "pub struct Size;\n"),
        ("text.rs", "use crate::geometry::Size;\n"),
        ("source/mod.rs", "pub mod live;\npub use live::Live;\n"),
        ("source/live.rs", "use crate::geometry::Size;\npub struct Live;\n"),
        ("sink/mod.rs", "mod file;\nuse crate::stills;\n"),
        ("sink/file.rs", "use super::super::geometry::Size;\n"),
        ("stills.rs", "pub fn save() {}\n"),
        ("pipeline.rs", "use crate::source::Live;\npub struct Run;\n"),
    ]
    .map(|(file, text)| (file.to_owned(), text.to_owned()))
    .into();
    for (file, text) in more {
        sources.entry((*file).to_owned()).or_default().push_str(text);
    }
    sources
}

fn layers(more: &[(&str, &str)]) -> Vec<Finding> {
    check::layers(&Tree::of(&planted(more)), LAYERS)
}

fn circles(more: &[(&str, &str)]) -> Vec<Finding> {
    check::circles(&Tree::of(&planted(more)))
}

#[track_caller]
fn one(found: &[Finding], key: &str, words: &str) {
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].key, key);
    assert!(found[0].words.contains(words), "{}", found[0].words);
}

#[test]
fn what_is_in_order_passes() {
    assert_eq!(layers(&[]), []);
    assert_eq!(circles(&[]), []);
}

#[test]
fn an_import_from_above_fails_however_it_is_written() {
    let (key, place) =
        ("layer: source imports pipeline", "src/source/live.rs:3: crate::pipeline::Run: source (stages)");
    for forbidden in [
        "use crate::pipeline::Run;",
        "use crate::{pipeline::Run};",
        "use super::super::pipeline::Run as R;",
        "fn f() -> crate::pipeline::Run { loop {} }",
        "fn f() { println!(\"{}\", crate::pipeline::Run); }",
        "mod inner { use super::super::super::pipeline::Run; }",
        "impl From<crate::pipeline::Run> for Live {}",
        "#[cfg(not(test))] use crate::pipeline::Run;",
    ] {
        one(&layers(&[("source/live.rs", forbidden)]), key, place);
    }
    let grouped = "use crate::{\n    geometry::Size as S,\n    pipeline,\n};";
    one(&layers(&[("source/live.rs", grouped)]), key, "src/source/live.rs:5: crate::pipeline: source (stages)");
    let glob = "use crate::pipeline::*;";
    one(&layers(&[("source/live.rs", glob)]), key, "which lies above it: hand it over from a room above both");
}

#[test]
fn an_import_from_beside_fails_where_the_table_does_not_have_it() {
    let beside = "layer: sink imports source";
    one(&layers(&[("sink/file.rs", "use crate::source::live::Live;")]), beside, "which lies beside it");
    one(&layers(&[("stills.rs", "use crate::sink;")]), "layer: stills imports sink", "src/stills.rs:2");
}

#[test]
fn what_is_handed_on_counts_where_it_lies() {
    // A room below hands on what lies above: its own fault, and everyone's who takes it from there.
    let found = layers(&[("text.rs", "pub use crate::pipeline::Run;"), ("sink/file.rs", "use crate::text::Run;")]);
    let mut keys: Vec<&str> = found.iter().map(|f| f.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["layer: sink imports pipeline", "layer: text imports pipeline"]);
}

#[test]
fn code_for_tests_may_import_what_it_needs() {
    for allowed in [
        "#[cfg(test)] mod tests { use crate::pipeline::Run; }",
        "#[cfg(test)] use crate::pipeline::Run;",
        "#[test] fn t() { crate::pipeline::Run; }",
        "/// As [`crate::pipeline::Run`].\nfn f() {} // use crate::pipeline::Run;",
        "const S: &str = \"crate::pipeline::Run\";",
        "pub(in crate::source) struct S;",
    ] {
        assert_eq!(layers(&[("source/live.rs", allowed)]), [], "{allowed}");
    }
    let apart = [("source/mod.rs", "#[cfg(test)] mod tests;"), ("source/tests.rs", "use crate::pipeline::Run;")];
    assert_eq!(layers(&apart), []);
    // The same file once more, in another place.
    let again = [("sink/mod.rs", "#[cfg(test)] #[path = \"../source/live.rs\"] mod live;")];
    assert_eq!(layers(&again), []);
}

#[test]
fn a_room_of_no_layer_fails_and_so_does_one_that_is_gone() {
    one(&layers(&[("lib.rs", "mod new;"), ("new.rs", "")]), "layer: new is in none", "ARCHITECTURE.md");
    let mut sources = planted(&[]);
    sources.insert("lib.rs".to_owned(), sources["lib.rs"].replace("pub mod text;", ""));
    sources.remove("text.rs");
    one(&check::layers(&Tree::of(&sources), LAYERS), "layer: text is not there", "ARCHITECTURE.md");
}

#[test]
#[should_panic(expected = "no `mod` declares [\"stray.rs\"]")]
fn a_file_that_nothing_declares_fails() {
    Tree::of(&planted(&[("stray.rs", "")]));
}

#[test]
fn two_files_that_import_each_other_fail() {
    let found = circles(&[("geometry.rs", "use crate::text;")]);
    one(&found, "circle: geometry, text", "  src/geometry.rs:2: crate::text (src/text.rs)");
}

#[test]
fn a_longer_circle_fails_once() {
    let found = circles(&[
        ("sink/mod.rs", "mod a; mod b; mod c;"),
        ("sink/a.rs", "use super::b::B;"),
        ("sink/b.rs", "fn f() { super::c::f(); }"),
        ("sink/c.rs", "use crate::sink::a;"),
    ]);
    one(&found, "circle: sink", "src/sink/b.rs:1: crate::sink::c::f (src/sink/c.rs)");
}

#[test]
fn a_circle_through_a_parent_is_seen_behind_what_it_hands_on() {
    // live takes from its parent what its parent has from a sibling, which takes from live.
    let found = circles(&[
        ("source/mod.rs", "mod head;\npub use head::Head;\n"),
        ("source/head.rs", "use super::live::Live; pub struct Head;"),
        ("source/live.rs", "use super::Head;"),
    ]);
    one(&found, "circle: source", "src/source/live.rs:3: crate::source::Head (src/source/head.rs)");
    // A parent that uses its child, which uses what the parent defines.
    let found = circles(&[
        ("source/mod.rs", "pub struct Opened; fn open() { live::open(); }"),
        ("source/live.rs", "use super::Opened; pub fn open() {}"),
    ]);
    one(&found, "circle: source", "src/source/mod.rs:3: crate::source::live::open");
}

#[test]
fn a_parent_may_declare_its_child_and_hand_its_names_on() {
    let allowed = [
        ("source/mod.rs", "pub struct Opened;"),
        ("source/live.rs", "use super::Opened; #[cfg(test)] mod tests { use super::super::Live; }"),
    ];
    assert_eq!(circles(&allowed), []);
}

#[test]
fn long_files_and_rooms_fail() {
    let sources = Sources::from([("cli/a.rs".to_owned(), "\n".repeat(7)), ("cli/b.rs".to_owned(), "\n".repeat(6))]);
    one(&check::lengths(&sources, 6), "length: cli/a.rs", "cli/a.rs: 7 lines, 6 at most");
    assert_eq!(check::lengths(&sources, 7), []);
    one(check::size(&sources, "cli", 12).as_slice(), "size: cli", "src/cli: 13 lines, 12 at most");
    assert_eq!(check::size(&sources, "cli", 13), None);
}

#[test]
fn a_crate_that_is_named_outside_its_room_fails() {
    let named = |file: &str, text: &str| {
        check::named(&Sources::from([(file.to_owned(), text.to_owned())]), "clap", &["cli", "main"])
    };
    for text in ["\nuse clap::ValueEnum;", "\n#[derive(clap::Args)] struct A;", "\nfn f() { g!(clap::x()) }"] {
        one(&named("source/mod.rs", text), "clap: source/mod.rs", "src/source/mod.rs:2: names clap");
        assert_eq!(named("cli/run.rs", text), []);
        assert_eq!(named("main.rs", text), []);
    }
    assert_eq!(named("source/mod.rs", "// clap\nconst S: &str = \"clap\";"), []);
}

#[test]
fn a_listener_that_passes_events_over_fails() {
    let wildcards = |body: &str| {
        let text = format!("impl Listener for A {{ fn on(&self, e: &RunEvent) {{\n{body}\n}} }}");
        check::wildcards(&Sources::from([("a.rs".to_owned(), text)]))
    };
    for body in [
        "match e { RunEvent::Up { .. } => a(), _ => {} }",
        "match *e { RunEvent::Up => a(), other => drop(other) }",
        "match e { pipeline::RunEvent::Up => a(), RunEvent::Down | _ => {} }",
        "match e { RunEvent::Up => a(), _ if late() => {}, RunEvent::Down => {} }",
        "if let RunEvent::Up = e { a() }",
        "let RunEvent::Up = e else { return };",
        "if matches!(e, RunEvent::Up) { a() }",
    ] {
        one(&wildcards(body), "wildcard: a.rs", "src/a.rs:2");
    }
    assert_eq!(
        wildcards("match e { RunEvent::Up { .. } => match n { 0 => a(), _ => b() }, RunEvent::Down => {} }"),
        []
    );
    // A helper that a listener hands its events to.
    let helper = "impl A { fn note(&self, e: &RunEvent) { match e { RunEvent::Up => a(), _ => {} } } }";
    one(&check::wildcards(&Sources::from([("a.rs".to_owned(), helper.to_owned())])), "wildcard: a.rs", "src/a.rs:1");
}
