//! Checks ARCHITECTURE.md: the tests, files and functions that it names exist, each invariant names
//! its test, and the invariants about dependencies between crates hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// A source file: its path below the repository, and its text.
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    /// Returns `true` if the file has a test of this name that runs: it has the attribute, or a
    /// macro that runs tests lists it. Text in a comment and a test that is ignored do not count.
    pub fn has_test(&self, name: &str) -> bool {
        let function = format!("fn {name}(");
        let item = format!("{name},");
        let lines: Vec<&str> = self.text.lines().map(str::trim).collect();
        let is_listed = lines.contains(&item.as_str());
        let is_declared = |line: &str| {
            let plain = line.strip_prefix("async ").unwrap_or(line);
            plain.starts_with(&function)
        };

        (0..lines.len())
            .filter(|at| is_declared(lines[*at]))
            .any(|at| is_listed || is_run(&lines[..at]))
    }
}

/// Returns `true` if the function behind these lines has the attribute of a test that is run.
fn is_run(before: &[&str]) -> bool {
    let is_other = |line: &&&str| line.is_empty() || line.ends_with(['{', '}', ';']);
    let attributes = before.iter().rev().take_while(|line| !is_other(line));
    let has = |attribute: &str| attributes.clone().any(|line| line.starts_with(attribute));

    (has("#[test]") || has("#[tokio::test")) && !has("#[ignore")
}

pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the Rust files below a folder of the repository.
pub fn sources(folder: &str) -> Vec<Source> {
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();

    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source {
                text: std::fs::read_to_string(&path).unwrap(),
                path: below_root(&path),
            });
        }
    }

    found
}

fn below_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Returns one sentence for each test that the text names and that does not exist, or is not in the
/// file in parentheses after the name.
fn missing_tests(text: &str, sources: &[Source]) -> Vec<String> {
    // Every second piece is between two backticks.
    let pieces: Vec<&str> = text.split('`').collect();
    let quoted = (1..pieces.len()).step_by(2);
    let mut missing = Vec::new();

    for at in quoted.filter(|at| is_test_name(pieces[*at])) {
        let name = pieces[at];
        let file = match (pieces.get(at + 1), pieces.get(at + 2)) {
            (Some(between), Some(file)) if between.trim() == "(" => file,
            _ => ".rs",
        };

        let has_it = |source: &Source| source.path.ends_with(file) && source.has_test(name);
        if !sources.iter().any(has_it) {
            missing.push(format!("no test {name} in {file}"));
        }
    }

    missing
}

/// Returns the Rust files that the text names and that do not exist.
fn missing_files<'a>(text: &'a str, sources: &[Source]) -> Vec<&'a str> {
    let is_file = |name: &&str| name.ends_with(".rs") && !name.contains(char::is_whitespace);
    let exists = |name: &str| {
        let end = format!("/{name}");
        let mut paths = sources.iter().map(|source| &source.path);
        paths.any(|path| path == name || path.ends_with(&end))
    };

    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(is_file)
        .filter(|name| !exists(name))
        .collect()
}

/// Returns one sentence for each function that the text names in parentheses after a file and that
/// the file does not have.
fn missing_functions(text: &str, sources: &[Source]) -> Vec<String> {
    let pieces: Vec<&str> = text.split('`').collect();
    let quoted = (1..pieces.len()).step_by(2);
    let mut missing = Vec::new();

    for at in quoted.filter(|at| pieces[*at].ends_with(".rs")) {
        let file = pieces[at];
        let name = match (pieces.get(at + 1), pieces.get(at + 2)) {
            (Some(between), Some(name)) if between.trim() == "(" && is_function(name) => name,
            _ => continue,
        };

        let plain = name.rsplit("::").next().unwrap_or(name);
        let has_it = |source: &Source| {
            let starts = [format!("fn {plain}("), format!("fn {plain}<")];
            source.path.ends_with(file) && starts.iter().any(|start| source.text.contains(start))
        };
        if !sources.iter().any(has_it) {
            missing.push(format!("no function {name} in {file}"));
        }
    }

    missing
}

