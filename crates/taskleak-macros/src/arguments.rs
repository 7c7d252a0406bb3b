//! The arguments of an attribute: `NAME = VALUE`, or `NAME` alone for a switch, each at most once.
//!
//! Whatever is wrong is told at its own place in the source, with what is allowed.

use std::time::Duration;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, Lit, LitBool, LitInt, LitStr, Meta, Path, Token};
use taskleak_profile::allow::Allow;

/// One argument.
pub(crate) struct Argument {
    meta: Meta,
    name: String,
}

impl Argument {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn span(&self) -> Span {
        self.meta.span()
    }

    /// The value as an expression.
    pub(crate) fn expression(&self, allowed: &str) -> syn::Result<&Expr> {
        match &self.meta {
            Meta::NameValue(given) => Ok(&given.value),
            _ => {
                let name = &self.name;
                Err(self.error(&format!("`{name}` needs a value; allowed: {allowed}")))
            }
        }
    }

    pub(crate) fn text(&self, allowed: &str) -> syn::Result<LitStr> {
        match self.literal(allowed)? {
            Lit::Str(text) => Ok(text),
            other => Err(self.wrong(&other, allowed)),
        }
    }

    /// A whole number, 1 or more.
    pub(crate) fn number(&self) -> syn::Result<LitInt> {
        const ALLOWED: &str = "a whole number from 1";
        match self.literal(ALLOWED)? {
            Lit::Int(number)
                if number
                    .base10_parse::<usize>()
                    .is_ok_and(|number| number > 0) =>
            {
                Ok(number)
            }
            other => Err(self.wrong(&other, ALLOWED)),
        }
    }

    /// `NAME` alone is true.
    pub(crate) fn switch(&self) -> syn::Result<LitBool> {
        if let Meta::Path(path) = &self.meta {
            return Ok(LitBool::new(true, path.span()));
        }
        const ALLOWED: &str = "true or false";
        match self.literal(ALLOWED)? {
            Lit::Bool(switch) => Ok(switch),
            other => Err(self.wrong(&other, ALLOWED)),
        }
    }

    /// One of these words.
    pub(crate) fn word(&self, words: &[&'static str]) -> syn::Result<&'static str> {
        let allowed = quoted(words, "`, `");
        let text = self.text(&allowed)?;
        let given = text.value();
        let known = words.iter().find(|word| **word == given);
        known
            .copied()
            .ok_or_else(|| self.wrong(&Lit::Str(text), &allowed))
    }

    pub(crate) fn path(&self) -> syn::Result<Path> {
        const ALLOWED: &str = "\"a::path\"";
        let text = self.text(ALLOWED)?;
        text.parse()
            .map_err(|_| self.wrong(&Lit::Str(text), ALLOWED))
    }

    /// A time such as `"500ms"`, within these bounds.
    pub(crate) fn duration(&self, least: Duration, most: Duration) -> syn::Result<Duration> {
        let (from, to) = (humantime(least), humantime(most));
        let allowed = format!("a time such as \"500ms\", \"5s\" or \"1m\", from {from} to {to}");
        let text = self.text(&allowed)?;
        humantime::parse_duration(&text.value())
            .ok()
            .filter(|time| (least..=most).contains(time))
            .ok_or_else(|| self.wrong(&Lit::Str(text), &allowed))
    }

    /// Allow rules: one, or several in brackets.
    pub(crate) fn rules(&self) -> syn::Result<Vec<LitStr>> {
        const ALLOWED: &str = "\"function=shop::worker\", or several such rules in brackets";
        let each: Vec<&Expr> = match self.expression(ALLOWED)? {
            Expr::Array(several) => several.elems.iter().collect(),
            one => vec![one],
        };
        each.into_iter()
            .map(|rule| self.rule(rule, ALLOWED))
            .collect()
    }

    fn rule(&self, given: &Expr, allowed: &str) -> syn::Result<LitStr> {
        let text: LitStr = syn::parse2(given.to_token_stream())
            .map_err(|_| self.error_at(given.span(), given, allowed))?;
        match text.value().parse::<Allow>() {
            Ok(_) => Ok(text),
            Err(error) => Err(Error::new(text.span(), error)),
        }
    }

    /// Of an argument that nobody knows.
    pub(crate) fn unknown(&self, known: &[&str]) -> Error {
        let name = &self.name;
        let known = quoted(known, "`, `");
        self.error(&format!("unknown argument `{name}`; allowed: {known}"))
    }

    pub(crate) fn error(&self, message: &str) -> Error {
        Error::new(self.span(), message)
    }

    fn literal(&self, allowed: &str) -> syn::Result<Lit> {
        match self.expression(allowed)? {
            Expr::Lit(literal) => Ok(literal.lit.clone()),
            other => Err(self.error_at(other.span(), other, allowed)),
        }
    }

    fn wrong(&self, given: &Lit, allowed: &str) -> Error {
        self.error_at(given.span(), given, allowed)
    }

    fn error_at(&self, at: Span, given: &impl ToTokens, allowed: &str) -> Error {
        let (name, given) = (&self.name, given.to_token_stream());
        Error::new(
            at,
            format!("`{name}` can't be `{given}`; allowed: {allowed}"),
        )
    }
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let meta: Meta = input.parse()?;
        let name = meta.path().to_token_stream().to_string();
        Ok(Argument { meta, name })
    }
}

/// Gives each argument to `take`.
pub(crate) fn each(
    tokens: TokenStream,
    mut take: impl FnMut(&Argument) -> syn::Result<()>,
) -> syn::Result<()> {
    let all = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(tokens)?;
    let mut seen: Vec<&str> = Vec::new();
    for argument in &all {
        if seen.contains(&argument.name()) {
            let name = argument.name();
            return Err(argument.error(&format!("`{name}` stands twice; allowed: once")));
        }
        take(argument)?;
        seen.push(argument.name());
    }
    Ok(())
}

/// The code of an `Option`.
pub(crate) fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn quoted(words: &[&str], between: &str) -> String {
    format!("`{}`", words.join(between))
}

fn humantime(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}
