//! Which modules of its own crate a source file names, in `use` or in passing. Reads tokens, so that comments, strings and
//! doc tests do not count, and paths inside macros do.

use std::iter::Peekable;

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream};

/// A module at the top of the crate, named somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    /// `store` in `crate::store::Catalog`.
    pub(super) module: String,
    /// Where, counted from 1.
    pub(super) line: usize,
}

/// What a file names, given the path of the module that it is (`["store", "sled_catalog"]`; empty for the crate's root).
/// Test modules are passed over: a test may set up whatever it needs.
pub(super) fn imports(source: &str, module: &[String]) -> Result<Vec<Import>, String> {
    let tokens: TokenStream = source.parse().map_err(|error| format!("{error}"))?;
    let mut found = Vec::new();
    walk(tokens, module, &mut found);
    Ok(found)
}

type Tokens = Peekable<token_stream::IntoIter>;

fn walk(tokens: TokenStream, module: &[String], found: &mut Vec<Import>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut is_test = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Group(attribute)) = tokens.peek() {
                    is_test |= attribute.stream().to_string().replace(' ', "") == "cfg(test)";
                }
            }
            TokenTree::Ident(word) if word == "mod" => {
                let Some(TokenTree::Ident(name)) = tokens.next() else { continue };
                if let Some(TokenTree::Group(body)) = tokens.peek() {
                    if !is_test {
                        let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
                        walk(body.stream(), &inner, found);
                    }
                    tokens.next();
                }
                is_test = false;
            }
            TokenTree::Ident(word) if word == "crate" => path(&mut tokens, &[], found),
            TokenTree::Ident(word) if word == "super" => {
                let mut above = module.split_last().map_or(module, |(_, above)| above);
                while next_segment_is_super(&mut tokens) {
                    above = above.split_last().map_or(above, |(_, above)| above);
                }
                path(&mut tokens, above, found);
            }
            TokenTree::Group(group) => {
                walk(group.stream(), module, found);
                // An attribute's brackets stand before what it is for; any other group ends it.
                if group.delimiter() != Delimiter::Bracket {
                    is_test = false;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => is_test = false,
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Steps over `::super`, if that comes next.
fn next_segment_is_super(tokens: &mut Tokens) -> bool {
    let mut ahead = tokens.clone();
    if colons(&mut ahead) && matches!(ahead.next(), Some(TokenTree::Ident(word)) if word == "super") {
        *tokens = ahead;
        return true;
    }
    false
}

fn colons(tokens: &mut Tokens) -> bool {
    let mut colon = || matches!(tokens.next(), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon() && colon()
}

/// What follows `crate` or `super`s: `::name` or `::{name, name::…}`. Below the top, everything is the module's own.
fn path(tokens: &mut Tokens, above: &[String], found: &mut Vec<Import>) {
    let mut ahead = tokens.clone();
    if !colons(&mut ahead) {
        return;
    }
    *tokens = ahead;
    let mut note =
        |name: String, line: usize| found.push(Import { module: above.first().cloned().unwrap_or(name), line });
    match tokens.peek() {
        Some(TokenTree::Ident(name)) => note(name.to_string(), name.span().start().line),
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let mut begins = true;
            for token in group.stream() {
                if let TokenTree::Ident(name) = &token
                    && begins
                {
                    note(name.to_string(), name.span().start().line);
                }
                begins = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
            }
            tokens.next();
        }
        Some(_) | None => {}
    }
}

#[test]
fn every_way_to_name_a_module_is_seen() {
    let source = r##"
        //! use crate::comment;
        use crate::alpha;
        use crate::{beta::{x, y}, gamma as g, self};
        pub(in crate::delta) fn f() -> crate::epsilon::T {
            let text = "crate::string";
            println!("{}", crate::zeta::z());
            super::eta::h(super::super::theta::t())
        }
        mod inner { use super::super::own; use super::super::super::iota; }
        #[cfg(test)]
        mod tests { use crate::only_in_tests; }
        #[cfg(test)]
        use std::fmt;
        use crate::kappa;
        r#"crate::raw"#;
    "##;
    let module = ["store".to_owned(), "file".to_owned()];
    let seen: Vec<String> = imports(source, &module).unwrap().into_iter().map(|import| import.module).collect();
    let wanted =
        ["alpha", "beta", "gamma", "self", "delta", "epsilon", "zeta", "store", "theta", "store", "iota", "kappa"];
    assert_eq!(seen, wanted);
    assert_eq!(imports("\n\nuse crate::a;", &[]).unwrap(), [Import { module: "a".to_owned(), line: 3 }]);
}
