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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What stands between `before` and `after`, everywhere in `text`.
    fn all<'a>(text: &'a str, before: &str, after: &str) -> BTreeSet<&'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(after).next()).collect()
    }

    #[test]
    fn the_page_needs_nothing_but_what_is_served_with_it() {
        let served: BTreeSet<&str> = SCRIPTS.iter().map(|(path, _)| *path).chain(["/page/page.css"]).collect();
        let asked: BTreeSet<&str> =
            all(HTML, "src=\"", "\"").into_iter().chain(all(HTML, "<link rel=\"stylesheet\" href=\"", "\"")).collect();
        assert!(asked.is_subset(&served), "{asked:?}");
        for (path, script) in SCRIPTS {
            for import in all(script, "from \"./", "\"") {
                assert!(served.contains(format!("/page/{import}").as_str()), "{path} imports {import}");
            }
        }
        for text in SCRIPTS.map(|(_, script)| script).into_iter().chain([HTML, STYLE]) {
            assert!(!text.contains("https://") && !text.contains("@import") && !text.contains("eval("));
        }
    }

    #[test]
    fn the_page_keeps_to_its_own_policy() {
        for forbidden in ["<style", " style=", " onclick=", " onload=", "javascript:"] {
            assert!(!HTML.contains(forbidden), "{forbidden}");
        }
        assert_eq!(HTML.matches("<script").count(), HTML.matches("<script type=\"module\" src=").count());
        for (path, script) in SCRIPTS {
            assert!(!script.contains("innerHTML") && !script.contains("document.write"), "{path} writes names as text");
        }
    }

    #[test]
    fn what_the_scripts_ask_for_is_in_the_page() {
        let ids = all(HTML, " id=\"", "\"");
        let figures = all(HTML, "data-figure=\"", "\"");
        for (path, script) in SCRIPTS {
            for id in all(script, "byId(\"", "\"").into_iter().chain(all(script, "getElementById(\"", "\"")) {
                assert!(ids.contains(id), "{path}: #{id}");
            }
            for figure in all(script, "figure(\"", "\"") {
                assert!(figures.contains(figure), "{path}: {figure}");
            }
        }
    }
}
