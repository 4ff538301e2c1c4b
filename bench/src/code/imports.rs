//! The imports between the files of a crate, and the circles among them.
//!
//! An import is a `use` or a path in the code that leads to another file of the crate. Three things
//! are not imports:
//! - `mod child;` alone, which only declares a file;
//! - a re-export (`pub use`): a file that imports the name imports the file that defines it;
//! - names that a module takes from one that it is nested in (`super::…`): a folder belongs to
//!   the file of its name.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::Visit;

use super::source::{Crate, SourceFile};

/// The modules of a crate by their path, and the names that each re-exports.
struct Modules<'a> {
    files: BTreeMap<&'a [String], usize>,
    reexports: BTreeMap<(usize, String), Vec<String>>,
}

/// Collects the paths of one file.
#[derive(Default)]
struct Paths {
    imported: Vec<Vec<String>>,
    reexported: Vec<Vec<String>>,
}

/// Returns one sentence for each circle of files that import each other.
pub fn circles(member: &Crate) -> Vec<String> {
    let arrows = arrows(&member.files);
    let sentence = |circle: Vec<usize>| {
        let names: Vec<&str> = circle
            .iter()
            .map(|file| &*member.files[*file].path)
            .collect();
        let (last, first) = names.split_last().expect("a circle has files");

        format!(
            "crate {}: {} and {last} import each other in a circle",
            member.name,
            first.join(", ")
        )
    };

    components(&arrows)
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(sentence)
        .collect()
}

/// Returns for each file the files that it imports.
fn arrows(files: &[SourceFile]) -> Vec<BTreeSet<usize>> {
    let paths: Vec<Paths> = files.iter().map(Paths::of).collect();
    let modules = Modules::of(files, &paths);

    let arrows = files
        .iter()
        .zip(&paths)
        .enumerate()
        .map(|(from, (file, paths))| {
            let found = paths
                .imported
                .iter()
                .filter_map(|path| modules.target(file, path));
            found
                .filter(|to| *to != from && !file.module.starts_with(&files[*to].module))
                .collect()
        });

    arrows.collect()
}

impl<'a> Modules<'a> {
    fn of(files: &'a [SourceFile], paths: &[Paths]) -> Self {
        let by_path = files
            .iter()
            .enumerate()
            .map(|(index, file)| (&*file.module, index));

        let mut modules = Self {
            files: by_path.collect(),
            reexports: BTreeMap::new(),
        };

        for (index, (file, paths)) in files.iter().zip(paths).enumerate() {
            for path in &paths.reexported {
                let Some(name) = path.last() else { continue };
                let target = modules.absolute(file, path);
                modules.reexports.insert((index, name.clone()), target);
            }
        }

        modules
    }

    /// Returns the file that a path in `file` leads to.
    fn target(&self, file: &SourceFile, path: &[String]) -> Option<usize> {
        self.resolve(&self.absolute(file, path), 0)
    }

    fn resolve(&self, path: &[String], depth: usize) -> Option<usize> {
        // The limit ends the search if re-exports form a circle.
        const MAX_DEPTH: usize = 8;

        let (length, index) = (0..=path.len()).rev().find_map(|length| {
            self.files
                .get(&path[..length])
                .map(|index| (length, *index))
        })?;

        let name = path.get(length);
        let reexported = name.and_then(|name| self.reexports.get(&(index, name.clone())));
        match reexported {
            Some(target) if depth < MAX_DEPTH => self.resolve(target, depth + 1).or(Some(index)),
            _ => (length > 0 || name.is_some()).then_some(index),
        }
    }

    /// Returns the path from the root of the crate; empty if it leads out of the crate.
    fn absolute(&self, file: &SourceFile, path: &[String]) -> Vec<String> {
        let mut module = file.module.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => {
                module.clear();
                rest = &path[1..];
            }
            Some("self") => rest = &path[1..],
            Some("super") => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            Some(first) => {
                let child: Vec<String> = module.iter().cloned().chain([first.to_owned()]).collect();
                if !self.files.contains_key(&*child) {
                    return Vec::new();
                }
            }
            None => return Vec::new(),
        }

        module.extend(rest.iter().cloned());
        module
    }
}

impl Paths {
    fn of(file: &SourceFile) -> Self {
        let mut paths = Self::default();
        for item in &file.items {
            paths.visit_item(item);
        }
        paths
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
        let found = if is_reexport {
            &mut self.reexported
        } else {
            &mut self.imported
        };
        collect(&item.tree, &mut Vec::new(), found);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            self.imported.push(segments.collect());
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        // Paths of inline modules are relative to another module; outside tests there are none.
        let _ = module;
    }
}

/// Returns the paths of a `use`, one for each name.
fn collect(tree: &syn::UseTree, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let mut push = |name: Option<String>| {
        found.push(prefix.iter().cloned().chain(name).collect());
    };

    match tree {
        syn::UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            collect(&path.tree, prefix, found);
            prefix.pop();
        }
        syn::UseTree::Name(name) if name.ident == "self" => push(None),
        syn::UseTree::Name(name) => push(Some(name.ident.to_string())),
        syn::UseTree::Rename(rename) => push(Some(rename.ident.to_string())),
        syn::UseTree::Glob(_) => push(None),
        syn::UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, prefix, found);
            }
        }
    }
}

/// Returns the strongly connected components of a graph: files that lead to each other. Each is
/// sorted.
fn components(arrows: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..arrows.len()).map(|file| reach(arrows, file)).collect();
    let mut components = BTreeSet::new();
    for (file, reachable) in reached.iter().enumerate() {
        let both_ways = reachable
            .iter()
            .filter(|other| reached[**other].contains(&file));
        let component: BTreeSet<usize> = both_ways.copied().chain([file]).collect();
        components.insert(component.into_iter().collect::<Vec<_>>());
    }

    components.into_iter().collect()
}

/// Returns all files that `file` leads to.
fn reach(arrows: &[BTreeSet<usize>], file: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<usize> = arrows[file].iter().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(&arrows[next]);
        }
    }

    reached
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::member;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        circles(&member(files))
    }

    #[test]
    fn a_circle_over_three_files_is_found_by_use_and_by_path() {
        let circles = found(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::{self, B};"),
            ("b.rs", "fn f() { super::c::g() }"),
            ("c.rs", "pub fn g() -> Option<crate::a::A> { None }"),
        ]);

        assert_eq!(
            circles,
            ["crate shop: a.rs, b.rs and c.rs import each other in a circle"]
        );
    }

    #[test]
    fn a_reexported_name_is_an_import_of_the_file_that_defines_it() {
        let circles = found(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "use crate::B; pub struct A;"),
            ("b.rs", "use crate::A; pub struct B;"),
        ]);
        assert_eq!(circles.len(), 1, "{circles:?}");
    }

    #[test]
    fn a_folder_and_the_file_of_its_name_may_import_each_other() {
        let nested = [
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; use b::B; pub struct A;"),
            ("a/b.rs", "use super::A; pub struct B;"),
        ];
        assert_eq!(found(&nested), Vec::<String>::new());
    }

    #[test]
    fn two_files_of_a_folder_are_a_circle_as_any_two() {
        let circles = found(&[
            ("lib.rs", "mod a;"),
            ("a.rs", "mod b; mod c;"),
            ("a/b.rs", "use super::c::C;"),
            ("a/c.rs", "use crate::a::b::B;"),
        ]);
        assert_eq!(circles.len(), 1, "{circles:?}");
    }
}
