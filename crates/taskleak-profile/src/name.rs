//! Names: what a symbol is called on screen, and where in the source its function lies.
//!
//! Rules:
//! 1. A linkage name gives the path; `DW_AT_name` tells an async fn from an async block from a
//!    closure, which a linkage name does not.
//! 2. Shown names hold no hashes, disambiguators, generic arguments or compiler's numbers.
//!    `<T as Trait>::method` stays as it is written in Rust.
//! 3. A function without a linkage name (`debug = "line-tables-only"` keeps none of inlined
//!    functions) has no path. The path of a body (`{async_fn#0}`) that a generic function polls
//!    stands in the `DW_AT_name` of that one: `poll<shop::pay::{async_fn_env#0}>`. The file of
//!    std's and of a packaged crate's functions tells their module. Else only the function's own
//!    name is shown.
//! 4. What a name does not tell is left out. One thing is assumed: that a body of which only the
//!    linkage name is there is that of an async fn.

use crate::hide::{is_library, is_own};
use crate::raw::RawSymbol;

/// What a function is called, and what the rules of hiding and waiting look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Name {
    /// The name as people write it: `shop::cart::checkout`.
    pub(crate) shown: String,
    /// Where the function stands.
    pub(crate) place: Place,
    /// The user's future that a library's function polls, told by its type parameter. In a build
    /// without debug info that may be all there is of it: it was inlined.
    pub(crate) future: Option<String>,
    /// The function whose body a `PollFn` or its like polls, told by its type parameter.
    pub(crate) polled: Option<Place>,
    /// A symbol that Rust did not mangle: a function of C.
    pub(crate) is_c: bool,
    /// `async_fn#0`, of a body that has no path.
    body: Option<String>,
    /// The bodies among the type parameters in its `DW_AT_name`.
    parameters: Vec<Body>,
}

/// A body (`shop::pay::{async_fn_env#0}`) that a type parameter names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Body {
    /// `async_fn#0`.
    own: String,
    shown: String,
    path: String,
}

/// Where a function stands: crate, modules, type and function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// `tokio::sync::mpsc::chan::Rx::recv`. Of a trait's method the type's path, unless that is a
    /// reference, a parameter or a trait object, or the trait is implemented for all types: then
    /// the trait's.
    pub(crate) path: String,
    /// The path was read off the file, so it holds no type, and no function where that has no
    /// name of its own (`{async_fn#0}`).
    pub(crate) from_file: bool,
    /// The body of a macro of another crate, expanded in the function of `path`.
    pub(crate) in_macro: bool,
}

impl Place {
    /// Read off a name as [`Name::shown`] has it.
    pub(crate) fn of_shown(shown: &str) -> Place {
        Path::parse(shown).place()
    }

    /// The crate; empty if it is not known.
    pub(crate) fn krate(&self) -> &str {
        self.path.split("::").next().unwrap_or_default()
    }

    /// The `block_on` that people call. It makes the task's span before anything polls, so its
    /// type parameter does not say who is on the stack; the `block_on` that it calls does.
    fn makes_block_on_span(&self) -> bool {
        const CALLED: [&str; 4] = [
            "tokio::runtime::handle::Handle::block_on",
            "tokio::runtime::local_runtime::runtime::LocalRuntime::block_on",
            "tokio::runtime::runtime::Runtime::block_on",
            "tokio::task::local::LocalSet::block_on",
        ];
        CALLED.iter().any(|called| self.path.starts_with(called))
    }

    /// The part of the path below a module.
    pub(crate) fn below(&self, module: &str) -> Option<&str> {
        let rest = self.path.strip_prefix(module)?;
        if rest.is_empty() {
            Some(rest)
        } else {
            rest.strip_prefix("::")
        }
    }
}

