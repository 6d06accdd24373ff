//! The modules of one crate, and where what they name is defined.

use super::references::References;
use super::source::{Import, Path, Source};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use syn::Item;

/// Text of each source file by its path.
pub(super) type Files = BTreeMap<String, String>;

/// The modules of a crate, its root first, and the files they are written in.
pub(super) struct Modules {
    files: Vec<String>,
    modules: Vec<Module>,
}

struct Module {
    /// Index of the file.
    file: usize,
    /// Index of the module around it; the root is its own.
    parent: usize,
    children: BTreeMap<String, usize>,
    source: Source,
}

/// What a path ends at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Module(usize),
    Item {
        file: usize,
        name: String,
    },
    /// In another crate, or a local name.
    Elsewhere,
}

type Targets = BTreeSet<Target>;

/// Names being looked up, by module and whether they are a path's last word: imports can lead in
/// circles.
type Pending = BTreeSet<(usize, String, bool)>;

impl Modules {
    /// The modules of the crate whose root is the file `root`.
    pub(super) fn of(root: &str, files: &Files) -> Result<Self> {
        let mut modules = Self { files: Vec::new(), modules: Vec::new() };
        let items = modules.open(root, files)?;
        modules.add(0, folder(root), 0, items, files)?;
        Ok(modules)
    }

    /// Adds the file at `path` and returns its items.
    fn open(&mut self, path: &str, files: &Files) -> Result<Vec<Item>> {
        self.files.push(path.to_owned());
        let file = syn::parse_file(&files[path]);
        Ok(file.with_context(|| format!("cannot parse `{path}`"))?.items)
    }

    /// Adds a module of `items`, whose own modules have their files in `folder`.
    fn add(
        &mut self,
        file: usize,
        folder: &str,
        parent: usize,
        items: Vec<Item>,
        files: &Files,
    ) -> Result<usize> {
        let mut source = Source::of(items);
        let inside = std::mem::take(&mut source.modules);
        let index = self.modules.len();
        self.modules.push(Module { file, parent, children: BTreeMap::new(), source });
        for (name, in_place) in inside {
            let folder = format!("{folder}/{name}");
            let child = if let Some(items) = in_place {
                self.add(file, &folder, index, items, files)?
            } else {
                let paths = [format!("{folder}.rs"), format!("{folder}/mod.rs")];
                let path = paths.iter().find(|path| files.contains_key(*path));
                let missing = || format!("{}: no file for `mod {name}`", self.files[file]);
                let path = path.with_context(missing)?;
                let items = self.open(path, files)?;
                self.add(self.files.len() - 1, &folder, index, items, files)?
            };
            self.modules[index].children.insert(name, child);
        }
        Ok(index)
    }

    /// Who names whom; an error if a name that must be of this crate is defined nowhere.
    pub(super) fn references(&self) -> Result<References> {
        let mut references = References::new(&self.files, folder(&self.files[0]));
        for (index, Module { file, source, .. }) in self.modules.iter().enumerate() {
            let imports = source.imports.iter().chain(&source.imports_in_bodies);
            let imported = imports.map(|import| (&import.path, self.imported(index, import)));
            let paths = source.paths.iter().map(|path| (path, self.resolved(index, path)));
            for (path, targets) in imported.chain(paths) {
                let (file_name, path) = (&self.files[*file], path.join("::"));
                ensure!(!targets.is_empty(), "{file_name}: nothing defines `{path}`");
                for target in targets {
                    if let Target::Item { file: definer, name } = target {
                        references.add(*file, definer, name);
                    }
                }
            }
        }
        Ok(references)
    }

    /// What `import` names. A name of both a module and an item is the module's; paths will tell
    /// whether the item is used, too.
    fn imported(&self, module: usize, import: &Import) -> Targets {
        let targets = self.resolved(module, &import.path);
        if import.name.is_some() {
            return modules_first(targets);
        }
        let mut all = Targets::new();
        for target in targets {
            if let Target::Module(index) = target {
                self.add_exports(index, &mut BTreeSet::new(), &mut all);
            }
            all.insert(target);
        }
        all
    }

