//! `/openapi.json` and `/docs`: what they say is so.

use serde_json::Value;

use crate::client::{get, send};
use crate::fixture::shared;

#[test]
fn every_path_that_is_described_is_there_and_says_what_it_may_answer() {
    let document = get(shared(), "/openapi.json").json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{document}");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 13, "{:?}", paths.keys());
    for (path, operations) in paths {
        let asked = path.replace("{name}", "visdrone-nano").replace("{version}", "1");
        for (method, operation) in operations.as_object().expect("operations") {
            let answer = send(shared(), &format!("{} {asked}", method.to_uppercase()), &[], b"");
            assert!(![404, 405].contains(&answer.status), "{method} {path}: {}", answer.status);
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.contains_key(&answer.status.to_string()), "{method} {path}: {}", answer.status);
            let kind = answer.header("content-type").expect("a kind").split(';').next().expect("one");
            let described = &responses[&answer.status.to_string()]["content"];
            assert!(described.get(kind).is_some(), "{method} {path}: {kind} is not in {described}");
            assert!(operation["summary"].is_string() && operation["tags"][0].is_string(), "{method} {path}");
        }
        let other = send(shared(), &format!("DELETE {asked}"), &[], b"");
        assert_eq!(other.status, 405, "{path}");
    }
    references(&document, &document);
}

/// Every reference leads somewhere.
fn references(value: &Value, document: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').expect("one of this document");
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            fields.values().for_each(|value| references(value, document));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, document)),
        _ => {}
    }
}

#[test]
fn the_page_loads_nothing_from_anywhere_else() {
    let page = get(shared(), "/docs");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = page.text();
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("innerHTML"), "{text}");
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}