impl Name {
    /// The name of a symbol.
    pub(crate) fn of(symbol: &RawSymbol) -> Name {
        let file = symbol.file.as_deref();
        let Some(linkage) = &symbol.linkage_name else {
            return Name::without_path(symbol.dwarf_name.as_deref().unwrap_or_default(), file);
        };
        let Ok(demangled) = rustc_demangle::try_demangle(linkage) else {
            return Name {
                shown: linkage.clone(),
                is_c: true,
                ..Name::default()
            };
        };
        let demangled = format!("{demangled:#}");
        let path = Path::parse(&demangled);
        Name {
            shown: path.shown(symbol.dwarf_name.as_deref()),
            place: Place {
                in_macro: path.is_macro_body(file),
                ..path.place()
            },
            // Debug info lists what was inlined.
            future: symbol.dwarf_name.is_none().then(|| path.future()).flatten(),
            polled: path.polled(),
            is_c: false,
            body: None,
            parameters: symbol
                .dwarf_name
                .as_deref()
                .map(bodies_in)
                .unwrap_or_default(),
        }
    }

    /// A library's function that a user's future was inlined into, as that future.
    pub(crate) fn of_future(shown: String) -> Name {
        let place = Place {
            path: shown.clone(),
            ..Place::default()
        };
        Name {
            shown,
            place,
            ..Name::default()
        }
    }

    /// Names a body without a path after the type parameter of the function that polls it.
    pub(crate) fn adopt_path(&mut self, polled_by: &Name) {
        let Some(own) = &self.body else { return };
        if let Some(body) = polled_by.parameters.iter().find(|body| body.own == *own) {
            self.shown.clone_from(&body.shown);
            let place = Place {
                path: body.path.clone(),
                from_file: true,
                in_macro: false,
            };
            let in_macro = is_library(self.place.krate()) && !is_library(place.krate());
            self.place = Place { in_macro, ..place };
        }
    }

    fn without_path(dwarf_name: &str, file: Option<&str>) -> Name {
        let own = without_generics(dwarf_name);
        let body = own.strip_prefix('{').and_then(|own| own.strip_suffix('}'));
        let function = if body.is_some() { "" } else { own };
        let shown = body.map_or(own.to_owned(), |body| format!("{{{}}}", body_kind(body)));
        let module = file.and_then(module_of);
        let place = module.as_ref().map(|module| Place {
            path: format!("{module}::{function}"),
            from_file: true,
            in_macro: false,
        });
        Name {
            shown: module.map_or(shown.clone(), |module| format!("{module}::{shown}")),
            place: place.unwrap_or_default(),
            body: body.map(str::to_owned),
            parameters: bodies_in(dwarf_name),
            ..Name::default()
        }
    }
}

/// A demangled path, split at its outermost `::`.
struct Path<'a> {
    segments: Vec<Segment<'a>>,
}

enum Segment<'a> {
    /// `recv`, `Receiver<T>`; the generic arguments are in `args`.
    Ident { name: &'a str, args: &'a str },
    /// `<T as Trait>`, `<T>`, and the legacy `<impl Trait for T>`.
    Type {
        of: &'a str,
        of_trait: Option<&'a str>,
    },
    /// `{closure#0}`, `{{closure}}`, `{shim:vtable#0}`.
    Body(&'a str),
}