    /// What `module` defines and passes on.
    fn add_exports(&self, module: usize, seen: &mut BTreeSet<usize>, all: &mut Targets) {
        if !seen.insert(module) {
            return;
        }
        let Module { file, source, .. } = &self.modules[module];
        let made = source.has_made_items.then(|| "(made by a macro)".to_owned());
        let own = source.items.iter().cloned().chain(made);
        all.extend(own.map(|name| Target::Item { file: *file, name }));
        for import in source.imports.iter().filter(|import| import.is_export) {
            for target in self.resolved(module, &import.path) {
                match target {
                    Target::Module(inner) if import.name.is_none() => {
                        self.add_exports(inner, seen, all);
                    }
                    other => drop(all.insert(other)),
                }
            }
        }
    }

    fn resolved(&self, module: usize, path: &Path) -> Targets {
        self.resolve(module, path, &mut Pending::new())
    }

    /// What `path`, written in `module`, can end at; nothing if it begins in this crate and a name
    /// in it is unknown.
    fn resolve(&self, module: usize, path: &[String], pending: &mut Pending) -> Targets {
        let [first, rest @ ..] = path else { return Targets::from([Target::Module(module)]) };
        let mut targets = match first.as_str() {
            "crate" => Targets::from([Target::Module(0)]),
            "self" => Targets::from([Target::Module(module)]),
            "super" => Targets::from([Target::Module(self.modules[module].parent)]),
            _ => self.in_scope(module, first, rest.is_empty(), pending),
        };
        for (place, word) in rest.iter().enumerate() {
            let is_last = place + 1 == rest.len();
            let next = modules_first(targets).into_iter().map(|target| match target {
                Target::Module(inner) if word == "super" => {
                    Targets::from([Target::Module(self.modules[inner].parent)])
                }
                Target::Module(inner) => self.member(inner, word, is_last, pending),
                // A variant, or something associated.
                Target::Item { .. } | Target::Elsewhere => Targets::from([target]),
            });
            targets = next.flatten().collect();
        }
        targets
    }

    /// What the first word of a path means in `module`.
    fn in_scope(&self, module: usize, word: &str, is_last: bool, pending: &mut Pending) -> Targets {
        let mut targets = self.look_up(module, word, is_last, pending);
        let in_bodies = self.modules[module].source.imports_in_bodies.iter();
        for import in in_bodies.filter(|import| import.name.as_deref() == Some(word)) {
            if pending.insert((module, format!("use {}", import.path.join("::")), is_last)) {
                targets.extend(self.resolve(module, &import.path, pending));
            }
        }
        if targets.is_empty() { Targets::from([Target::Elsewhere]) } else { targets }
    }

    /// What `module::word` is: a name that nothing defines is one that a macro makes, if one is
    /// called there.
    fn member(&self, module: usize, word: &str, is_last: bool, pending: &mut Pending) -> Targets {
        let targets = self.look_up(module, word, is_last, pending);
        let Module { file, source, .. } = &self.modules[module];
        if targets.is_empty() && source.has_made_items {
            return Targets::from([Target::Item { file: *file, name: word.to_owned() }]);
        }
        targets
    }

    /// What `module` itself means by `word`, else what its globs bring.
    fn look_up(&self, module: usize, word: &str, is_last: bool, pending: &mut Pending) -> Targets {
        let Module { file, children, source, .. } = &self.modules[module];
        let mut targets: Targets =
            children.get(word).copied().map(Target::Module).into_iter().collect();
        if (!targets.is_empty() && !is_last) || !pending.insert((module, word.to_owned(), is_last))
        {
            return targets;
        }
        let own = source.items.get(word).cloned();
        targets.extend(own.map(|name| Target::Item { file: *file, name }));
        for import in source.imports.iter().filter(|import| import.name.as_deref() == Some(word)) {
            targets.extend(self.resolve(module, &import.path, pending));
        }
        if targets.is_empty() {
            targets = self.look_up_in_globs(module, word, is_last, pending);
        }
        targets
    }

