//! `#[taskleak::main]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, Expr, ItemFn, LitInt, LitStr};

use crate::arguments::{Argument, each, option};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let arguments = Arguments::parse(arguments)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        let message = "taskleak::main needs an `async fn`";
        return Err(Error::new(signature.fn_token.span(), message));
    }
    if !signature.inputs.is_empty() {
        let message = "taskleak::main takes no parameters";
        return Err(Error::new(signature.inputs.span(), message));
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

const NAMES: [&str; 5] = ["serve", "subscriber", "flavor", "worker_threads", "name"];

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
        each(tokens, |argument| parsed.set(argument))?;
        if parsed.current_thread
            && let Some(workers) = &parsed.worker_threads
        {
            let message = "`worker_threads` needs the flavor `multi_thread`";
            return Err(Error::new(workers.span(), message));
        }
        Ok(parsed)
    }

    fn set(&mut self, argument: &Argument) -> syn::Result<()> {
        match argument.name() {
            "serve" => self.serve = Some(argument.text("\"127.0.0.1:6060\"")?),
            "subscriber" => {
                self.subscriber = Some(argument.expression("a subscriber")?.clone());
            }
            "worker_threads" => self.worker_threads = Some(argument.number()?),
            "name" => self.name = Some(argument.text("\"a name\"")?),
            "flavor" => {
                let flavor = argument.word(&["multi_thread", "current_thread"])?;
                self.current_thread = flavor == "current_thread";
            }
            _ => return Err(argument.unknown(&NAMES)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_is_named() {
        let main = quote!(
            async fn main() {}
        );
        let check = |arguments, item, expected: &str| {
            let message = expand(arguments, item).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
        check(
            quote!(flavour = "x"),
            main.clone(),
            "unknown argument `flavour`; allowed: `serve`, `subscriber`",
        );
        check(
            quote!(flavor = "x"),
            main.clone(),
            "`flavor` can't be `\"x\"`; allowed: `multi_thread`, `current_thread`",
        );
        check(
            quote!(name = "a", name = "b"),
            main.clone(),
            "`name` stands twice",
        );
        let both = quote!(flavor = "current_thread", worker_threads = 2);
        check(both, main.clone(), "`worker_threads` needs");
        check(
            quote!(worker_threads = "2"),
            main.clone(),
            "allowed: a whole number from 1",
        );
        check(quote!(serve), main, "`serve` needs a value");
        let (sync, one) = (
            quote!(
                fn main() {}
            ),
            quote!(
                async fn main(x: u8) {}
            ),
        );
        check(quote!(), sync, "`async fn`");
        check(quote!(), one, "no parameters");
    }

    #[test]
    fn arguments_reach_the_expansion() {
        let arguments = quote!(serve = "127.0.0.1:6060", worker_threads = 2, name = "api");
        let main = quote!(
            async fn main() -> u8 {
                0
            }
        );
        let expanded = expand(arguments, main).unwrap().to_string();
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
