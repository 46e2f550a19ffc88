//! The modules of a crate as its source declares them, and what each imports from where.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, ImplItem, Item, ItemMod, ItemUse, Lit, Path, TraitItem, UseTree, Visibility};

/// Source files by their path below `src/`.
pub type Sources = BTreeMap<String, String>;

/// A module's path from the crate's root, whose own is empty.
pub type ModulePath = Vec<String>;

/// A path to something of this crate, as a file names it.
#[derive(Debug, Clone)]
pub struct Import {
    /// The file, below `src/`.
    pub file: String,
    /// The module.
    pub module: ModulePath,
    /// The line.
    pub line: usize,
    /// The path from the crate's root: `crate`, `self` and `super` resolved, names of parents' imports not.
    pub path: Vec<String>,
    /// Whether it stands in code that is compiled for tests only.
    pub test: bool,
    /// Whether it hands the name on (`pub use`).
    pub exported: bool,
}

/// What the walk found.
#[derive(Debug, Default)]
pub struct Tree {
    modules: BTreeMap<ModulePath, Module>,
    /// Every import, in the order of the files.
    pub imports: Vec<Import>,
}

#[derive(Debug, Default)]
struct Module {
    file: String,
    /// What `use` binds here: the name (`*`: everything) and the path from the crate's root.
    uses: Vec<(String, Vec<String>)>,
    items: BTreeSet<String>,
}

impl Tree {
    /// The crate whose root is `lib.rs`, and `main.rs` as a module of that name that calls it `streamdet`.
    ///
    /// # Panics
    /// When a file is no Rust, is missing, or is declared by no `mod`.
    pub fn of(sources: &Sources) -> Self {
        let mut tree = Self::default();
        let mut seen = BTreeSet::new();
        for (root, path) in [("lib.rs", vec![]), ("main.rs", vec!["main".to_owned()])] {
            if sources.contains_key(root) {
                tree.walk(sources, root, path, false, &mut seen);
            }
        }
        let orphans: Vec<_> = sources.keys().filter(|file| !seen.contains(*file)).collect();
        assert!(orphans.is_empty(), "no `mod` declares {orphans:?}: declare or delete them");
        tree
    }

    fn walk(&mut self, sources: &Sources, file: &str, path: ModulePath, test: bool, seen: &mut BTreeSet<String>) {
        let text = sources.get(file).unwrap_or_else(|| panic!("src/{file} is declared and missing"));
        let parsed = syn::parse_file(text).unwrap_or_else(|e| panic!("src/{file}:{}: {e}", e.span().start().line));
        seen.insert(file.to_owned());
        // Children first: a path that begins with a child's name is one of ours.
        self.declare(file, &path, &parsed.items);
        let mut reader = Reader { tree: self, file, module: path, test, below: Vec::new() };
        reader.visit_file(&parsed);
        for Below { path, test, named } in std::mem::take(&mut reader.below) {
            let plain = format!("{}.rs", path.join("/"));
            let usual = || if sources.contains_key(&plain) { plain } else { format!("{}/mod.rs", path.join("/")) };
            let child = named.map_or_else(usual, |named| beside(file, &named));
            self.walk(sources, &child, path, test, seen);
        }
    }

    fn declare(&mut self, file: &str, path: &ModulePath, items: &[Item]) {
        let module = self.modules.entry(path.clone()).or_default();
        file.clone_into(&mut module.file);
        module.items = items.iter().filter_map(name_of).collect();
        for item in items {
            if let Item::Mod(child) = item {
                let below = [path.as_slice(), &[child.ident.to_string()]].concat();
                // One with a file of its own is filled in when its turn comes.
                self.declare(file, &below, child.content.as_ref().map_or(&[], |(_, items)| items));
            }
        }
    }

    /// The module that holds what `path` names, through whatever hands the name on.
    pub fn home(&self, path: &[String]) -> ModulePath {
        self.find(path, 8).unwrap_or_default()
    }

    fn find(&self, path: &[String], depth: usize) -> Option<ModulePath> {
        let mut module = ModulePath::new();
        for (at, name) in path.iter().enumerate() {
            let child = [module.as_slice(), std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                module = child;
                continue;
            }
            let here = &self.modules.get(&module)?;
            if depth == 0 || here.items.contains(name) {
                break;
            }
            let rest = &path[at + 1..];
            if let Some((_, target)) = here.uses.iter().find(|(bound, _)| bound == name) {
                return self.find(&[target, rest].concat(), depth - 1);
            }
            for (_, target) in here.uses.iter().filter(|(bound, target)| bound == "*" && *target != module) {
                let whole = [target.as_slice(), &path[at..]].concat();
                if self.binds(target, name) {
                    return self.find(&whole, depth - 1);
                }
            }
            break;
        }
        Some(module)
    }

    fn binds(&self, module: &[String], name: &str) -> bool {
        self.modules
            .get(module)
            .is_some_and(|m| m.items.contains(name) || m.uses.iter().any(|(bound, _)| bound == name))
    }

    /// The file of a module.
    pub fn file(&self, module: &[String]) -> &str {
        self.modules.get(module).map_or("lib.rs", |module| &module.file)
    }