/// Returns `true` for a path of names that ends with the name of a function.
fn is_function(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "_:".contains(c);
    text.chars().all(is_part) && !text.ends_with(':')
}

/// Returns `true` for the name of a test. Only tests have names of at least four words in the text.
fn is_test_name(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.chars().all(is_word) && text.matches('_').count() >= 3
}

/// The heading of the list of invariants that concern several crates.
const OF_THE_WHOLE: &str = "## Invariants of the whole\n";
/// The proof of an invariant that the compiler guarantees.
const BY_THE_COMPILER: &str = "by the trait, which has no async function.";

/// Returns the invariants that name neither a test, nor the file of one, nor a command of `bench`.
fn unheld(text: &str) -> Vec<&str> {
    let is_one = |paragraph: &&str| paragraph.starts_with("**Invariant:**");
    let is_held = |paragraph: &str| {
        let proof = paragraph.split_once("Held").map(|(_, proof)| proof);
        proof.is_some_and(is_proof)
    };
    let paragraphs = text.split("\n\n").filter(is_one);
    let single = paragraphs.filter(|paragraph| !is_held(paragraph));

    let section = text.split(OF_THE_WHOLE).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let of_the_whole = section.split("\n- ").filter(|item| !is_proof(item));
    let of_the_whole = of_the_whole.filter(|item| !item.trim().is_empty());

    single.chain(of_the_whole).collect()
}

fn is_proof(text: &str) -> bool {
    let mut quoted = text.split('`').skip(1).step_by(2);
    let is_named =
        |name: &str| is_test_name(name) || name.ends_with(".rs") || name.starts_with("bench ");
    text.trim() == BY_THE_COMPILER || quoted.any(is_named)
}

#[test]
fn each_named_test_exists_and_each_invariant_is_held() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut all = sources("stream");
    all.extend(sources("services"));
    all.extend(sources("bench"));

    assert!(text.matches("**Invariant:**").count() > 15);
    assert_eq!(missing_tests(&text, &all), Vec::<String>::new());
    assert_eq!(missing_files(&text, &all), Vec::<&str>::new());
    assert_eq!(missing_functions(&text, &all), Vec::<String>::new());
    assert_eq!(unheld(&text), Vec::<&str>::new());
}