impl<'a> Path<'a> {
    fn parse(text: &'a str) -> Path<'a> {
        let mut segments: Vec<Segment<'a>> = Vec::new();
        for part in split(text, "::") {
            match part.as_bytes().first() {
                Some(b'{') => segments.push(Segment::Body(without_generics(part))),
                Some(b'<') if segments.is_empty() || part.starts_with("<impl ") => {
                    // A legacy impl block stands for its type; the module before it does not count.
                    segments = vec![self_type(angle(part))];
                }
                // The arguments of what stands before: `block_on::<F>`.
                Some(b'<') => {
                    if let Some(Segment::Ident { args, .. }) = segments.last_mut() {
                        *args = angle(part);
                    }
                }
                _ => {
                    let name = without_generics(part);
                    segments.push(Segment::Ident {
                        name,
                        args: angle(&part[name.len()..]),
                    });
                }
            }
        }
        Path { segments }
    }

    /// The path for the screen; `dwarf_name` says what its last body is.
    fn shown(&self, dwarf_name: Option<&str>) -> String {
        let mut parts: Vec<String> = Vec::new();
        for segment in &self.segments {
            match segment {
                Segment::Ident { name, .. } => parts.push((*name).to_owned()),
                Segment::Type {
                    of,
                    of_trait: Some(of_trait),
                } => {
                    parts.push(format!("<{} as {}>", shown_type(of), shown_type(of_trait)));
                }
                Segment::Type { of, of_trait: None } if path_of_type(of).is_none() => {
                    parts.push(format!("<{}>", shown_type(of)));
                }
                Segment::Type { of, .. } => parts.push(shown_type(of)),
                Segment::Body(_) => {}
            }
        }
        let kind = match dwarf_name.and_then(|name| name.strip_prefix('{')) {
            _ if self.bodies() == 0 => "",
            Some(body) => body_kind(body),
            None => self.likely_kind(),
        };
        // The body of an async fn is what people mean by its name.
        if !kind.is_empty() && !kind.ends_with("fn") {
            parts.push(format!("{{{kind}}}"));
        }
        parts.join("::")
    }

    /// The kind of body where only the linkage name is there, and that says `{closure}` of each.
    /// Most bodies on a task's stack are those of an async fn; a body in a body, or in `main`,
    /// which can't be async, is none.
    fn likely_kind(&self) -> &'static str {
        if self.bodies() > 1 || self.is_main() {
            "closure"
        } else {
            "async fn"
        }
    }

    fn is_main(&self) -> bool {
        matches!(
            self.segments[..],
            [
                Segment::Ident { .. },
                Segment::Ident { name: "main", .. },
                ..
            ]
        )
    }

    /// The type arguments of its last part that has some.
    fn arguments(&self) -> Option<&'a str> {
        self.segments
            .iter()
            .rev()
            .find_map(|segment| match segment {
                Segment::Ident { args, .. } => (!args.is_empty()).then_some(*args),
                Segment::Type { of, .. } => Some(*of),
                Segment::Body(_) => None,
            })
    }

    /// How many bodies it ends in.
    fn bodies(&self) -> usize {
        self.segments
            .iter()
            .rev()
            .take_while(|segment| is_body(segment))
            .count()
    }

    fn place(&self) -> Place {
        let mut parts: Vec<&str> = Vec::new();
        for segment in &self.segments {
            match segment {
                Segment::Ident { name, .. } => parts.push(name),
                Segment::Type { of, of_trait } => {
                    let of_trait = of_trait.and_then(path_of_type);
                    let blanket = of_trait.filter(|of_trait| is_blanket(of_trait));
                    let own = blanket.or_else(|| path_of_type(of)).or(of_trait);
                    parts.extend(
                        own.into_iter()
                            .flat_map(|path| split(path, "::"))
                            .map(without_generics),
                    );
                }
                Segment::Body(_) => {}
            }
        }
        Place {
            path: parts.join("::"),
            ..Place::default()
        }
    }

    fn is_of_library(&self) -> bool {
        is_library(self.place().krate())
    }

    /// A closure that a macro of another crate made: the path is of the function that uses the
    /// macro, the file is the macro's (`tokio/src/macros/select.rs`).
    fn is_macro_body(&self, file: Option<&str>) -> bool {
        let Some(module) = file.and_then(module_of) else {
            return false;
        };
        let of_file = module.split("::").next().unwrap_or_default();
        self.bodies() > 0 && is_library(of_file) && !self.is_of_library()
    }

    /// The user's future that a library's function polls, if its parameters leave no doubt.
    fn future(&self) -> Option<String> {
        const POLLS: [&str; 4] = [
            "poll",
            "try_poll",
            "block_on",
            "__rust_begin_short_backtrace",
        ];
        let place = self.place();
        let function = place.path.rsplit("::").next()?;
        let polls = POLLS.iter().any(|polls| function.starts_with(polls));
        if !polls || !is_library(place.krate()) || place.makes_block_on_span() {
            return None;
        }
        let future = Path::parse(first_future(self.arguments()?)?);
        // `main` can't be async, so what is polled of it is a block.
        let kind = future.is_main().then_some("{async_block#0}");
        Some(future.shown(kind))
    }

    /// The function whose body is the parameter of a future that only passes the poll on.
    fn polled(&self) -> Option<Place> {
        const PASS_ON: [&str; 5] = [
            "core::future::poll_fn::PollFn",
            "futures_util::future::poll_fn::PollFn",
            "tokio::task::coop::Coop",
            "tokio::util::trace::InstrumentedAsyncOp",
            "tracing::instrument::Instrumented",
        ];
        let Some(Segment::Type { of, .. }) = self.segments.first() else {
            return None;
        };
        let polled = PASS_ON.iter().find_map(|future| of.strip_prefix(future))?;
        let path = Path::parse(angle(polled));
        (path.bodies() > 0).then(|| path.place())
    }
}

