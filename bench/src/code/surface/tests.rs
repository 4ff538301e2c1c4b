//! Tests of the public items of a library.

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
fn variants_and_constants_are_shown_and_hidden_modules_are_not() {
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
fn differences_of_list_and_surface_are_named() {
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
