//! Checks the names of public types: one name must not have two meanings.

use std::collections::BTreeMap;

use syn::{Ident, Item, Visibility};

use super::source::Crate;

/// Words of the glossary in CONTRIBUTING.md. Only one crate may have a public type of this name.
const WORDS: [&str; 22] = [
    "Attempt",
    "Checkpoint",
    "CircuitBreaker",
    "Claim",
    "Cut",
    "DeadLetter",
    "Event",
    "Frontier",
    "Fence",
    "KeyGroup",
    "Lease",
    "Manifest",
    "Outbox",
    "Pane",
    "Part",
    "Record",
    "Relay",
    "Retry",
    "Sink",
    "Slot",
    "Source",
    "Watermark",
];

/// Names that mean the same in every crate: each command has its `Args`, each service its `Config`
/// and `Store`.
const ALIKE: [&str; 3] = ["Args", "Config", "Store"];

/// Returns one sentence for each name that a crate gives to two public types.
pub fn used_twice(member: &Crate) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for file in &member.files {
        for name in file.items.iter().filter_map(public_type) {
            places.entry(name.to_string()).or_default().push(&file.path);
        }
    }

    places
        .into_iter()
        .filter(|(name, files)| files.len() > 1 && !ALIKE.contains(&&**name))
        .map(|(name, files)| {
            format!(
                "crate {}: the public type {name} is defined in {}",
                member.name,
                files.join(" and in ")
            )
        })
        .collect()
}

/// Returns one sentence for each word of the glossary that names a public type in two crates.
pub fn meanings(crates: &[Crate]) -> Vec<String> {
    let crates_with = |word: &str| {
        let has_it = |member: &&Crate| {
            let types = member.files.iter().flat_map(|file| &file.items);
            types.filter_map(public_type).any(|name| name == word)
        };

        let names: Vec<&str> = crates
            .iter()
            .filter(has_it)
            .map(|member| &*member.name)
            .collect();
        names
    };

    WORDS
        .iter()
        .map(|word| (word, crates_with(word)))
        .filter(|(_, names)| names.len() > 1)
        .map(|(word, names)| {
            format!(
                "the word {word} of the glossary names a public type in the crates {}",
                names.join(" and ")
            )
        })
        .collect()
}

/// Returns the name of a type that other modules can use.
fn public_type(item: &Item) -> Option<&Ident> {
    let (visibility, name) = match item {
        Item::Struct(item) => (&item.vis, &item.ident),
        Item::Enum(item) => (&item.vis, &item.ident),
        Item::Trait(item) => (&item.vis, &item.ident),
        Item::Type(item) => (&item.vis, &item.ident),
        Item::Union(item) => (&item.vis, &item.ident),
        _ => return None,
    };
    matches!(visibility, Visibility::Public(_)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::member;
    use super::*;

    #[test]
    fn private_types_and_types_of_tests_may_share_a_name() {
        let files = [
            (
                "a.rs",
                "pub struct One; struct Both; #[cfg(test)] mod tests { pub struct One; }",
            ),
            ("b.rs", "pub struct Both;"),
        ];
        assert_eq!(used_twice(&member(&files)), Vec::<String>::new());
    }

    #[test]
    fn a_trait_and_a_struct_of_one_name_are_two_things() {
        let files = [("a.rs", "pub trait Both {}"), ("b.rs", "pub struct Both;")];
        assert_eq!(used_twice(&member(&files)).len(), 1);
    }

    #[test]
    fn each_command_may_have_its_arguments() {
        let files = [("a.rs", "pub struct Args;"), ("b.rs", "pub struct Args;")];
        assert_eq!(used_twice(&member(&files)), Vec::<String>::new());
    }

    #[test]
    fn a_word_of_the_glossary_belongs_to_one_crate() {
        let one = member(&[("a.rs", "pub struct Claim; pub struct Store;")]);
        let other = member(&[("a.rs", "pub enum Claim {} pub struct Store;")]);
        assert_eq!(
            meanings(&[one, other]),
            ["the word Claim of the glossary names a public type in the crates shop and shop"]
        );
    }
}