#[test]
fn a_test_counts_if_it_runs() {
    for (text, is_test) in [
        ("#[test]\nfn one_is_not_two() {}", true),
        ("mod tests {\n    #[test]\n    fn one_is_not_two() {", true),
        (
            "#[tokio::test(flavor = \"multi_thread\")]\nasync fn one_is_not_two() {",
            true,
        ),
        ("#[test]\n// Not yet three.\nfn one_is_not_two() {}", true),
        (
            "on_each! {\n    one_is_not_two,\n}\n\nasync fn one_is_not_two(store: Store) {",
            true,
        ),
        (
            "on_each! {\n    two,\n}\n\nasync fn one_is_not_two(store: Store) {",
            false,
        ),
        ("fn one_is_not_two() {}", false),
        ("#[test]\nfn two() {}\nfn one_is_not_two() {}", false),
        ("#[test]\nfn two() {}\n\nfn one_is_not_two() {}", false),
        ("// #[test]\n// fn one_is_not_two() {}", false),
        ("#[test]\n// fn one_is_not_two() {}\nfn two() {}", false),
        (
            "#[test]\n#[ignore = \"slow\"]\nfn one_is_not_two() {}",
            false,
        ),
        ("#[test]\nfn one_is_not_two_yet() {}", false),
    ] {
        let source = Source {
            path: "one.rs".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(source.has_test("one_is_not_two"), is_test, "{text}");
    }
}

#[test]
fn a_missing_test_and_an_invariant_without_one_are_found() {
    let source = Source {
        path: "services/orders/tests/it/one.rs".to_owned(),
        text: "#[test]\nfn one_is_not_two() {}".to_owned(),
    };
    let sources = [source];

    for (text, problems) in [
        ("Held by `one_is_not_two` (`tests/it/one.rs`).", 0),
        ("Held by\n`one_is_not_two`\n(`it/one.rs`), for example.", 0),
        ("A `created_at_ms`, and `one_is_not_two`.", 0),
        ("Held by `two_is_not_one`.", 1),
        ("Held by `one_is_not_two` (`tests/it/two.rs`).", 1),
        ("Held by `one_is_not` and `is_not_two_at`.", 1),
    ] {
        assert_eq!(missing_tests(text, &sources).len(), problems, "{text}");
    }

    for (text, problems) in [
        (
            "Held by `tests/it/one.rs`, as `services/orders/tests/it/one.rs`.",
            0,
        ),
        ("Held by `it/one.rs`. No code: tests/it/two.rs.", 0),
        ("Held by `tests/it/two.rs`.", 1),
        ("Held by `ne.rs` and by `orders/it/one.rs`.", 2),
        ("Held by `services/orders/tests/it/one.rs.rs`.", 1),
    ] {
        assert_eq!(missing_files(text, &sources).len(), problems, "{text}");
    }

    for (text, problems) in [
        (
            "| `it/one.rs` (`one_is_not_two`); `cut.rs` | `One::admit` |",
            0,
        ),
        ("| `one.rs` (`One::one_is_not_two`) |", 0),
        ("| `one.rs` (`one`) |", 1),
        (
            "| `one.rs` (`One::is_not_two`), `two.rs` (`one_is_not_two`) |",
            2,
        ),
        ("| `one.rs` (`tests/it/two.rs`, on a `--flag`) |", 0),
    ] {
        assert_eq!(missing_functions(text, &sources).len(), problems, "{text}");
    }

    for (invariant, is_held) in [
        ("one.", false),
        ("one. Held by `x`.", false),
        ("`one_is_not_two`, and a test. Held by `source`.", false),
        ("one. Held by `one_is_not_two`.", true),
        ("one. Held by\n`x` and `it/one.rs`.", true),
        ("one. Held by the trait, which has no async function.", true),
    ] {
        let paragraph = format!("**Invariant:** {invariant}");
        let text = format!("No invariant.\n\n{paragraph}\n\nNo invariant.");
        assert_eq!(unheld(&text).is_empty(), is_held, "{invariant}");
    }

    let listed = format!(
        "{OF_THE_WHOLE}\n- Two: `it/two.rs`.\n- Three.\n- `bench idle`.\n\n## Next\n\n- Four.\n"
    );
    assert_eq!(unheld(&listed), ["Three."]);
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// A crate of the workspace.
#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub dependencies: Vec<Dependency>,
    pub manifest_path: PathBuf,
    pub description: Option<String>,
    pub keywords: Vec<String>,
    pub categories: Vec<String>,
    pub readme: Option<PathBuf>,
    pub repository: Option<String>,
    pub documentation: Option<String>,
    pub license: Option<String>,
    pub rust_version: Option<String>,
    /// None if any registry is allowed, and empty if none is.
    pub publish: Option<Vec<String>>,
}

/// A direct dependency.
#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// The required version; `*` if there is none.
    pub req: String,
    /// None for a dependency of the program; `dev` or `build` for other kinds.
    pub kind: Option<String>,
}

/// Returns the crates of the workspace.
pub fn packages() -> Vec<Package> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .arg("--offline")
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    let metadata: Metadata = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata.packages;
    assert!(
        packages.len() > 10,
        "the workspace has {} crates",
        packages.len()
    );

    packages
}

/// Returns the direct dependencies of each crate of the workspace.
fn dependencies() -> BTreeMap<String, Vec<Dependency>> {
    let packages = packages().into_iter();
    packages
        .map(|package| (package.name, package.dependencies))
        .collect()
}

