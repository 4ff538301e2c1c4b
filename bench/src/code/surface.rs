//! The public surface of a library: every item that its users can name, one a line.
//!
//! It is read from source, so it needs no nightly compiler. From `lib.rs` it follows public modules
//! and re-exports, and prints each item there with its fields, variants, methods and traits. A list
//! in the crate's folder keeps the lines, so that a change of the surface is a change of that file,
//! which a review sees. Items that a macro defines are not seen, nor those that are hidden from the
//! documentation.

use std::collections::BTreeSet;

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Type, UseTree, Visibility};

use super::source::{Crate, SourceFile};

/// The libraries whose surface is kept.
pub const KEPT: [&str; 2] = ["stream", "stream-cli"];

/// The file in a crate's folder that keeps its surface.
pub const LIST: &str = "public-items.txt";

/// The public surface of a crate.
#[derive(Default)]
pub struct Surface {
    /// One line for each item.
    pub lines: Vec<String>,
    /// The names of the types and traits.
    types: BTreeSet<String>,
}

impl Surface {
    /// Reads the surface of a crate.
    pub fn of(member: &Crate) -> Self {
        let mut surface = Self::default();
        let place = Place {
            member,
            shown: member.name.replace('-', "_"),
        };
        place.walk(&[], &mut surface);

        surface
    }

    /// Returns one sentence for each line that only the list or only the surface has.
    pub fn changes(&self, name: &str, list: &str) -> Vec<String> {
        let kept: Vec<&str> = list.lines().collect();
        let is_gone = |line: &&str| !self.lines.iter().any(|found| found == *line);
        let is_new = |line: &&String| !kept.contains(&&***line);
        let remedy = "if this is meant, run `cargo run --release -p bench -- code --keep-surface`";

        let gone = kept.iter().copied().filter(is_gone);
        let gone = gone.map(|line| format!("crate {name} has no {line:?} any more; {remedy}"));
        let new = self.lines.iter().filter(is_new);
        let new = new.map(|line| format!("{line:?} of crate {name} is not in {LIST}; {remedy}"));
        gone.chain(new).collect()
    }

    /// Returns one sentence for each public type that no example in the crate's documentation names.
    pub fn without_example(&self, member: &Crate) -> Vec<String> {
        let named: BTreeSet<String> = member.files.iter().flat_map(words_of_examples).collect();
        let missing = self.types.iter().filter(|name| !named.contains(*name));
        missing
            .map(|name| {
                format!(
                    "crate {}: no example names the public type {name}",
                    member.name
                )
            })
            .collect()
    }

    fn add(&mut self, line: &str) {
        self.lines.push(tidy(line));
    }
}

/// A module as a user of the crate names it.
struct Place<'a> {
    member: &'a Crate,
    /// The path of the module.
    shown: String,
}

