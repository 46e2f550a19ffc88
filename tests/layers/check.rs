//! What the modules' imports are held to. A finding has a key, by which it can be known, and words that say what to do.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Arm, ExprMatch, Pat};

use crate::tree::{Import, Sources, Tree};

/// Rooms that lie side by side. A room imports rooms of the layers before its own.
pub struct Layer {
    /// What they have in common.
    pub name: &'static str,
    /// Their modules.
    pub rooms: &'static [&'static str],
    /// What they may import of each other.
    pub among: Among,
}

/// Imports between rooms of one layer.
pub enum Among {
    /// Any, in no circle.
    All,
    /// Those, `(from, to)`.
    Only(&'static [(&'static str, &'static str)]),
}

/// What is wrong, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The same while the violation is: without lines.
    pub key: String,
    /// Where it is and what to do.
    pub words: String,
}

fn shown(import: &Import) -> String {
    format!("src/{}:{}: crate::{}", import.file, import.line, import.path.join("::"))
}

/// Imports of rooms that lie above, or beside where that is not allowed; rooms that are in no layer, and layers' rooms that
/// are not there. Code for tests may import what it wants.
pub fn layers(tree: &Tree, layers: &[Layer]) -> Vec<Finding> {
    let level = |room: &str| layers.iter().position(|layer| layer.rooms.contains(&room));
    let mut found = Vec::new();
    let rooms = tree.rooms();
    for room in rooms.iter().filter(|room| level(room).is_none()) {
        let key = format!("layer: {room} is in none");
        let words =
            format!("{key}: write it into LAYERS in tests/layers/main.rs and into the table in ARCHITECTURE.md");
        found.push(Finding { key, words });
    }
    for room in layers.iter().flat_map(|layer| layer.rooms).filter(|room| !rooms.contains(*room)) {
        let key = format!("layer: {room} is not there");
        let words =
            format!("{key}: delete it from LAYERS in tests/layers/main.rs and from the table in ARCHITECTURE.md");
        found.push(Finding { key, words });
    }
    for import in tree.imports.iter().filter(|import| !import.test) {
        let Some(from) = import.module.first() else { continue };
        // What is named, and where it truly lies.
        let home = tree.home(&import.path);
        let named = [import.path.first(), home.first()];
        for to in BTreeSet::from(named).into_iter().flatten().filter(|to| *to != from) {
            let (Some(own), Some(other)) = (level(from), level(to)) else { continue };
            let allowed = match &layers[own].among {
                Among::All => true,
                Among::Only(pairs) => pairs.contains(&(from.as_str(), to.as_str())),
            };
            let fault = match own.cmp(&other) {
                std::cmp::Ordering::Less => "which lies above it",
                std::cmp::Ordering::Equal if !allowed => "which lies beside it",
                _ => continue,
            };
            let (here, there) = (layers[own].name, layers[other].name);
            let words = format!(
                "{}: {from} ({here}) imports {to} ({there}), {fault}: hand it over from a room above both, or move what \
                 both need into a room below",
                shown(import)
            );
            found.push(Finding { key: format!("layer: {from} imports {to}"), words });
        }
    }
    found
}

/// Circles of files that import each other. A parent that declares a child, or hands its names on, imports nothing.
pub fn circles(tree: &Tree) -> Vec<Finding> {
    let mut edges: BTreeMap<&str, BTreeMap<&str, &Import>> = BTreeMap::new();
    for import in tree.imports.iter().filter(|import| !import.test) {
        let home = tree.home(&import.path);
        let to = tree.file(&home);
        if to != import.file && !(import.exported && home.starts_with(&import.module)) {
            edges.entry(&import.file).or_default().entry(to).or_insert(import);
        }
    }
    let mut found = Vec::new();
    let mut left: BTreeSet<&str> = edges.keys().copied().collect();
    while let Some(start) = left.pop_first() {
        // Files that `start` reaches and that reach it.
        let ahead = reached(&edges, start);
        let circle: BTreeSet<&str> =
            ahead.iter().copied().filter(|file| reached(&edges, file).contains(start)).collect();
        if circle.is_empty() {
            continue;
        }
        left.retain(|file| !circle.contains(file));
        let within = edges.iter().filter(|(from, _)| circle.contains(*from)).flat_map(|(_, to)| to);
        let lines: Vec<String> = within
            .filter(|(to, _)| circle.contains(*to))
            .map(|(to, import)| format!("  {} (src/{to})", shown(import)))
            .collect();
        let files: Vec<&str> = circle.into_iter().collect();
        let words = format!(
            "{} import each other in a circle: move what both need into a file below them\n{}",
            files.join(", "),
            lines.join("\n")
        );
        let rooms: BTreeSet<&str> = files.iter().map(|file| room(file)).collect();
        let rooms: Vec<&str> = rooms.into_iter().collect();
        found.push(Finding { key: format!("circle: {}", rooms.join(", ")), words });
    }
    found
}

/// The room of a file below `src/`.
fn room(file: &str) -> &str {
    file.split_once('/').map_or_else(|| file.trim_end_matches(".rs"), |(room, _)| room)
}