    /// The modules at the crate's root.
    pub fn rooms(&self) -> BTreeSet<&str> {
        self.modules.keys().filter_map(|path| path.first()).map(String::as_str).collect()
    }
}

/// The path of what `name` means in the folder of `file`.
fn beside(file: &str, name: &str) -> String {
    let mut path: Vec<&str> = file.split('/').collect();
    path.pop();
    for part in name.split('/') {
        if part == ".." {
            path.pop();
        } else {
            path.push(part);
        }
    }
    path.join("/")
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}

/// A module with a file of its own.
struct Below {
    path: ModulePath,
    test: bool,
    /// The file that a `#[path]` names, from the folder of the declaring one.
    named: Option<String>,
}

/// Reads the imports of one file.
struct Reader<'a> {
    tree: &'a mut Tree,
    file: &'a str,
    module: ModulePath,
    test: bool,
    /// Modules declared here with files of their own.
    below: Vec<Below>,
}

impl Reader<'_> {
    fn import(&mut self, line: usize, names: &[String], exported: bool) -> Option<Vec<String>> {
        let (first, mut rest) = names.split_first()?;
        let mut base = match first.as_str() {
            "crate" | "streamdet" => ModulePath::new(),
            "self" => self.module.clone(),
            "super" => self.module.split_last()?.1.to_vec(),
            _ => {
                let child = [self.module.as_slice(), std::slice::from_ref(first)].concat();
                self.tree.modules.contains_key(&child).then_some(child)?
            }
        };
        while rest.first().is_some_and(|name| name == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend(rest.iter().filter(|name| *name != "self" && *name != "*").cloned());
        let (file, module, test) = (self.file.to_owned(), self.module.clone(), self.test);
        self.tree.imports.push(Import { file, module, line, path: base.clone(), test, exported });
        Some(base)
    }

    fn uses(&mut self, tree: &UseTree, before: &[String], exported: bool) {
        let (name, bound) = match tree {
            UseTree::Path(path) => {
                let before = [before, &[path.ident.to_string()]].concat();
                return self.uses(&path.tree, &before, exported);
            }
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.uses(tree, before, exported)),
            UseTree::Name(name) if name.ident == "self" => {
                ("self".to_owned(), before.last().cloned().unwrap_or_default())
            }
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(rename) => (rename.ident.to_string(), rename.rename.to_string()),
            UseTree::Glob(_) => ("*".to_owned(), "*".to_owned()),
        };
        let names = [before, &[name]].concat();
        if let Some(target) = self.import(tree.span().start().line, &names, exported)
            && let Some(module) = self.tree.modules.get_mut(&self.module)
        {
            module.uses.push((bound, target));
        }
    }

    /// Paths in what is no syntax tree yet: the arguments of macros and attributes.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut names: Vec<String> = Vec::new();
        let (mut line, mut colons) = (0, 0);
        for token in tokens {
            match &token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) if colons == 2 && !names.is_empty() => {
                    names.push(ident.to_string());
                    colons = 0;
                }
                _ => {
                    self.named(line, &names);
                    names.clear();
                    colons = 0;
                    if let TokenTree::Ident(ident) = &token {
                        line = ident.span().start().line;
                        names.push(ident.to_string());
                    }
                }
            }
            if let TokenTree::Group(group) = token {
                self.tokens(group.stream());
            }
        }
        self.named(line, &names);
    }

    fn named(&mut self, line: usize, names: &[String]) {
        if names.len() > 1 {
            self.import(line, names, false);
        }
    }

    fn in_tests(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.test;
        self.test |= attributes.iter().any(only_in_tests);
        visit(self);
        self.test = before;
    }
}

/// `#[test]`, `#[cfg(test)]`, `#[cfg(all(test, …))]`.
fn only_in_tests(attribute: &Attribute) -> bool {
    let tokens = attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
    attribute.path().is_ident("test")
        || attribute.path().is_ident("cfg") && (tokens == "test" || tokens.starts_with("all (test"))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        self.in_tests(attributes(item), |this| visit::visit_item(this, item));
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = if let ImplItem::Fn(item) = item { &item.attrs } else { &[] };
        self.in_tests(attributes, |this| visit::visit_impl_item(this, item));
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes: &[Attribute] = if let TraitItem::Fn(item) = item { &item.attrs } else { &[] };
        self.in_tests(attributes, |this| visit::visit_trait_item(this, item));
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        if item.content.is_some() {
            visit::visit_item_mod(self, item);
        } else {
            let path = item.attrs.iter().find(|attribute| attribute.path().is_ident("path"));
            let named = path.and_then(|path| path.meta.require_name_value().ok()).and_then(|path| match &path.value {
                Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) => Some(name.value()),
                _ => None,
            });
            self.below.push(Below { path: self.module.clone(), test: self.test, named });
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let exported = !matches!(item.vis, Visibility::Inherited);
        if item.leading_colon.is_none() {
            self.uses(&item.tree, &[], exported);
        }
    }

    // `pub(in crate::source)` says who may see something, and imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if path.leading_colon.is_none() {
            self.named(path.span().start().line, &names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        visit::visit_macro(self, called);
        self.tokens(called.tokens.clone());
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        visit::visit_meta_list(self, list);
        self.tokens(list.tokens.clone());
    }
}
