//! Figures of the code: sizes of files and functions, blank lines in functions, documentation, and
//! words that make prose hard to read.

use std::collections::BTreeMap;

use syn::visit::Visit;

use super::source::SourceFile;

/// The heading above [`Figures::row`].
pub const HEADING: &str = "crate               files  longest   functions  median  ≤ 30  longest   blank  comments   docs";

/// Functions with at most this many lines have no paragraphs; they are left out of the share of
/// blank lines.
const SHORT: usize = 6;

/// Words that the style guide replaces, in groups that are counted together.
const WORDS: [(&str, &[&str]); 5] = [
    (
        "says, said, tells, told",
        &["say", "says", "said", "tell", "tells", "told"],
    ),
    (
        "asks, asked, knows",
        &["ask", "asks", "asked", "knows", "knew"],
    ),
    (
        "whoever, nobody, somebody",
        &["whoever", "nobody", "somebody", "whatever"],
    ),
    ("what", &["what"]),
    ("whether", &["whether"]),
];

/// The figures of some files.
#[derive(Default)]
pub struct Figures {
    files: Vec<usize>,
    functions: Vec<usize>,
    lines: usize,
    doc_lines: usize,
    body: Body,
    words: usize,
    found: BTreeMap<&'static str, usize>,
}

/// The lines of the bodies of functions that are long enough to have paragraphs.
#[derive(Clone, Copy, Default)]
struct Body {
    lines: usize,
    blank: usize,
    comments: usize,
}

/// The first and the last line of each function's body.
#[derive(Default)]
struct Functions(Vec<(usize, usize)>);

impl Figures {
    /// Returns the figures of some files.
    pub fn of(files: &[SourceFile]) -> Self {
        let mut figures = Self::default();
        for file in files {
            figures.count(file);
        }
        figures
    }

    /// Adds the figures of other files.
    pub fn add(&mut self, other: &Self) {
        self.files.extend(&other.files);
        self.functions.extend(&other.functions);
        self.lines += other.lines;
        self.doc_lines += other.doc_lines;
        self.body.lines += other.body.lines;
        self.body.blank += other.body.blank;
        self.body.comments += other.body.comments;
        self.words += other.words;

        for (group, count) in &other.found {
            *self.found.entry(group).or_default() += count;
        }
    }

    /// Returns one line of the table.
    pub fn row(&self, name: &str) -> String {
        let mut functions = self.functions.clone();
        functions.sort_unstable();
        let within = functions.iter().filter(|lines| **lines <= 30).count();

        format!(
            "{name:<18} {:>6} {:>8} {:>11} {:>7} {:>4}% {:>8} {:>6.1}% {:>8.1}% {:>5.1}%",
            self.files.len(),
            self.files.iter().max().unwrap_or(&0),
            functions.len(),
            functions.get(functions.len() / 2).unwrap_or(&0),
            100 * within / functions.len().max(1),
            functions.last().unwrap_or(&0),
            share(self.body.blank, self.body.lines),
            share(self.body.comments, self.body.lines),
            share(self.doc_lines, self.lines),
        )
    }

    /// Returns the frequency of the words of each group in 1,000 words of comments.
    pub fn words(&self) -> String {
        let group = |(group, _): &(&'static str, _)| {
            let count = self.found.get(group).unwrap_or(&0);
            format!("  {group:<26} {:>5.1}", 10.0 * share(*count, self.words))
        };
        let groups: Vec<String> = WORDS.iter().map(group).collect();
        format!("of 1,000 words in comments:\n{}", groups.join("\n"))
    }

    fn count(&mut self, file: &SourceFile) {
        let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
        self.files.push(lines.len());
        self.lines += lines.len();
        self.doc_lines += lines.iter().filter(|line| is_doc(line)).count();
        for line in lines.iter().filter(|line| line.starts_with("//")) {
            self.count_words(line.trim_start_matches(['/', '!']));
        }

        let mut functions = Functions::default();
        for item in &file.items {
            functions.visit_item(item);
        }

        for (first, last) in functions.0 {
            // Between the braces; lines are counted from 1.
            self.count_body(&lines[first.min(last - 1)..last - 1]);
        }
    }

    fn count_body(&mut self, lines: &[&str]) {
        self.functions.push(lines.len());
        if lines.len() > SHORT {
            self.body.lines += lines.len();
            self.body.blank += lines.iter().filter(|line| line.is_empty()).count();
            self.body.comments += lines.iter().filter(|line| line.starts_with("//")).count();
        }
    }

    fn count_words(&mut self, text: &str) {
        let words = text.split(|letter: char| !letter.is_alphabetic() && letter != '\'');
        for word in words.filter(|word| !word.is_empty()) {
            self.words += 1;
            let word = word.to_lowercase();
            for (group, members) in WORDS {
                if members.contains(&&*word) {
                    *self.found.entry(group).or_default() += 1;
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.push(&function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.push(&function.block);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.push(block);
        }
    }
}

impl Functions {
    fn push(&mut self, block: &syn::Block) {
        let braces = block.brace_token.span;
        self.0
            .push((braces.open().start().line, braces.close().start().line));
    }
}

fn is_doc(line: &str) -> bool {
    line.starts_with("///") || line.starts_with("//!")
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of lines and words are small"
)]
fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::member;
    use super::*;

    fn figures(text: &str) -> Figures {
        Figures::of(&member(&[("lib.rs", text)]).files)
    }

    #[test]
    fn functions_are_measured_between_their_braces() {
        let counted = figures(
            "fn a() {}\nfn b() {\n    1;\n    2;\n}\nimpl A {\n    fn c() {\n        3;\n    }\n}\n",
        );
        assert_eq!(counted.functions, [0, 2, 1]);
    }

    #[test]
    fn blank_lines_and_comments_count_in_long_functions_only() {
        let long = "fn a() {\n 1;\n\n // why\n 2;\n 3;\n 4;\n 5;\n 6;\n}\nfn b() {\n\n}\n";
        let body = figures(long).body;
        assert_eq!((body.lines, body.blank, body.comments), (8, 1, 1));
    }

    #[test]
    fn words_are_counted_in_comments_and_not_in_code() {
        let counted = figures("//! Nobody says what.\n// What, said Ann's cat.\nfn what() {}\n");
        assert_eq!(counted.words, 7);
        assert_eq!(counted.found["what"], 2);
        assert_eq!(counted.found["says, said, tells, told"], 2);
        assert_eq!(counted.found["whoever, nobody, somebody"], 1);
    }

    #[test]
    fn figures_of_two_crates_add_up() {
        let mut sum = figures("/// A.\nfn a() {}\n");
        sum.add(&figures("fn b() {}\n"));
        assert_eq!(
            (
                sum.files.len(),
                sum.functions.len(),
                sum.doc_lines,
                sum.lines
            ),
            (2, 2, 1, 3)
        );
    }
}
