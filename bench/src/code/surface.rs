//! The public surface of a library: every item that its users can name, one on each line.
//!
//! It is read from source, so it needs no nightly compiler. From `lib.rs` it follows public modules
//! and re-exports, and prints each item there with its fields, variants, methods and traits. A list
//! in the crate's folder keeps the lines, so that a change of the surface changes that file, which
//! a reviewer sees. Items that a macro defines and items that are hidden from the documentation are
//! left out.

mod syntax;

use std::collections::BTreeSet;

use syn::{Fields, ImplItem, Item, TraitItem};

use self::syntax::{
    collect, derives, fields_of, file_of, is_hidden, is_public, is_public_item, is_type, name_of,
    self_name, text, tidy, with, words_of_examples,
};
use super::source::Crate;

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

    /// Returns `true` if a trait is defined in the crate and not public.
    fn is_private(&self, of: &syn::Path) -> bool {
        let items = self.member.files.iter().flat_map(|file| &file.items);
        let mut traits = items.filter_map(|item| match item {
            Item::Trait(item) if !is_public(&item.vis) => Some(&item.ident),
            _ => None,
        });
        traits.any(|name| of.is_ident(name))
    }

    /// Adds the public methods of a type and the traits that it implements anywhere in the crate.
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

#[cfg(test)]
mod tests;