fn is_body(segment: &Segment<'_>) -> bool {
    matches!(segment, Segment::Body(_))
}

/// The type of a qualified path or of a legacy impl block, without its angle brackets.
fn self_type(inner: &str) -> Segment<'_> {
    if let Some(block) = inner.strip_prefix("impl ") {
        return match split(block, " for ")[..] {
            [of_trait, of] => Segment::Type {
                of,
                of_trait: Some(of_trait),
            },
            _ => Segment::Type {
                of: block,
                of_trait: None,
            },
        };
    }
    match split(inner, " as ")[..] {
        [of, of_trait] => Segment::Type {
            of,
            of_trait: Some(of_trait),
        },
        _ => Segment::Type {
            of: inner,
            of_trait: None,
        },
    }
}

/// A trait of the futures crates that is implemented once, for every future or stream.
fn is_blanket(of_trait: &str) -> bool {
    let name = without_generics(of_trait)
        .rsplit("::")
        .next()
        .unwrap_or_default();
    of_trait.starts_with("futures_") && (name.starts_with("Try") || name.ends_with("Ext"))
}

/// A type as it is shown: its path without generic arguments, behind its `&`, `dyn` or `[`.
fn shown_type(text: &str) -> String {
    for sign in ["&mut ", "&", "*const ", "*mut ", "dyn "] {
        if let Some(inner) = text.strip_prefix(sign) {
            return format!("{sign}{}", shown_type(inner));
        }
    }
    match text.as_bytes().first() {
        Some(b'[') => "[_]".to_owned(),
        Some(b'(') if text.len() > 2 => "(_)".to_owned(),
        Some(b'(') => "()".to_owned(),
        // What stands behind the path of a trait object: ` + Send`.
        _ => Path::parse(split(text, " + ")[0]).shown(None),
    }
}

/// The path of a type that has one of its own: not of a reference, a parameter, a trait object, a
/// pointer to a function.
fn path_of_type(text: &str) -> Option<&str> {
    let is_path = text.contains("::") && !text.starts_with(['&', '*', '(', '[', '<']);
    let is_fn = ["fn(", "unsafe ", "extern ", "for<"]
        .iter()
        .any(|start| text.starts_with(start));
    (is_path && !is_fn && !text.starts_with("dyn ")).then_some(text)
}

/// The user's body that is the first type parameter, or that one's first, and so on; none if
/// others hold one as well (`Select<A, B>`).
///
/// What is spawned may be of any type, and is the parameter of `Instrumented`.
fn first_future(parameters: &str) -> Option<&str> {
    let parameters = split(parameters, ", ");
    let (first, others) = parameters.split_first()?;
    let first = first.trim_start_matches('&').trim_start_matches("mut ");
    let path = Path::parse(first);
    if others.iter().any(|other| has_users_body(other)) || !is_path(first) {
        return None;
    }
    if !path.is_of_library() {
        return (path.bodies() > 0).then_some(first);
    }
    let arguments = path.arguments()?;
    if let Some(spawned) = first.strip_prefix("tracing::instrument::Instrumented") {
        let spawned = angle(spawned);
        if is_path(spawned) && !Path::parse(spawned).is_of_library() {
            return Some(spawned);
        }
    }
    (path.bodies() == 0)
        .then(|| first_future(arguments))
        .flatten()
}

