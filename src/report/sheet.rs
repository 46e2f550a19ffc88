//! What the program's pages have in common: they need nothing else, and are light or dark as the reader prefers.

use super::plot::{colours, escaped};
use crate::text::append;

const STYLE: &str = include_str!("sheet.css");

/// Begins a page; `style` is what it has of its own.
pub fn begin(out: &mut String, title: &str, style: &str) {
    // The empty icon: a browser would ask the server for one.
    append(
        out,
        format_args!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>{}</title><style>{}{STYLE}{style}</style></head><body><main>\n",
            escaped(title),
            colours(":root")
        ),
    );
}

/// Ends a page with how it came about.
pub fn end(out: &mut String, command: &str) {
    append(
        out,
        format_args!(
            "<footer>streamdet {} · <code>{}</code></footer></main></body></html>\n",
            env!("CARGO_PKG_VERSION"),
            escaped(command)
        ),
    );
}
