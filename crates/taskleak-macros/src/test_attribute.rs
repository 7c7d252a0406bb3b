//! `#[taskleak::test]`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, ItemFn, LitBool, LitInt, LitStr, Path, parse_quote};

use crate::arguments::{Argument, each, option};

/// Where something is wrong the function stays, so that an editor still understands it.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match try_to_expand(arguments, item.clone()) {
        Ok(expanded) => expanded,
        Err(error) => {
            let error = error.into_compile_error();
            quote!(#item #error)
        }
    }
}

fn try_to_expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function: ItemFn = syn::parse2(item)?;
    check(&function)?;
    let arguments = Arguments::parse(arguments)?;
    let mut sync = function.sig.clone();
    sync.asyncness = None;
    let output = match &sync.output {
        syn::ReturnType::Default => quote!(()),
        syn::ReturnType::Type(_, output) => quote!(#output),
    };
    let should_panic = function
        .attrs
        .iter()
        .any(|attribute| attribute.path().is_ident("should_panic"));
    // Failures are told to be here.
    let at = sync.ident.span();
    let run = match should_panic {
        true => quote_spanned!(at=> ::taskleak::__test::run_to_panic),
        false => quote_spanned!(at=> ::taskleak::__test::run),
    };
    let test = arguments.test(&sync.ident);
    let builder = arguments.builder();
    // No name of its own but `body`, which the test's body does not see.
    let call = quote_spanned!(at=> #run(&#test, #builder, body));
    let (attributes, visibility, body) = (&function.attrs, &function.vis, &function.block);
    // Behind a pointer, so that the code that runs it is compiled once for each type of output; in
    // an option, so that it can be dropped before that code is over.
    Ok(quote! {
        #(#attributes)*
        #[::core::prelude::v1::test]
        #visibility #sync {
            let body = ::core::pin::pin!(::core::option::Option::Some({
                // Tells the compiler the type, so that `?` in the body infers.
                fn typed<F: ::core::future::Future<Output = #output>>(body: F) -> F { body }
                typed(async #body)
            }));
            let body: ::core::pin::Pin<&mut dyn ::taskleak::__test::Body<#output>> = body;
            #call
        }
    })
}

fn check(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if let Some(second) = function.attrs.iter().find(|other| is_test(other)) {
        let message = "a second test attribute; `#[taskleak::test]` makes it a test by itself";
        return Err(Error::new(second.span(), message));
    }
    if signature.asyncness.is_none() {
        let message = "taskleak::test needs an `async fn`";
        return Err(Error::new(signature.fn_token.span(), message));
    }
    if !signature.inputs.is_empty() {
        let message = "taskleak::test takes no parameters; where `rstest` gives them, put \
                       `#[rstest]` above `#[taskleak::test]`";
        return Err(Error::new(signature.inputs.span(), message));
    }
    Ok(())
}

/// `#[test]`, or the long form of it that other attributes expand to.
fn is_test(attribute: &Attribute) -> bool {
    let path = attribute.path();
    let names: Vec<String> = path
        .segments
        .iter()
        .map(|part| part.ident.to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    matches!(
        names.as_slice(),
        ["test"] | ["core" | "std", "prelude", _, "test"] | ["tokio", "test"]
    )
}

const NAMES: [&str; 9] = [
    "flavor",
    "worker_threads",
    "start_paused",
    "unhandled_panic",
    "crate",
    "settle",
    "timeout",
    "allow",
    "on_failure",
];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Default)]
struct Arguments {
    is_multi_thread: bool,
    worker_threads: Option<LitInt>,
    start_paused: Option<LitBool>,
    unhandled_panic: Option<Ident>,
    tokio: Option<Path>,
    settle: Option<Duration>,
    timeout: Option<Duration>,
    allow: Vec<LitStr>,
    on_failure: bool,
}

impl Arguments {
    fn parse(tokens: TokenStream) -> syn::Result<Arguments> {
        let mut parsed = Arguments::default();
        each(tokens, |argument| parsed.set(argument))?;
        let needs = |what: &str, flavor: &str| {
            format!("`{what}` needs the flavor `{flavor}`: `flavor = \"{flavor}\"`")
        };
        let of_one_thread = parsed
            .start_paused
            .as_ref()
            .map(|paused| ("start_paused", paused.span()));
        let of_one_thread = of_one_thread.or(parsed
            .unhandled_panic
            .as_ref()
            .map(|panic| ("unhandled_panic", panic.span())));
        match (&parsed.worker_threads, of_one_thread) {
            (Some(workers), _) if !parsed.is_multi_thread => Err(Error::new(
                workers.span(),
                needs("worker_threads", "multi_thread"),
            )),
            (_, Some((what, at))) if parsed.is_multi_thread => {
                Err(Error::new(at, needs(what, "current_thread")))
            }
            _ => Ok(parsed),
        }
    }

    fn set(&mut self, argument: &Argument) -> syn::Result<()> {
        match argument.name() {
            "flavor" => {
                let flavor = argument.word(&["current_thread", "multi_thread"])?;
                self.is_multi_thread = flavor == "multi_thread";
            }
            "worker_threads" => self.worker_threads = Some(argument.number()?),
            "start_paused" => self.start_paused = Some(argument.switch()?),
            "unhandled_panic" => {
                let variant = match argument.word(&["ignore", "shutdown_runtime"])? {
                    "ignore" => "Ignore",
                    _ => "ShutdownRuntime",
                };
                self.unhandled_panic = Some(Ident::new(variant, argument.span()));
            }
            "crate" => self.tokio = Some(argument.path()?),
            "settle" => self.settle = Some(argument.duration(Duration::ZERO, DAY)?),
            "timeout" => {
                self.timeout = Some(argument.duration(Duration::from_millis(1), DAY)?);
            }
            "allow" => self.allow = argument.rules()?,
            "on_failure" => self.on_failure = argument.switch()?.value,
            _ => return Err(argument.unknown(&NAMES)),
        }
        Ok(())
    }

    /// The `Test` of the library.
    fn test(&self, name: &Ident) -> TokenStream {
        let (settle, timeout) = (
            option(self.settle.map(time)),
            option(self.timeout.map(time)),
        );
        let (allow, on_failure) = (&self.allow, self.on_failure);
        quote! {
            ::taskleak::__test::Test {
                module: ::core::module_path!(),
                function: ::core::stringify!(#name),
                file: ::core::file!(),
                settle: #settle,
                timeout: #timeout,
                allow: &[#(#allow),*],
                on_failure: #on_failure,
            }
        }
    }

    /// The runtime's builder, of the tokio that the test depends on, and of the features that it
    /// has there.
    fn builder(&self) -> TokenStream {
        let tokio = self.tokio.clone().unwrap_or_else(|| parse_quote!(::tokio));
        let flavor = match self.is_multi_thread {
            true => quote!(new_multi_thread),
            false => quote!(new_current_thread),
        };
        let workers = self
            .worker_threads
            .as_ref()
            .map(|workers| quote!(.worker_threads(#workers)));
        let paused = self
            .start_paused
            .as_ref()
            .map(|paused| quote!(.start_paused(#paused)));
        let panic = self
            .unhandled_panic
            .as_ref()
            .map(|variant| quote!(.unhandled_panic(#tokio::runtime::UnhandledPanic::#variant)));
        quote!(#tokio::runtime::Builder::#flavor().enable_all() #workers #paused #panic)
    }
}

fn time(time: Duration) -> TokenStream {
    let (seconds, nanoseconds) = (time.as_secs(), time.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanoseconds))
}