impl Place<'_> {
    fn walk(&self, module: &[String], surface: &mut Surface) {
        if let Some(file) = file_of(self.member, module) {
            self.walk_items(&file.items, module, surface);
        }
    }

    fn walk_items(&self, items: &[Item], module: &[String], surface: &mut Surface) {
        for item in items {
            match item {
                Item::Use(item) if is_public(&item.vis) => {
                    let mut leaves = Vec::new();
                    collect(&item.tree, Vec::new(), &mut leaves);
                    for (path, name) in leaves {
                        self.reexport(module, &path, &name, surface);
                    }
                }
                Item::Mod(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                    let name = item.ident.to_string();
                    let nested = with(module, &name);
                    let below = self.below(&name);
                    match &item.content {
                        Some((_, items)) => below.walk_items(items, &nested, surface),
                        None => below.walk(&nested, surface),
                    }
                }
                item if is_public_item(item) => self.emit(item, &name_of(item), surface),
                _ => {}
            }
        }
    }

    /// Adds the target of a re-export, under the name that it has here.
    fn reexport(&self, module: &[String], path: &[String], shown: &str, surface: &mut Surface) {
        let (mut module, path) = match path.first().map(String::as_str) {
            Some("crate") => (Vec::new(), &path[1..]),
            Some("self") => (module.to_vec(), &path[1..]),
            _ => (module.to_vec(), path),
        };
        let Some((name, below)) = path.split_last() else {
            return;
        };

        module.extend(below.iter().cloned());
        let Some(file) = file_of(self.member, &module) else {
            surface.add(&format!(
                "use {}::{shown} = {}",
                self.shown,
                path.join("::")
            ));
            return;
        };

        let named = file.items.iter().filter(|item| is_public_item(item));
        for item in named.filter(|item| name_of(item) == *name) {
            self.emit(item, shown, surface);
        }

        let further = file.items.iter().filter_map(|item| match item {
            Item::Use(item) if is_public(&item.vis) => Some(&item.tree),
            _ => None,
        });
        let mut leaves = Vec::new();
        further.for_each(|tree| collect(tree, Vec::new(), &mut leaves));
        for (path, _) in leaves.iter().filter(|(_, alias)| alias == name) {
            self.reexport(&module, path, shown, surface);
        }

        let nested = with(&module, name);
        if file_of(self.member, &nested).is_some() {
            self.below(shown).walk(&nested, surface);
        }
    }

    fn below(&self, name: &str) -> Place<'_> {
        Place {
            member: self.member,
            shown: format!("{}::{name}", self.shown),
        }
    }

    fn emit(&self, item: &Item, shown: &str, surface: &mut Surface) {
        let path = format!("{}::{shown}", self.shown);
        match item {
            Item::Struct(item) => {
                let generics = text(&item.generics);
                surface.add(&format!("struct {path}{generics}{}", derives(&item.attrs)));
                self.fields(&path, &item.fields, surface);
            }
            Item::Enum(item) => {
                let generics = text(&item.generics);
                surface.add(&format!("enum {path}{generics}{}", derives(&item.attrs)));
                for variant in &item.variants {
                    let fields = fields_of(variant);
                    surface.add(&format!("{path}::{}{fields}", variant.ident));
                }
            }
            Item::Trait(item) => {
                let bounds = text(&item.supertraits);
                surface.add(&format!("trait {path}{}: {bounds}", text(&item.generics)));
                for item in &item.items {
                    self.trait_item(&path, item, surface);
                }
            }
            Item::Fn(item) => surface.add(&format!("{path} {}", text(&item.sig))),
            Item::Const(item) => surface.add(&format!("const {path}: {}", text(&item.ty))),
            Item::Type(item) => {
                surface.add(&format!(
                    "type {path}{} = {}",
                    text(&item.generics),
                    text(&item.ty)
                ));
            }
            _ => return,
        }

        if is_type(item) {
            surface.types.insert(name_of(item));
            self.implementations(&name_of(item), &path, surface);
        }
    }

    fn fields(&self, path: &str, fields: &Fields, surface: &mut Surface) {
        for (number, field) in fields.iter().enumerate() {
            if is_public(&field.vis) && !is_hidden(&field.attrs) {
                let name = field.ident.as_ref().map(ToString::to_string);
                let name = name.unwrap_or_else(|| number.to_string());
                surface.add(&format!("{path}.{name}: {}", text(&field.ty)));
            }
        }
    }

    fn trait_item(&self, path: &str, item: &TraitItem, surface: &mut Surface) {
        match item {
            TraitItem::Fn(item) => {
                let given = if item.default.is_some() {
                    " { … }"
                } else {
                    ""
                };
                surface.add(&format!("{path}::{}{given}", text(&item.sig)));
            }
            TraitItem::Const(item) => {
                surface.add(&format!("const {path}::{}: {}", item.ident, text(&item.ty)));
            }
            TraitItem::Type(item) => surface.add(&format!("type {path}::{}", item.ident)),
            _ => {}
        }
    }

    /// Returns whether a trait is the crate's own and not public.
    fn is_private(&self, of: &syn::Path) -> bool {
        let items = self.member.files.iter().flat_map(|file| &file.items);
        let mut traits = items.filter_map(|item| match item {
            Item::Trait(item) if !is_public(&item.vis) => Some(&item.ident),
            _ => None,
        });
        traits.any(|name| of.is_ident(name))
    }

    /// Adds the public methods of a type and the traits that it implements, wherever in the crate.
    fn implementations(&self, name: &str, path: &str, surface: &mut Surface) {
        let items = self.member.files.iter().flat_map(|file| &file.items);
        for item in items {
            let Item::Impl(block) = item else { continue };
            if self_name(block).as_deref() != Some(name) {
                continue;
            }

            match &block.trait_ {
                Some((_, of, _)) if self.is_private(of) => {}
                Some((_, of, _)) => surface.add(&format!("impl {} for {path}", text(of))),
                None => block.items.iter().for_each(|item| match item {
                    ImplItem::Fn(item) if is_public(&item.vis) && !is_hidden(&item.attrs) => {
                        surface.add(&format!("{path}::{}", text(&item.sig)));
                    }
                    ImplItem::Const(item) if is_public(&item.vis) => {
                        surface.add(&format!("const {path}::{}: {}", item.ident, text(&item.ty)));
                    }
                    _ => {}
                }),
            }
        }
    }
}

