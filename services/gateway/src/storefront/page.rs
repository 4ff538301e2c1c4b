//! A page: its own part, set into the frame that all pages share.
//!
//! A page's file begins with its values, one a line (`title: my orders`), up to an empty line; the
//! rest is its `<main>` element. `frame.html` has placeholders such as `{{title}}` for the values, and
//! `{{main}}`.

const FRAME: &str = include_str!("../../storefront/frame.html");

/// Returns the whole page. Links of the frame that lead to `path` itself are marked as current.
pub(super) fn assemble(path: &str, page: &str) -> String {
    let (values, main) = page
        .split_once("\n\n")
        .expect("an empty line follows the values of a page");

    let mut whole = FRAME.to_owned();
    for line in values.lines() {
        let (name, value) = line.split_once(": ").expect("a value of a page has a name");
        whole = whole.replace(&format!("{{{{{name}}}}}"), value);
    }

    let link = format!("<a href=\"{path}\">");
    let current = format!("<a href=\"{path}\" aria-current=\"page\">");
    whole.replace(&link, &current).replace("{{main}}", main)
}

#[cfg(test)]
mod tests {
    use super::super::files::{FILES, MISSING};
    use super::*;

    #[test]
    fn every_page_gives_each_value_of_the_frame_once() {
        let mut slots: Vec<&str> = FRAME
            .split("{{")
            .skip(1)
            .map(|rest| rest.split_once("}}").expect("a slot ends").0)
            .filter(|name| *name != "main")
            .collect();
        slots.sort_unstable();
        assert!(!slots.is_empty());

        let pages: Vec<_> = FILES
            .iter()
            .chain([&MISSING])
            .filter_map(|file| file.page())
            .collect();
        assert_eq!(pages.len(), 11);

        for page in pages {
            let (values, main) = page.split_once("\n\n").unwrap();
            let mut names: Vec<&str> = values
                .lines()
                .map(|line| line.split_once(": ").unwrap().0)
                .collect();
            names.sort_unstable();

            assert_eq!(names, slots, "{values}");
            assert!(main.starts_with("    <main id=\"main\">"), "{values}");
            assert!(main.ends_with("    </main>\n"), "{values}");
        }
    }

    #[test]
    fn the_link_to_the_page_itself_is_marked_and_no_other() {
        let marked = |path: &str| {
            let page = assemble(path, "title: a\n\n<main></main>");
            let marks = page.split("aria-current=\"page\"").count() - 1;
            (
                marks,
                page.contains(&format!("<a href=\"{path}\" aria-current=\"page\">")),
            )
        };

        for path in ["/", "/live", "/orders", "/admin", "/files", "/docs"] {
            assert_eq!(marked(path), (1, true), "{path}");
        }
        assert_eq!(marked("/products/{id}"), (0, false));
    }
}
