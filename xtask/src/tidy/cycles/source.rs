//! What the source of one module defines, imports and names.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::visit::{self, Visit};
use syn::{Attribute, ForeignItem, Ident, ImplItem, Item, Meta, Token, TraitItem, UseTree};
use syn::{ItemUse, Macro, Visibility, punctuated::Punctuated};

/// The words of a path, `crate`, `self` and `super` among them.
pub(super) type Path = Vec<String>;

/// One module without the modules inside it, and without what is compiled for tests alone.
#[derive(Default)]
pub(super) struct Source {
    pub(super) items: BTreeSet<String>,
    /// Macros make items here, whose names nobody can read in the source.
    pub(super) has_made_items: bool,
    pub(super) imports: Vec<Import>,
    /// Imports inside bodies, as if they held for the whole module.
    pub(super) imports_in_bodies: Vec<Import>,
    /// Declared modules, and the items of those that are written in place.
    pub(super) modules: Vec<(String, Option<Vec<Item>>)>,
    /// Every path written outside `use`.
    pub(super) paths: BTreeSet<Path>,
}

/// One leaf of a `use`.
#[derive(Clone, Debug)]
pub(super) struct Import {
    pub(super) path: Path,
    /// The name it gets here; a glob has none.
    pub(super) name: Option<String>,
    /// Whether other modules can take it from here.
    pub(super) is_export: bool,
}

impl Source {
    pub(super) fn of(items: Vec<Item>) -> Self {
        let mut source = Self::default();
        for item in items {
            if !only_in_tests(attributes(&item)) {
                source.add(item);
            }
        }
        source
    }

    fn add(&mut self, item: Item) {
        match item {
            Item::Mod(module) => {
                let inside = module.content.map(|(_, items)| items);
                self.modules.push((module.ident.to_string(), inside));
            }
            Item::Use(import) => self.imports.extend(leaves(&import)),
            item => {
                let is_call = matches!(&item, Item::Macro(call) if call.ident.is_none());
                self.has_made_items |= is_call;
                self.items.extend(defined(&item));
                self.visit_item(&item);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item(&mut self, item: &'ast Item) {
        if !only_in_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs[..],
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !only_in_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes = match item {
            TraitItem::Const(item) => &item.attrs[..],
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !only_in_tests(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        self.imports_in_bodies.extend(leaves(import));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.paths.insert(words(path));
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.paths.extend(paths_of_tokens(call.tokens.clone()));
    }

    /// `value_parser = units::size` and `with = "super::runs"`. A single word is more often an
    /// option of the attribute than a name, and a name would be imported.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            let plain = paths_of_tokens(list.tokens.clone());
            let quoted = quoted_paths(list.tokens.clone());
            self.paths.extend(plain.into_iter().chain(quoted).filter(|path| path.len() > 1));
        }
    }

    /// `pub(in crate::module)` uses nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn words(path: &syn::Path) -> Path {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn leaves(import: &ItemUse) -> Vec<Import> {
    let mut leaves = Vec::new();
    if import.leading_colon.is_none() {
        let is_export = !matches!(import.vis, Visibility::Inherited);
        add_leaves(&import.tree, Vec::new(), is_export, &mut leaves);
    }
    leaves
}

fn add_leaves(tree: &UseTree, mut path: Path, is_export: bool, leaves: &mut Vec<Import>) {
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            add_leaves(&inner.tree, path, is_export, leaves);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                add_leaves(tree, path.clone(), is_export, leaves);
            }
        }
        UseTree::Glob(_) => leaves.push(Import { path, name: None, is_export }),
        UseTree::Name(leaf) => leaves.push(imported(path, &leaf.ident, None, is_export)),
        UseTree::Rename(leaf) => {
            leaves.push(imported(path, &leaf.ident, Some(&leaf.rename), is_export));
        }
    }
}

/// `path::{self}` is `path`.
fn imported(mut path: Path, leaf: &Ident, renamed: Option<&Ident>, is_export: bool) -> Import {
    if leaf != "self" || path.is_empty() {
        path.push(leaf.to_string());
    }
    let name = renamed.map(Ident::to_string).or_else(|| path.last().cloned());
    Import { path, name, is_export }
}

