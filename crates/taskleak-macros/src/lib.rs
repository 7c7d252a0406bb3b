//! The attribute macros of taskleak. Use them through the crate `taskleak`, which documents
//! what they do; this crate holds the parsing of their arguments and the code they expand to.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ItemFn, LitInt, LitStr, MetaNameValue, Token};

/// Runs an async `main` on a watched tokio runtime, under a detector.
///
/// In place of `#[tokio::main]`:
///
/// ```
/// #[taskleak::main(serve = "127.0.0.1:0")]
/// async fn main() {
///     tokio::spawn(async { /* … */ }).await.unwrap();
/// }
/// ```
///
/// | argument | meaning |
/// |---|---|
/// | `serve = "127.0.0.1:6060"` | serves the debug endpoint at this address |
/// | `subscriber = EXPR` | the subscriber to wrap, evaluated before the runtime is built; without it the detector is the only one |
/// | `flavor = "multi_thread"` | or `"current_thread"`; as for `tokio::main` |
/// | `worker_threads = 4` | as for `tokio::main` |
/// | `name = "api"` | the name of the runtime |
///
/// `main` may return what any `main` may. What keeps the detector from recording or serving is
/// told on standard error in one line, and the program runs without it.
///
/// # Limits
///
/// The subscriber is installed before the body runs, so the body must not install a global one
/// of its own: pass it as `subscriber`.
#[proc_macro_attribute]
pub fn main(
    arguments: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand(arguments.into(), item.into())
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let arguments = Arguments::parse(arguments)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        return Err(Error::new(
            signature.fn_token.span(),
            "taskleak::main needs an async fn",
        ));
    }
    if !signature.inputs.is_empty() {
        return Err(Error::new(
            signature.inputs.span(),
            "taskleak::main takes no parameters",
        ));
    }
    let mut sync = signature.clone();
    sync.asyncness = None;
    let (attributes, visibility, body) = (&function.attrs, &function.vis, &function.block);
    let builder = arguments.builder();
    let serve = option(arguments.serve.as_ref());
    let start = match &arguments.subscriber {
        Some(subscriber) => quote!(::taskleak::__main::wrap(#subscriber, #serve)),
        None => quote!(::taskleak::__main::install(#serve)),
    };
    let output = match &signature.output {
        syn::ReturnType::Default => quote!(()),
        syn::ReturnType::Type(_, output) => quote!(#output),
    };
    Ok(quote! {
        #(#attributes)*
        #visibility #sync {
            let detector = #start;
            let body = async #body;
            // Tells the compiler the type, so that `?` in the body infers.
            fn typed<F: ::core::future::Future<Output = #output>>(body: F) -> F { body }
            ::taskleak::__main::block_on(#builder, &detector, typed(body))
        }
    })
}

#[derive(Default)]
struct Arguments {
    serve: Option<LitStr>,
    subscriber: Option<Expr>,
    current_thread: bool,
    worker_threads: Option<LitInt>,
    name: Option<LitStr>,
}

impl Arguments {
    fn parse(tokens: TokenStream) -> syn::Result<Arguments> {
        let mut parsed = Arguments::default();
        let all = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(tokens)?;
        let mut seen = Vec::new();
        for argument in all {
            let name = argument
                .path
                .get_ident()
                .map(ToString::to_string)
                .unwrap_or_default();
            if seen.contains(&name) {
                return Err(Error::new(
                    argument.path.span(),
                    format!("`{name}` stands twice"),
                ));
            }
            parsed.set(&name, &argument)?;
            seen.push(name);
        }
        if parsed.current_thread
            && let Some(workers) = &parsed.worker_threads
        {
            let message = "`worker_threads` needs the flavor `multi_thread`";
            return Err(Error::new(workers.span(), message));
        }
        Ok(parsed)
    }

    fn set(&mut self, name: &str, argument: &MetaNameValue) -> syn::Result<()> {
        let value = &argument.value;
        match name {
            "serve" => self.serve = Some(syn::parse2(quote!(#value))?),
            "subscriber" => self.subscriber = Some(value.clone()),
            "worker_threads" => self.worker_threads = Some(syn::parse2(quote!(#value))?),
            "name" => self.name = Some(syn::parse2(quote!(#value))?),
            "flavor" => {
                let flavor: LitStr = syn::parse2(quote!(#value))?;
                self.current_thread = match flavor.value().as_str() {
                    "current_thread" => true,
                    "multi_thread" => false,
                    other => {
                        let message = format!(
                            "unknown flavor `{other}`; there are `multi_thread` and `current_thread`"
                        );
                        return Err(Error::new(flavor.span(), message));
                    }
                };
            }
            other => {
                let message = format!(
                    "unknown argument `{other}`; there are `serve`, `subscriber`, `flavor`, \
                     `worker_threads` and `name`"
                );
                return Err(Error::new(argument.path.span(), message));
            }
        }
        Ok(())
    }

    fn builder(&self) -> TokenStream {
        let threads = option(self.worker_threads.as_ref());
        let name = option(self.name.as_ref());
        let current_thread = self.current_thread;
        quote!(::taskleak::__main::builder(#current_thread, #threads, #name))
    }
}

fn option(value: Option<&impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(arguments: TokenStream, item: TokenStream) -> String {
        expand(arguments, item).unwrap_err().to_string()
    }

    #[test]
    fn bad_input_is_named() {
        let main = quote!(
            async fn main() {}
        );
        let check = |arguments, item, expected: &str| {
            let message = message(arguments, item);
            assert!(message.contains(expected), "{message}");
        };
        check(
            quote!(flavour = "x"),
            main.clone(),
            "unknown argument `flavour`",
        );
        check(quote!(flavor = "x"), main.clone(), "unknown flavor `x`");
        check(
            quote!(name = "a", name = "b"),
            main.clone(),
            "`name` stands twice",
        );
        let both = quote!(flavor = "current_thread", worker_threads = 2);
        check(both, main.clone(), "`worker_threads` needs");
        check(
            quote!(worker_threads = "2"),
            main,
            "expected integer literal",
        );
        check(
            quote!(),
            quote!(
                fn main() {}
            ),
            "async fn",
        );
        check(
            quote!(),
            quote!(
                async fn main(x: u8) {}
            ),
            "no parameters",
        );
    }

    #[test]
    fn arguments_reach_the_expansion() {
        let arguments = quote!(serve = "127.0.0.1:6060", worker_threads = 2, name = "api");
        let expanded = expand(
            arguments,
            quote!(
                async fn main() -> u8 {
                    0
                }
            ),
        )
        .unwrap()
        .to_string();
        for part in [
            "\"127.0.0.1:6060\"",
            "Some (2)",
            "\"api\"",
            "fn main () -> u8",
        ] {
            assert!(expanded.contains(part), "{part} in {expanded}");
        }
    }
}