    fn look_up_in_globs(
        &self,
        module: usize,
        word: &str,
        is_last: bool,
        pending: &mut Pending,
    ) -> Targets {
        let globs =
            self.modules[module].source.imports.iter().filter(|import| import.name.is_none());
        let mut targets = Targets::new();
        for glob in globs {
            for target in self.resolve(module, &glob.path, pending) {
                match target {
                    Target::Module(inner) => {
                        targets.extend(self.look_up(inner, word, is_last, pending));
                    }
                    Target::Item { .. } => {}
                    Target::Elsewhere => drop(targets.insert(target)),
                }
            }
        }
        targets
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Only the modules among `targets`, if there are any.
fn modules_first(targets: Targets) -> Targets {
    let is_module = |target: &Target| matches!(target, Target::Module(_));
    if targets.iter().any(is_module) {
        targets.into_iter().filter(is_module).collect()
    } else {
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The references of a crate of `(file, text)` with the root `lib.rs`, a line each, sorted.
    fn references(files: &[(&str, &str)]) -> Vec<String> {
        let named = |(file, text): &(&str, &str)| (format!("src/{file}"), (*text).to_owned());
        let files = files.iter().map(named).collect();
        let modules = Modules::of("src/lib.rs", &files).unwrap();
        let references = modules.references().unwrap().to_string();
        let mut lines: Vec<_> = references.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_import_leads_to_the_file_that_defines_the_name() {
        let root = "mod a; mod error; mod shared; pub use error::{Error as Fault, Other};";
        let found = references(&[
            ("lib.rs", root),
            ("error.rs", "pub enum Error { A } pub use crate::shared::*;"),
            ("shared.rs", "pub struct Other; pub fn unused() {}"),
            ("a.rs", "use crate::{Fault, Other}; fn f() -> Fault { Fault::A }"),
        ]);
        let expected = [
            "a.rs -> error.rs (Error)",
            "a.rs -> shared.rs (Other)",
            "error.rs -> shared.rs (Other, unused)",
            "lib.rs -> error.rs (Error)",
            "lib.rs -> shared.rs (Other)",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn modules_alone_and_tests_are_no_edges() {
        let found = references(&[
            ("lib.rs", "mod a; mod b; pub struct Root;"),
            ("a.rs", "use crate::b; use std::fmt; #[cfg(test)] mod tests { use crate::Root; }"),
            ("b.rs", "#[cfg(test)] use crate::a::A; mod inside { use super::super::Root; }"),
        ]);
        assert_eq!(found, ["b.rs -> lib.rs (Root)"]);
    }

    #[test]
    fn paths_through_modules_impls_macros_and_bodies_are_edges() {
        let found = references(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "pub struct A; pub trait T {} pub fn f() {} pub mod deep { pub struct D; }"),
            ("b/mod.rs", "mod d; use crate::a; impl a::A { fn g(&self) { self.c() } }"),
            ("b/d.rs", "fn f() { use super::super::a::T; println!(\"{}\", crate::a::f()); }"),
            ("c.rs", "fn f(a: &str) -> crate::a::deep::D { a.b() }"),
        ]);
        assert_eq!(found, ["b/d.rs -> a.rs (T, f)", "b/mod.rs -> a.rs (A)", "c.rs -> a.rs (D)"]);
    }

    #[test]
    fn a_module_and_a_function_may_share_a_name() {
        let found = references(&[
            ("lib.rs", "mod a; mod b; mod plan; mod run; pub use run::plan;"),
            ("plan.rs", "pub struct Plan; pub fn made() {}"),
            ("run.rs", "pub fn plan() {}"),
            ("a.rs", "use crate::plan; fn f() { plan::made() }"),
            ("b.rs", "use crate::plan; fn f() { plan() }"),
        ]);
        assert_eq!(
            found,
            ["a.rs -> plan.rs (made)", "b.rs -> run.rs (plan)", "lib.rs -> run.rs (plan)"]
        );
    }

    #[test]
    fn what_a_macro_makes_is_of_the_file_that_calls_it() {
        let root = "mod a; mod b; pub use a::Made;";
        let call = "macro_rules! make { ($n:ident) => { pub struct $n; } } make!(Made);";
        let found = references(&[("lib.rs", root), ("a.rs", call), ("b.rs", "use crate::Made;")]);
        assert_eq!(found, ["b.rs -> a.rs (Made)", "lib.rs -> a.rs (Made)"]);
    }

    #[test]
    fn imports_in_circles_and_unknown_names_are_errors() {
        let error = |text: &str| {
            let files = [("src/lib.rs".to_owned(), text.to_owned())].into();
            Modules::of("src/lib.rs", &files).and_then(|modules| modules.references()).unwrap_err()
        };
        let circle = "mod a { pub use super::b::X; } mod b { pub use super::a::X; }";
        assert_eq!(error(circle).to_string(), "src/lib.rs: nothing defines `super::b::X`");
        let unknown = "mod a {} fn f() { a::g() }";
        assert_eq!(error(unknown).to_string(), "src/lib.rs: nothing defines `a::g`");
        assert_eq!(error("mod gone;").to_string(), "src/lib.rs: no file for `mod gone`");
        assert_eq!(error("fn (").to_string(), "cannot parse `src/lib.rs`");
    }
}
