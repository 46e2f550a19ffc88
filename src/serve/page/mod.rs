//! The live page: three files that need nothing else, and no build.

use axum::Router;
use axum::http::header::{self, HeaderName};
use axum::response::IntoResponse;
use axum::routing::get;

const HTML: &str = include_str!("index.html");
const STYLE: &str = include_str!("page.css");
/// The page's modules, by their paths.
const SCRIPTS: [(&str, &str); 6] = [
    ("/page/page.js", include_str!("page.js")),
    ("/page/api.js", include_str!("api.js")),
    ("/page/live.js", include_str!("live.js")),
    ("/page/tile.js", include_str!("tile.js")),
    ("/page/upload.js", include_str!("upload.js")),
    ("/page/shapes.js", include_str!("shapes.js")),
];

/// Nothing but the server's own files and answers, and images that the page made of them; no other page may show this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
                      connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// The page's paths. They hold no data: who opens them without a token sees the field for it.
#[must_use]
pub fn routes() -> Router {
    let html = || async { file("text/html; charset=utf-8", HTML) };
    let style = || async { file("text/css; charset=utf-8", STYLE) };
    let mut router = Router::new().route("/", get(html)).route("/page/page.css", get(style));
    for (path, script) in SCRIPTS {
        router = router.route(path, get(move || async move { file("text/javascript; charset=utf-8", script) }));
    }
    router
}

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // Another version of the program has another page.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}