/// Returns the fields of a variant, which are public as it is.
fn fields_of(variant: &syn::Variant) -> String {
    let field = |field: &syn::Field| match &field.ident {
        Some(name) => format!("{name}: {}", text(&field.ty)),
        None => text(&field.ty),
    };
    let fields: Vec<String> = variant.fields.iter().map(field).collect();

    match &variant.fields {
        Fields::Unit => String::new(),
        Fields::Unnamed(_) => format!("({})", fields.join(", ")),
        Fields::Named(_) => format!(" {{ {} }}", fields.join(", ")),
    }
}

fn file_of<'a>(member: &'a Crate, module: &[String]) -> Option<&'a SourceFile> {
    let is_library = |file: &&SourceFile| file.path != "main.rs";
    let mut files = member.files.iter().filter(is_library);
    files.find(|file| file.module == module)
}

/// Collects the paths of a use, each with the name that it gives.
fn collect(tree: &UseTree, mut path: Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
    match tree {
        UseTree::Path(tree) => {
            path.push(tree.ident.to_string());
            collect(&tree.tree, path, leaves);
        }
        UseTree::Group(group) => {
            let trees = group.items.iter();
            trees.for_each(|tree| collect(tree, path.clone(), leaves));
        }
        UseTree::Name(name) if name.ident == "self" => {
            let name = path.last().cloned().unwrap_or_default();
            leaves.push((path, name));
        }
        UseTree::Name(name) => {
            leaves.push((with(&path, &name.ident.to_string()), name.ident.to_string()));
        }
        UseTree::Rename(name) => {
            leaves.push((
                with(&path, &name.ident.to_string()),
                name.rename.to_string(),
            ));
        }
        UseTree::Glob(_) => leaves.push((with(&path, "*"), "*".to_owned())),
    }
}

fn with(module: &[String], name: &str) -> Vec<String> {
    let mut module = module.to_vec();
    module.push(name.to_owned());
    module
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    let is_doc_hidden = |attribute: &Attribute| {
        attribute.path().is_ident("doc")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|word| word == "hidden")
    };
    attributes.iter().any(is_doc_hidden)
}

fn is_public_item(item: &Item) -> bool {
    match item {
        Item::Struct(item) => is_public(&item.vis),
        Item::Enum(item) => is_public(&item.vis),
        Item::Trait(item) => is_public(&item.vis),
        Item::Fn(item) => is_public(&item.vis),
        Item::Const(item) => is_public(&item.vis),
        Item::Type(item) => is_public(&item.vis),
        _ => false,
    }
}

fn is_type(item: &Item) -> bool {
    matches!(item, Item::Struct(_) | Item::Enum(_) | Item::Trait(_))
}