/// The files that imports lead to from `start`, itself only where a circle leads back.
fn reached<'a>(edges: &BTreeMap<&'a str, BTreeMap<&'a str, &Import>>, start: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(file) = open.pop() {
        open.extend(edges.get(file).into_iter().flat_map(|to| to.keys()).filter(|to| seen.insert(**to)));
    }
    seen
}

/// Files of more than `most` lines.
pub fn lengths(files: &Sources, most: usize) -> Vec<Finding> {
    let long = files.iter().map(|(file, text)| (file, text.lines().count())).filter(|(_, lines)| *lines > most);
    long.map(|(file, lines)| {
        let words = format!("{file}: {lines} lines, {most} at most: a file is about one thing; take it apart");
        Finding { key: format!("length: {file}"), words }
    })
    .collect()
}

/// The lines of a room, if they are more than `most`.
pub fn size(sources: &Sources, room: &str, most: usize) -> Option<Finding> {
    let below = format!("{room}/");
    let lines: usize =
        sources.iter().filter(|(file, _)| file.starts_with(&below)).map(|(_, text)| text.lines().count()).sum();
    let words = format!("src/{room}: {lines} lines, {most} at most: domain work belongs into the room of its domain");
    (lines > most).then(|| Finding { key: format!("size: {room}"), words })
}

/// Files outside `rooms` that name the crate `name`.
pub fn named(sources: &Sources, name: &str, rooms: &[&str]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in sources {
        if rooms.iter().any(|room| file.starts_with(&format!("{room}/")) || *file == format!("{room}.rs")) {
            continue;
        }
        let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("src/{file}: {e}"));
        if let Some(line) = line_of(tokens, name) {
            let words = format!(
                "src/{file}:{line}: names {name}, which only {rooms:?} may: parse there, hand over plain values"
            );
            found.push(Finding { key: format!("{name}: {file}"), words });
        }
    }
    found
}

fn line_of(tokens: TokenStream, name: &str) -> Option<usize> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(ident) => (ident == name).then(|| ident.span().start().line),
        TokenTree::Group(group) => line_of(group.stream(), name),
        _ => None,
    })
}

/// Matches of the events of a run that do not name every event, outside tests: arms that catch all, and, in an
/// `impl Listener`, `if let` and the like.
pub fn wildcards(sources: &Sources) -> Vec<Finding> {
    let mut found = Vec::new();
    for (file, text) in sources {
        let parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("src/{file}: {e}"));
        let mut reader = Wildcards { listener: false, lines: Vec::new() };
        reader.visit_file(&parsed);
        found.extend(reader.lines.into_iter().map(|line| Finding {
            key: format!("wildcard: {file}"),
            words: format!(
                "src/{file}:{line}: events are passed over without being named: name each in an arm of a `match`, so that a \
                 new one does not compile until this listener has decided"
            ),
        }));
    }
    found
}

struct Wildcards {
    listener: bool,
    lines: Vec<usize>,
}

fn line(what: &impl syn::spanned::Spanned) -> usize {
    what.span().start().line
}

/// Whether a pattern names an event of a run.
fn event(pattern: &Pat) -> bool {
    struct Named(bool);
    impl<'ast> Visit<'ast> for Named {
        fn visit_path(&mut self, path: &'ast syn::Path) {
            self.0 |= path.segments.iter().any(|segment| segment.ident == "RunEvent");
        }
    }
    let mut named = Named(false);
    named.visit_pat(pattern);
    named.0
}

/// Whether a pattern takes whatever is left.
fn catches_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(bound) => bound.subpat.is_none(),
        Pat::Or(or) => or.cases.iter().any(catches_all),
        Pat::Paren(inner) => catches_all(&inner.pat),
        Pat::Reference(inner) => catches_all(&inner.pat),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Wildcards {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let tests = matches!(item, syn::Item::Mod(item) if item.ident == "tests");
        if !tests {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        let before = std::mem::replace(&mut self.listener, name.is_some_and(|name| name.ident == "Listener"));
        visit::visit_item_impl(self, item);
        self.listener = before;
    }

    fn visit_expr_match(&mut self, matched: &'ast ExprMatch) {
        if matched.arms.iter().any(|arm| event(&arm.pat)) {
            let wild = |arm: &&Arm| catches_all(&arm.pat);
            self.lines.extend(matched.arms.iter().filter(wild).map(line));
        }
        visit::visit_expr_match(self, matched);
    }

    fn visit_expr_let(&mut self, tested: &'ast syn::ExprLet) {
        if self.listener && event(&tested.pat) {
            self.lines.push(line(tested));
        }
        visit::visit_expr_let(self, tested);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if self.listener && event(&local.pat) {
            self.lines.push(line(local));
        }
        visit::visit_local(self, local);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        if self.listener && called.path.is_ident("matches") && line_of(called.tokens.clone(), "RunEvent").is_some() {
            self.lines.push(line(called));
        }
        visit::visit_macro(self, called);
    }
}
