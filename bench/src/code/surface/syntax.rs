//! Reads names, visibility and text from the syntax of items.

use quote::ToTokens;
use syn::{Attribute, Fields, Item, ItemImpl, Type, UseTree, Visibility};

use crate::code::source::{Crate, SourceFile};

/// Returns the fields of a variant, which are as public as the variant.
pub fn fields_of(variant: &syn::Variant) -> String {
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

pub fn file_of<'a>(member: &'a Crate, module: &[String]) -> Option<&'a SourceFile> {
    let is_library = |file: &&SourceFile| file.path != "main.rs";
    let mut files = member.files.iter().filter(is_library);
    files.find(|file| file.module == module)
}

/// Collects the paths of a `use`, each with the name that it introduces.
pub fn collect(tree: &UseTree, mut path: Vec<String>, leaves: &mut Vec<(Vec<String>, String)>) {
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

pub fn with(module: &[String], name: &str) -> Vec<String> {
    let mut module = module.to_vec();
    module.push(name.to_owned());
    module
}

pub fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

pub fn is_hidden(attributes: &[Attribute]) -> bool {
    let is_doc_hidden = |attribute: &Attribute| {
        attribute.path().is_ident("doc")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|word| word == "hidden")
    };
    attributes.iter().any(is_doc_hidden)
}

pub fn is_public_item(item: &Item) -> bool {
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

pub fn is_type(item: &Item) -> bool {
    matches!(item, Item::Struct(_) | Item::Enum(_) | Item::Trait(_))
}

pub fn name_of(item: &Item) -> String {
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

pub fn self_name(block: &ItemImpl) -> Option<String> {
    match &*block.self_ty {
        Type::Path(path) => Some(path.path.segments.last()?.ident.to_string()),
        _ => None,
    }
}

/// Returns the traits that a type derives, in the form that follows its name.
pub fn derives(attributes: &[Attribute]) -> String {
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
pub fn words_of_examples(file: &SourceFile) -> Vec<String> {
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

pub fn text(tokens: &impl ToTokens) -> String {
    tokens.to_token_stream().to_string()
}

/// Removes spaces between tokens where people do not write them.
pub fn tidy(line: &str) -> String {
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