/// Returns the crates that depend on one of these, by `is_wanted`.
fn dependents(is_wanted: impl Fn(&str, &Dependency) -> bool) -> Vec<String> {
    let crates = dependencies();
    let found = crates.iter().filter(|(name, dependencies)| {
        dependencies
            .iter()
            .any(|dependency| is_wanted(name, dependency))
    });

    found.map(|(name, _)| name.clone()).collect()
}

#[test]
fn only_the_record_log_depends_on_librdkafka() {
    let found = dependents(|_, dependency| {
        dependency.kind.as_deref() != Some("dev") && dependency.name.contains("kafka")
    });
    assert_eq!(found, ["record-log"]);
}

#[test]
fn the_engine_knows_no_command_line_no_http_and_no_shop() {
    const OF_OTHERS: [&str; 10] = [
        "clap",
        "axum",
        "hyper",
        "hyper-util",
        "tower",
        "events",
        "chassis",
        "stream-cli",
        "order-analytics",
        "tracing-subscriber",
    ];

    let crates = dependencies();
    for library in ["record-log", "stream"] {
        let linked = crates[library].iter().filter(|one| one.kind.is_none());
        let found: Vec<_> = linked
            .map(|dependency| &*dependency.name)
            .filter(|name| OF_OTHERS.contains(name))
            .collect();
        assert_eq!(found, Vec::<&str>::new(), "{library}");
    }

    let of_the_shop = dependents(|name, dependency| {
        name == "stream-cli" && ["events", "order-analytics"].contains(&&*dependency.name)
    });
    assert_eq!(of_the_shop, Vec::<String>::new());
}

#[test]
fn only_the_platform_links_services() {
    const SERVICES: [&str; 7] = [
        "gateway",
        "users",
        "products",
        "orders",
        "notifications",
        "analytics",
        "file-processor",
    ];

    let found = dependents(|_, dependency| {
        dependency.kind.is_none() && SERVICES.contains(&&*dependency.name)
    });
    assert_eq!(found, ["platform"]);
}

#[test]
fn the_gateway_links_no_store_and_no_contract() {
    const STORES: [&str; 5] = [
        "sqlx",
        "aws-sdk-dynamodb",
        "object_store",
        "record-log",
        "events",
    ];

    let found = dependents(|name, dependency| {
        name == "gateway" && dependency.kind.is_none() && STORES.contains(&&*dependency.name)
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_search_of_products_uses_no_store() {
    const IMPURE: [&str; 5] = ["aws_sdk", "tokio", "crate::store", "std::fs", "Instant"];

    let mut files = sources("services/products/src");
    files.retain(|source| source.path.contains("src/search"));
    assert!(files.len() > 1);

    for source in files {
        for forbidden in IMPURE {
            assert!(
                !source.text.contains(forbidden),
                "{}: {forbidden}",
                source.path
            );
        }
    }
}

#[test]
fn no_service_has_a_static_that_can_change() {
    const CHANGING: [&str; 7] = [
        "static mut ",
        "Mutex<",
        "RwLock<",
        "Atomic",
        "OnceLock<",
        "LazyLock<",
        "Cell<",
    ];

    let mut files = sources("services");
    // The testbed is not a service: it captures the log of each test's thread.
    files.retain(|source| source.path.contains("/src/") && !source.path.contains("/testbed/"));
    assert!(files.len() > 100);

    for source in files {
        let statics = source.text.lines().map(str::trim_start).filter(|line| {
            let item = line.strip_prefix("pub ").unwrap_or(line);
            item.starts_with("static ") || item.starts_with("thread_local!")
        });

        for line in statics {
            let changes = line.starts_with("thread_local!")
                || CHANGING.iter().any(|changing| line.contains(changing));
            assert!(!changes, "{}: {line}", source.path);
        }
    }
}