fn name_of(item: &Item) -> String {
    match item {
        Item::Struct(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Const(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        _ => String::new(),
    }
}

fn self_name(block: &ItemImpl) -> Option<String> {
    match &*block.self_ty {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

/// Returns the traits that a type derives, as they follow its name.
fn derives(attributes: &[Attribute]) -> String {
    let lists = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"));
    let lists =
        lists.filter_map(|attribute| Some(text(&attribute.meta.require_list().ok()?.tokens)));
    let derived: Vec<String> = lists.collect();

    if derived.is_empty() {
        return String::new();
    }
    format!(": {}", derived.join(", "))
}

/// Returns the words in the code blocks of a file's documentation.
fn words_of_examples(file: &SourceFile) -> Vec<String> {
    let mut words = Vec::new();
    let mut is_inside = false;
    for line in file.text.lines().map(str::trim_start) {
        let Some(line) = line.strip_prefix("///").or(line.strip_prefix("//!")) else {
            is_inside = false;
            continue;
        };

        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_inside = !is_inside && matches!(language, "" | "no_run");
        } else if is_inside {
            let is_end = |c: char| !c.is_alphanumeric() && c != '_';
            words.extend(line.split(is_end).map(str::to_owned));
        }
    }

    words
}

fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

/// Removes the blanks between tokens that people do not write.
fn tidy(line: &str) -> String {
    let mut tidy = line.split_whitespace().collect::<Vec<_>>().join(" ");
    for (spaced, written) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("& ", "&"),
        (" :", ":"),
        ("->(", "-> ("),
        (",)", ")"),
        (", >", ">"),
    ] {
        tidy = tidy.replace(spaced, written);
    }
    tidy.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::member;
    use super::*;

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        Surface::of(&member(files)).lines
    }

    #[test]
    fn a_reexport_shows_a_type_with_its_fields_methods_and_traits() {
        let found = lines(&[
            ("lib.rs", "mod a; pub use a::{Basket as Cart, total};"),
            (
                "a.rs",
                "#[derive(Clone, Debug)] pub struct Basket<T> { pub items: Vec<T>, cents: u64 }
                 impl<T> Basket<T> { pub fn add(&mut self, item: T) -> &T { x } fn secret(&self) {} }
                 pub fn total(cents: &[u64]) -> u64 { 0 }
                 pub struct NotShown;",
            ),
            (
                "a/b.rs",
                "trait Own {} impl<T> Own for Basket<T> {}
                 impl<T> Default for Basket<T> { fn default() -> Self { x } }",
            ),
        ]);

        assert_eq!(
            found,
            [
                "struct shop::Cart<T>: Clone, Debug",
                "shop::Cart.items: Vec<T>",
                "shop::Cart::fn add(&mut self, item: T) -> &T",
                "impl Default for shop::Cart",
                "shop::total fn total(cents: &[u64]) -> u64",
            ]
        );
    }

    #[test]
    fn variants_trait_items_and_constants_are_shown_and_hidden_modules_are_not() {
        let found = lines(&[
            (
                "lib.rs",
                "pub mod a; #[doc(hidden)] pub mod inside { pub struct Hidden; } mod b; pub mod c { pub use crate::b::Private as Shown; }",
            ),
            (
                "a.rs",
                "pub enum Fate { Sold(u64), Gone { at: u64 } }
                 pub trait Price: Clone { fn cents(&self) -> u64; fn is_free(&self) -> bool { true } }
                 pub const MOST: usize = 3;",
            ),
            ("b.rs", "pub struct Private;"),
        ]);

        assert_eq!(
            found,
            [
                "enum shop::a::Fate",
                "shop::a::Fate::Sold(u64)",
                "shop::a::Fate::Gone { at: u64 }",
                "trait shop::a::Price: Clone",
                "shop::a::Price::fn cents(&self) -> u64",
                "shop::a::Price::fn is_free(&self) -> bool { … }",
                "const shop::a::MOST: usize",
                "struct shop::c::Shown",
            ]
        );
    }

    #[test]
    fn a_name_that_passes_through_a_second_reexport_is_found() {
        let found = lines(&[
            ("lib.rs", "mod a; pub use a::Deep;"),
            ("a.rs", "mod b; pub use b::Deep;"),
            ("a/b.rs", "pub struct Deep;"),
        ]);
        assert_eq!(found, ["struct shop::Deep"]);
    }

    #[test]
    fn what_only_the_list_or_only_the_surface_has_is_named() {
        let surface = Surface::of(&member(&[("lib.rs", "pub struct Kept; pub struct New;")]));
        let list = "struct shop::Kept\nstruct shop::Gone\n";
        let changes = surface.changes("shop", list);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes[0].contains("struct shop::Gone") && changes[0].contains("any more"));
        assert!(changes[1].contains("struct shop::New") && changes[1].contains("--keep-surface"));

        let same = "struct shop::Kept\nstruct shop::New\n";
        assert_eq!(surface.changes("shop", same), Vec::<String>::new());
    }

    #[test]
    fn an_example_is_code_that_runs_or_compiles() {
        let shop = member(&[(
            "lib.rs",
            "//! ```\n//! Guide::of(1);\n//! ```\n//! Prose names Prose.\n\n\
             /// ```text\n/// Drawn\n/// ```\npub struct Drawn;\n\
             /// ```no_run\n/// Sale;\n/// ```\npub struct Sale;\n\
             pub struct Guide;\npub struct Prose;\n",
        )]);
        let missing = Surface::of(&shop).without_example(&shop);
        assert_eq!(
            missing,
            [
                "crate shop: no example names the public type Drawn",
                "crate shop: no example names the public type Prose",
            ]
        );
    }

    #[test]
    fn the_libraries_of_the_workspace_are_those_that_are_kept() {
        let crates = super::super::source::read_workspace().unwrap();
        for name in KEPT {
            let library = crates.iter().find(|member| member.name == name).unwrap();
            let surface = Surface::of(library);
            assert!(
                surface.lines.len() > 30,
                "{name} has {}",
                surface.lines.len()
            );

            let list = std::fs::read_to_string(library.folder.join(LIST)).unwrap();
            assert_eq!(surface.changes(name, &list), Vec::<String>::new());
            assert_eq!(surface.without_example(library), Vec::<String>::new());
        }
    }
}