fn has_users_body(parameter: &str) -> bool {
    parameter.match_indices("::{closure").any(|(at, _)| {
        let start = parameter[..at]
            .rfind(['<', ' ', '(', '&'])
            .map_or(0, |before| before + 1);
        !is_library(parameter[start..].split("::").next().unwrap_or_default())
    })
}

/// Whether this is a type with a path, and not a primitive, a tuple or a trait object.
fn is_path(parameter: &str) -> bool {
    parameter.contains("::")
        && !parameter.starts_with(['(', '[', '*'])
        && !parameter.starts_with("dyn ")
}

/// `{async_fn#0}` as `async fn`, without its opening brace.
fn body_kind(body: &str) -> &'static str {
    const KINDS: [(&str, &str); 9] = [
        ("async_fn", "async fn"),
        ("async_block", "async block"),
        ("async_closure", "async closure"),
        ("async_gen_fn", "async gen fn"),
        ("async_gen_block", "async gen block"),
        ("gen_fn", "gen fn"),
        ("gen_block", "gen block"),
        ("closure", "closure"),
        ("coroutine", "coroutine"),
    ];
    KINDS
        .iter()
        .find(|(name, _)| body.starts_with(name))
        .map_or("body", |(_, kind)| kind)
}

/// The module that a file of std or of a packaged crate holds.
///
/// A file of the user's own workspace gives none: its directory need not be named as its crate.
pub(crate) fn module_of(file: &str) -> Option<String> {
    let (before, below) = file.rsplit_once("/src/")?;
    let directory = before.rsplit('/').next()?;
    let version = directory
        .match_indices('-')
        .find(|(at, _)| is_version(&directory[at + 1..]));
    let is_packaged = ["/rustc/", "/rustlib/", "/vendor/", "/checkouts/"]
        .iter()
        .any(|from| before.contains(from));
    let krate = match version {
        Some((at, _)) => &directory[..at],
        None if is_packaged || is_own(&directory.replace('-', "_")) => directory,
        None => return None,
    };
    let mut module = krate.replace('-', "_");
    for part in below
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "lib"))
    {
        module.push_str("::");
        module.push_str(part);
    }
    Some(module)
}

fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && text.contains('.')
}

/// The bodies among the type parameters of a `DW_AT_name`.
fn bodies_in(dwarf_name: &str) -> Vec<Body> {
    let arguments = angle(&dwarf_name[without_generics(dwarf_name).len()..]);
    split(arguments, ", ")
        .into_iter()
        .filter_map(body_of)
        .collect()
}

/// `shop::pay::{async_fn_env#0}<u64>` as a [`Body`].
fn body_of(parameter: &str) -> Option<Body> {
    let path = Path::parse(parameter);
    let Some(Segment::Body(last)) = path.segments.last() else {
        return None;
    };
    let last = last.strip_prefix('{')?.strip_suffix('}')?;
    let place = path.place();
    Some(Body {
        own: last.replace("_env#", "#"),
        shown: path.shown(Some(&format!("{{{last}"))),
        path: place.path,
    })
}

/// What stands before the first `<`, if that is not the first character.
fn without_generics(text: &str) -> &str {
    match text.find('<') {
        Some(at) if at > 0 => &text[..at],
        _ => text,
    }
}

/// What stands between the outer `<` and `>`; empty if there are none.
fn angle(text: &str) -> &str {
    text.strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'))
        .unwrap_or_default()
}