/// Words joined by `::` in what a macro or an attribute is given. Fields, methods, lifetimes, and
/// what a macro's own parameter stands for are no paths.
fn paths_of_tokens(tokens: TokenStream) -> Vec<Path> {
    let mut paths = vec![Path::new()];
    let mut before = String::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                match paths.last_mut() {
                    Some(path) if before == "::" && !path.is_empty() => path.push(word),
                    _ if begins_path(&before, &word) => paths.push(vec![word]),
                    _ => paths.push(Path::new()),
                }
                before.clear();
            }
            TokenTree::Punct(mark) => before.push(mark.as_char()),
            TokenTree::Group(group) => {
                paths.extend(paths_of_tokens(group.stream()));
                paths.push(Path::new());
                before.clear();
            }
            TokenTree::Literal(_) => {
                paths.push(Path::new());
                before.clear();
            }
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn begins_path(before: &str, word: &str) -> bool {
    let is_field = before.ends_with('.') && !before.ends_with("..");
    let is_parameter = before.ends_with('$') && word != "crate";
    !(is_field || is_parameter || before.ends_with("::") || before.ends_with('\''))
}

fn quoted_paths(tokens: TokenStream) -> impl Iterator<Item = Path> {
    let literals = tokens.into_iter().filter_map(|token| match token {
        TokenTree::Literal(literal) => Some(literal.to_string()),
        _ => None,
    });
    let paths = literals.filter_map(|text| {
        let inside = text.strip_prefix('"')?.strip_suffix('"')?;
        syn::parse_str::<syn::Path>(inside).ok()
    });
    paths.filter(|path| path.leading_colon.is_none()).map(|path| words(&path))
}

fn only_in_tests(attributes: &[Attribute]) -> bool {
    let conditions = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    conditions
        .filter_map(|attribute| attribute.parse_args().ok())
        .any(|condition: Meta| needs_test(&condition))
}

/// Whether `condition` can hold only where `test` does.
fn needs_test(condition: &Meta) -> bool {
    let Meta::List(list) = condition else { return condition.path().is_ident("test") };
    let Ok(parts) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return false;
    };
    if list.path.is_ident("all") {
        parts.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && parts.iter().all(needs_test)
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The names that `item` adds to its module.
fn defined(item: &Item) -> Vec<String> {
    let name = match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        Item::ForeignMod(block) => {
            return block.items.iter().filter_map(foreign).map(Ident::to_string).collect();
        }
        _ => None,
    };
    name.map(Ident::to_string).into_iter().collect()
}

fn foreign(item: &ForeignItem) -> Option<&Ident> {
    match item {
        ForeignItem::Fn(item) => Some(&item.sig.ident),
        ForeignItem::Static(item) => Some(&item.ident),
        ForeignItem::Type(item) => Some(&item.ident),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(syn::parse_file(text).unwrap().items)
    }

    fn paths(text: &str) -> Vec<String> {
        source(text).paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn a_use_has_a_leaf_per_name() {
        let text = "use a::{self, b::C, d as e, f::*}; pub(crate) use super::g; use ::std::h;";
        let leaves = source(text).imports;
        let shown: Vec<_> = leaves
            .iter()
            .map(|leaf| (leaf.path.join("::"), leaf.name.as_deref(), leaf.is_export))
            .collect();
        let expected = [
            ("a", Some("a"), false),
            ("a::b::C", Some("C"), false),
            ("a::d", Some("e"), false),
            ("a::f", None, false),
            ("super::g", Some("g"), true),
        ];
        assert_eq!(shown, expected.map(|(path, name, export)| (path.to_owned(), name, export)));
    }

    #[test]
    fn paths_stand_in_types_bodies_macros_and_attributes() {
        assert_eq!(
            paths("impl crate::A for b::B { fn f(&self) -> c::C<d::D> { e::F.g() } }"),
            ["b::B", "c::C", "crate::A", "d::D", "e::F"]
        );
        assert_eq!(
            paths("fn f() { m!(a::B, x.y::<c::D>(), &'k E, ::std::g, h..i::j) }"),
            ["E", "a::B", "c::D", "h", "i::j", "m", "x"]
        );
        assert_eq!(paths("macro_rules! m { ($t:ident) => { $crate::a($t::b) } }").len(), 3);
        assert_eq!(
            paths("#[arg(value_parser = a::b, long)] #[serde(with = \"super::c\")] struct S;"),
            ["a::b", "super::c"]
        );
    }

    #[test]
    fn what_only_tests_see_is_left_out() {
        let text = "#[cfg(test)] mod tests { use super::*; }\n\
                    #[cfg(all(unix, test))] use a::B;\n\
                    #[cfg(any(unix, test))] fn kept() {}\n\
                    #[cfg(not(test))] fn kept_too() {}\n\
                    impl S { #[cfg(test)] fn f() -> c::D {} }";
        let source = source(text);
        assert!(source.modules.is_empty());
        assert!(source.imports.is_empty());
        assert_eq!(source.items.into_iter().collect::<Vec<_>>(), ["kept", "kept_too"]);
        assert_eq!(source.paths.into_iter().collect::<Vec<_>>(), [["S"]]);
    }
}
