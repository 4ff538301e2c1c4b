//! Finds places that do not follow CONTRIBUTING.md: functions and files that are too long, and a
//! `let` that binds several things.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::source::{Crate, SourceFile};

/// The most lines of a function, between its braces.
const FUNCTION_LINES: usize = 60;
/// The most lines of a file.
const FILE_LINES: usize = 500;

/// Returns a line for each place of a crate.
pub fn places(member: &Crate) -> Vec<String> {
    let mut found = Vec::new();
    for file in &member.files {
        let mut places = Places {
            path: format!("{}/{}", member.name, file.path),
            found: Vec::new(),
        };
        places.measure(file);
        found.append(&mut places.found);
    }

    found
}

/// The places found in a file.
struct Places {
    path: String,
    found: Vec<String>,
}

impl Places {
    fn measure(&mut self, file: &SourceFile) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES {
            self.found.push(format!("{}: {lines} lines", self.path));
        }

        for item in &file.items {
            self.visit_item(item);
        }
    }

    fn measure_function(&mut self, name: &syn::Ident, body: &syn::Block) {
        let braces = body.brace_token.span;
        let first = braces.open().start().line;
        let lines = (braces.close().start().line - first).saturating_sub(1);

        if lines > FUNCTION_LINES {
            let place = format!("{}:{first}: `{name}` has {lines} lines", self.path);
            self.found.push(place);
        }
    }
}

impl<'ast> Visit<'ast> for Places {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure_function(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure_function(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure_function(&function.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let pattern = match &local.pat {
            syn::Pat::Type(typed) => &typed.pat,
            pattern => pattern,
        };
        // A `let` with an `else` is allowed: it compares several values at once.
        let init = local.init.as_ref().filter(|init| init.diverge.is_none());
        let value = init.map(|init| &*init.expr);

        if matches!(
            (pattern, value),
            (syn::Pat::Tuple(_), Some(syn::Expr::Tuple(_)))
        ) {
            let line = local.span().start().line;
            let place = format!("{}:{line}: one `let` binds several things", self.path);
            self.found.push(place);
        }
        visit::visit_local(self, local);
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::tests::member;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        places(&member(&[("lib.rs", text)]))
    }

    #[test]
    fn a_function_may_have_sixty_lines() {
        let function = |lines: usize| format!("fn long() {{\n{}}}\n", "1;\n".repeat(lines));
        assert_eq!(found(&function(60)), Vec::<String>::new());
        assert_eq!(found(&function(61)), ["shop/lib.rs:1: `long` has 61 lines"]);

        let method = format!("struct A;\nimpl A {{\n{}}}", function(61));
        assert_eq!(found(&method), ["shop/lib.rs:3: `long` has 61 lines"]);
        let provided = format!("trait A {{\n{}}}", function(61));
        assert_eq!(found(&provided), ["shop/lib.rs:2: `long` has 61 lines"]);
        let nested = format!("fn outer() {{\n{}}}", function(61));
        assert_eq!(found(&nested).len(), 2, "{:?}", found(&nested));
    }

    #[test]
    fn a_file_may_have_five_hundred_lines() {
        assert_eq!(found(&"\n".repeat(500)), Vec::<String>::new());
        assert_eq!(found(&"\n".repeat(501)), ["shop/lib.rs: 501 lines"]);
    }

    #[test]
    fn a_let_that_takes_a_tuple_apart_where_it_is_made_is_found() {
        for (text, times) in [
            ("let (a, b) = (1, 2);", 1),
            ("let (mut a, _): (u8, u8) = (1, 2);", 1),
            ("if true { let (a, b) = (1, 2); }", 1),
            ("let close = || { let (a, b) = (1, 2); };", 1),
            ("let (Some(a), Some(b)) = (c, d) else { return; };", 0),
            ("let (a, b) = pair();", 0),
            ("let pair = (1, 2);", 0),
            ("let [a, b] = [1, 2].map(twice);", 0),
        ] {
            let function = format!("fn short() {{ {text} }}");
            assert_eq!(found(&function).len(), times, "{text}");
        }
    }
}