/// Splits where `by` stands outside of all brackets.
fn split<'a>(text: &'a str, by: &str) -> Vec<&'a str> {
    let bytes = text.as_bytes();
    let (mut parts, mut start, mut depth, mut at) = (Vec::new(), 0, 0_usize, 0);
    while at < bytes.len() {
        if depth == 0 && bytes[at..].starts_with(by.as_bytes()) {
            parts.push(&text[start..at]);
            at += by.len();
            start = at;
            continue;
        }
        match bytes[at] {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            // Of the arrow of `fn() -> T`.
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(demangled: &str, dwarf_name: Option<&str>) -> String {
        Path::parse(demangled).shown(dwarf_name)
    }

    #[test]
    fn paths() {
        let check = |demangled: &str, expected: &str| assert_eq!(shown(demangled, None), expected);
        check("shop::main", "shop::main");
        check("shop::cart::Cart<T>::fill", "shop::cart::Cart::fill");
        check(
            "<shop::cart::Cart<alloc::string::String>>::fill",
            "shop::cart::Cart::fill",
        );
        check("shop::cart::fill::<u64, fn(u8) -> u64>", "shop::cart::fill");
        check(
            "<shop::Worker as shop::Job<u64>>::run",
            "<shop::Worker as shop::Job>::run",
        );
        check("<&mut T as shop::Job>::run", "<&mut T as shop::Job>::run");
        check("<[u8] as shop::Job>::run", "<[_] as shop::Job>::run");
        check("<(u8, T) as shop::Job>::run", "<(_) as shop::Job>::run");
        check(
            "<dyn shop::Job<u64> + core::marker::Send>::run",
            "<dyn shop::Job>::run",
        );
        check(
            "shop::imp::<impl shop::Job for shop::Worker<T>>::run",
            "<shop::Worker as shop::Job>::run",
        );
        check(
            "shop::imp::<impl shop::Worker<T>>::run",
            "shop::Worker::run",
        );
        check(
            "<F as core::ops::FnOnce<()>>::call_once::{shim:vtable#0}",
            "<F as core::ops::FnOnce>::call_once",
        );
    }

    #[test]
    fn a_pointer_to_a_function_has_no_path_but_its_trait_has() {
        let check = |demangled: &str, expected: &str| {
            assert_eq!(Place::of_shown(demangled).path, expected);
        };
        let of_fn_once = "core::ops::function::FnOnce::call_once";
        for pointer in [
            "fn() -> core::result::Result<(), alloc::string::String>",
            "for<'a> fn(&'a shop::Cart)",
            "unsafe fn(shop::Cart)",
            "unsafe extern \"C\" fn(shop::Cart)",
            "extern \"C\" fn(shop::Cart)",
        ] {
            let call = format!("<{pointer} as core::ops::function::FnOnce<()>>::call_once");
            check(&call, of_fn_once);
            // And as it is shown.
            check(&shown(&call, None), of_fn_once);
        }
    }

    #[test]
    fn bodies() {
        let check = |demangled: &str, dwarf_name: Option<&str>, expected: &str| {
            assert_eq!(shown(demangled, dwarf_name), expected);
        };
        check("shop::pay::{{closure}}", Some("{async_fn#0}"), "shop::pay");
        check(
            "shop::pay::{closure#0}::<u64>",
            Some("{async_fn#0}<u64>"),
            "shop::pay",
        );
        check(
            "shop::main::{{closure}}",
            Some("{async_block#0}"),
            "shop::main::{async block}",
        );
        check(
            "shop::pay::{{closure}}::{{closure}}",
            Some("{closure#1}"),
            "shop::pay::{closure}",
        );
        check(
            "shop::pay::{{closure}}::inner",
            Some("inner"),
            "shop::pay::inner",
        );
        // Nothing but the linkage name says what these are.
        check("shop::pay::{{closure}}", None, "shop::pay");
        check("shop::main::{{closure}}", None, "shop::main::{closure}");
        check(
            "shop::pay::{closure#0}::{closure#1}",
            None,
            "shop::pay::{closure}",
        );
    }

    #[test]
    fn futures_of_type_parameters() {
        let check = |demangled: &str, expected: Option<&str>| {
            assert_eq!(
                Path::parse(demangled).future().as_deref(),
                expected,
                "{demangled}"
            );
        };
        let core = "tokio::runtime::task::core::Core";
        let poll = "as core::future::future::Future>::poll";
        check(
            &format!("<{core}<leak::worker::{{closure#0}}, alloc::sync::Arc<H>>>::poll"),
            Some("leak::worker"),
        );
        check(
            &format!("<tokio::time::timeout::Timeout<&mut leak::one::{{closure#0}}> {poll}"),
            Some("leak::one"),
        );
        check(
            &format!("<tracing::instrument::Instrumented<leak::Own> {poll}"),
            Some("leak::Own"),
        );
        check(
            "tokio::runtime::task::harness::poll_future::<tracing::instrument::Instrumented<leak::one::{closure#0}>, S>",
            Some("leak::one"),
        );
        check(
            "<tokio::runtime::park::CachedParkThread>::block_on::<tracing::instrument::Instrumented<leak::main::{closure#0}>>",
            Some("leak::main::{async block}"),
        );
        // They make a task of the future, and do not poll it.
        check("tokio::task::spawn::spawn::<leak::one::{closure#0}>", None);
        check(
            "<tokio::runtime::runtime::Runtime>::block_on::<leak::main::{closure#0}>",
            None,
        );
        // No future, or which of them it polls is not known.
        check(
            &format!("<tokio::io::poll_evented::PollEvented<mio::net::TcpStream> {poll}"),
            None,
        );
        check(
            &format!(
                "<futures_util::future::Select<a::b::{{closure#0}}, a::c::{{closure#0}}> {poll}"
            ),
            None,
        );
        check(
            &format!(
                "<futures_util::future::Map<tokio::sync::oneshot::Receiver<u64>, a::b::{{closure#0}}> {poll}"
            ),
            None,
        );
        check(
            &format!("<leak::Wrap<leak::one::{{closure#0}}> {poll}"),
            None,
        );
    }

    #[test]
    fn files() {
        let check =
            |file: &str, expected: Option<&str>| assert_eq!(module_of(file).as_deref(), expected);
        check(
            "/home/me/registry/tokio-1.54.1/src/sync/mpsc/chan.rs",
            Some("tokio::sync::mpsc::chan"),
        );
        check(
            "/registry/async-channel-2.5.0/src/lib.rs",
            Some("async_channel"),
        );
        check(
            "/registry/futures-core-1.0.0-alpha.2/src/task/mod.rs",
            Some("futures_core::task"),
        );
        check(
            "/rustc/0123/library/core/src/task/wake.rs",
            Some("core::task::wake"),
        );
        check("vendor/tokio/src/lib.rs", None);
        check(
            "/home/me/vendor/tokio/src/time/sleep.rs",
            Some("tokio::time::sleep"),
        );
        // The user's own directories, whatever they are called.
        check("/home/me/shop/core/src/cart.rs", None);
        check("/home/me/shop-2/src/cart.rs", None);
        check("src/main.rs", None);
        check("crates/taskleak/src/layer.rs", Some("taskleak::layer"));
    }

    proptest::proptest! {
        /// Names come from files that anybody may have written.
        #[test]
        fn any_name_is_read(parts in proptest::collection::vec("[a-z]|::|<|>|[(){}&,]| as | for |impl |dyn |->|\\PC", 0..40), file in "(/?[a-z]{0,3}-?[0-9]?|/src/|/vendor/){0,6}") {
            let name = parts.concat();
            let path = Path::parse(&name);
            let _ = (path.shown(Some(&name)), path.place(), path.future(), path.polled());
            let symbol = RawSymbol { dwarf_name: Some(name), file: Some(file), ..RawSymbol::default() };
            Name::of(&symbol);
        }
    }
}
