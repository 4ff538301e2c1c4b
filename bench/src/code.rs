//! `bench code`: figures about the layout and the readability of the code, and rules that a machine
//! can check.
//!
//! ```text
//! cargo metadata ──▶ source files ──┬──▶ figures by crate: sizes, blank lines, comments, words   (printed)
//!                    (parsed once)  ├──▶ long functions and files, `let`s of several things        (printed)
//!                                   ├──▶ imports between files ──▶ circles                      (a rule: none)
//!                                   ├──▶ public types by name  ──▶ names used twice             (a rule: none)
//!                                   └──▶ public items          ──▶ changes of a library's surface
//!                                                                  that its list does not have   (a rule: none)
//! ```
//!
//! Tests are left out: modules under `#[cfg(test)]`, with their files, and everything outside `src`. The figures are
//! for a reader; only the rules can fail the command.

mod figures;
mod imports;
mod names;
mod shape;
mod source;
mod surface;

use std::io;

use figures::Figures;
use source::Crate;
use surface::Surface;

/// Prints how the code is laid out, by crate, and fails where files import each other in a circle
/// or a crate uses the name of a public type twice.
#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Write the public items of the libraries to their lists, in place of comparing them
    #[arg(long)]
    keep_surface: bool,
}

/// The reason why the code could not be measured, or a rule that it breaks.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// `cargo metadata` failed.
    #[error("cargo metadata failed: {0}")]
    Metadata(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// A source file is not Rust.
    #[error("{path}: {source}")]
    Unparsable {
        /// The file.
        path: String,
        /// The cause.
        source: syn::Error,
    },
    /// The workspace has no source file, so nothing was measured.
    #[error("the workspace has no source file")]
    Empty,
    /// The rules are broken; each sentence names one place.
    #[error("{} places break the rules of the layout:\n{}", .0.len(), .0.join("\n"))]
    Broken(Vec<String>),
}

impl Args {
    /// Measures the workspace that this program was built in.
    ///
    /// # Errors
    /// [`CodeError`].
    pub fn run(self) -> Result<(), CodeError> {
        let crates = source::read_workspace()?;
        if crates.iter().all(|member| member.files.is_empty()) {
            return Err(CodeError::Empty);
        }

        if self.keep_surface {
            return keep_surfaces(&crates);
        }

        print_figures(&crates);
        let mut broken = broken_rules(&crates);
        broken.extend(changed_surfaces(&crates)?);
        if broken.is_empty() {
            println!(
                "\nno circle of imports, no public type's name used twice, the libraries' surfaces as kept"
            );
            Ok(())
        } else {
            Err(CodeError::Broken(broken))
        }
    }
}

/// Returns the libraries whose surface is kept.
fn libraries(crates: &[Crate]) -> impl Iterator<Item = &Crate> {
    let is_kept = |member: &&Crate| surface::KEPT.contains(&&*member.name);
    crates.iter().filter(is_kept)
}

fn keep_surfaces(crates: &[Crate]) -> Result<(), CodeError> {
    for library in libraries(crates) {
        let path = library.folder.join(surface::LIST);
        let lines = Surface::of(library).lines;
        std::fs::write(&path, lines.join("\n") + "\n").map_err(|source| CodeError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        println!("{}: {} public items", library.name, lines.len());
    }

    Ok(())
}

fn changed_surfaces(crates: &[Crate]) -> Result<Vec<String>, CodeError> {
    let mut broken = Vec::new();
    for library in libraries(crates) {
        let path = library.folder.join(surface::LIST);
        let list = std::fs::read_to_string(&path).map_err(|source| CodeError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;

        let surface = Surface::of(library);
        broken.extend(surface.changes(&library.name, &list));
        broken.extend(surface.without_example(library));
        println!("{}: {} public items", library.name, surface.lines.len());
    }

    Ok(broken)
}

fn print_figures(crates: &[Crate]) {
    println!("{}", figures::HEADING);
    let mut total = Figures::default();
    for member in crates {
        let figures = Figures::of(&member.files);
        println!("{}", figures.row(&member.name));
        total.add(&figures);
    }

    println!("{}", total.row("all"));

    println!("\n{}", total.words());

    let places: Vec<String> = crates.iter().flat_map(shape::places).collect();
    println!(
        "\n{} places are too long, or bind several things by one `let`",
        places.len()
    );
    for place in places {
        println!("  {place}");
    }
}

fn broken_rules(crates: &[Crate]) -> Vec<String> {
    let circles = crates.iter().flat_map(imports::circles);
    let twice = crates.iter().flat_map(names::used_twice);
    let elsewhere = names::meanings(crates);
    circles.chain(twice).chain(elsewhere).collect()
}

#[cfg(test)]
mod tests {
    use super::source::tests::member;
    use super::*;

    #[test]
    fn the_rules_name_the_place_that_breaks_them() {
        let broken = broken_rules(&[member(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct Twice;"),
            ("b.rs", "use super::a::A; pub enum Twice {}"),
        ])]);

        assert_eq!(
            broken,
            [
                "crate shop: a.rs and b.rs import each other in a circle",
                "crate shop: the public type Twice is defined in a.rs and in b.rs",
            ]
        );
    }

    #[test]
    fn code_that_keeps_the_rules_breaks_none() {
        let kept = [
            ("lib.rs", "mod a; mod b; pub use b::B;"),
            ("a.rs", "use crate::B; pub struct A;"),
            ("b.rs", "pub struct B;"),
        ];
        assert_eq!(broken_rules(&[member(&kept)]), Vec::<String>::new());
    }
}
