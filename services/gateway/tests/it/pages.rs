//! The storefront's files as browsers receive them.

use reqwest::Method;

use crate::{Gateway, config};

#[tokio::test]
async fn pages_have_their_type_and_load_nothing_from_other_hosts() {
    let gateway = Gateway::start(config()).await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/live", "text/html; charset=utf-8"),
        ("/orders", "text/html; charset=utf-8"),
        ("/files", "text/html; charset=utf-8"),
        (
            "/products/0199c82c-c000-7000-8000-000000000000",
            "text/html; charset=utf-8",
        ),
        ("/assets/shop.js", "text/javascript; charset=utf-8"),
        ("/assets/base.css", "text/css; charset=utf-8"),
        ("/assets/newsreader.woff2", "font/woff2"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        let page = gateway.get(path).await;
        assert_eq!(page.status(), 200, "{path}");
        assert_eq!(page.headers()["content-type"], content_type);
        assert_eq!(page.headers()["x-content-type-options"], "nosniff");

        assert!(
            page.headers()["content-security-policy"]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'")
        );
    }
}

#[tokio::test]
async fn a_page_refers_only_to_files_that_are_there() {
    let gateway = Gateway::start(config()).await;
    for page in ["/", "/live", "/orders", "/files", "/docs", "/products/x"] {
        let html = gateway.get(page).await.text().await.unwrap();
        for reference in html
            .split(['"'])
            .filter(|part| part.starts_with('/') && !part.contains('>'))
        {
            assert_eq!(
                gateway.get(reference).await.status(),
                200,
                "{page} refers to {reference}"
            );
        }
    }
}

#[tokio::test]
async fn modules_import_only_modules_that_are_there() {
    let gateway = Gateway::start(config()).await;
    let mut waiting: Vec<String> = [
        "shop.js",
        "live.js",
        "orders.js",
        "files.js",
        "docs.js",
        "product.js",
    ]
    .map(str::to_owned)
    .into();
    let mut seen = Vec::new();

    while let Some(name) = waiting.pop() {
        let module = gateway.get(&format!("/assets/{name}")).await;
        assert_eq!(module.status(), 200, "{name}");
        let imports = module.text().await.unwrap();

        let imports = imports
            .split("\"./")
            .skip(1)
            .filter_map(|rest| rest.split('"').next());

        seen.push(name);
        waiting.extend(
            imports
                .filter(|name| !seen.iter().any(|known| known == name))
                .map(str::to_owned),
        );
    }

    assert!(seen.len() > 10, "{seen:?}");
}

#[tokio::test]
async fn a_page_is_compressed_for_those_who_ask_and_not_sent_twice() {
    let gateway = Gateway::start(config()).await;
    let ask = |name, value: &str| gateway.request(Method::GET, "/").header(name, value).send();
    let zipped = ask("accept-encoding", "gzip, br").await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert_eq!(zipped.headers()["vary"], "accept-encoding");

    let plain = gateway.get("/").await;
    let tag = plain.headers()["etag"].to_str().unwrap().to_owned();
    assert_ne!(zipped.headers()["etag"], tag.as_str());
    assert!(zipped.bytes().await.unwrap().len() < plain.bytes().await.unwrap().len() / 2);

    let again = ask("if-none-match", &tag).await.unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(again.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn a_wrong_address_has_a_page_for_people_and_a_problem_for_programs() {
    let gateway = Gateway::start(config()).await;
    let ask = |method: Method, path: &'static str, accept: &'static str| {
        let request = gateway.request(method, path);
        async move { request.header("accept", accept).send().await.unwrap() }
    };

    let browser = "text/html,application/xhtml+xml,*/*;q=0.8";
    for path in [
        "/shop",
        "/products/",
        "/products/1/2",
        "/live/",
        "/assets/none.js",
    ] {
        let page = ask(Method::GET, path, browser).await;
        assert_eq!(page.status(), 404, "{path}");
        assert_eq!(
            page.headers()["content-type"],
            "text/html; charset=utf-8",
            "{path}"
        );

        assert!(
            page.headers().contains_key("content-security-policy"),
            "{path}"
        );

        assert!(
            page.text().await.unwrap().contains("No such shore"),
            "{path}"
        );
    }

    for (method, path, accept) in [
        (Method::GET, "/shop", "*/*"),
        (Method::GET, "/api/none", browser),
        (Method::POST, "/shop", browser),
    ] {
        let problem = ask(method, path, accept).await;
        assert_eq!(problem.status(), 404, "{path}");
        assert_eq!(
            problem.headers()["content-type"],
            "application/problem+json",
            "{path}"
        );
    }
}

#[tokio::test]
async fn hsts_is_sent_if_the_setting_demands_it() {
    let hsts = Some(std::time::Duration::from_secs(3600));
    let gateway = Gateway::start(gateway::Config { hsts, ..config() }).await;
    for path in ["/", "/api/orders", "/assets/shop.js"] {
        let answer = gateway.get(path).await;
        let said = answer.headers().get("strict-transport-security");
        assert_eq!(said.unwrap(), "max-age=3600; includeSubDomains", "{path}");
    }

    let silent = Gateway::start(config()).await;
    let answer = silent.get("/").await;
    assert!(!answer.headers().contains_key("strict-transport-security"));
}

#[tokio::test]
async fn metrics_are_not_public() {
    let gateway = Gateway::start(config()).await;
    assert_eq!(gateway.get("/metrics").await.status(), 404);
    assert!(gateway.metrics().await.contains("http_requests_total"));
}

/// For some currencies Intl has other digits than ISO 4217, so the storefront has a table of its own.
#[test]
fn money_is_shown_with_the_digits_of_its_minor_unit() {
    let script = include_str!("../../storefront/assets/format.js");
    let table = script
        .split_once("const DIGITS = {")
        .and_then(|(_, rest)| rest.split_once('}'))
        .unwrap()
        .0;

    let rows = table.lines().filter_map(|line| line.split_once(": \""));
    let told: Vec<(String, u16)> = rows
        .flat_map(|(digits, codes)| {
            let digits = digits.trim().parse().unwrap();
            let codes = codes.trim_end_matches("\",").split(' ');
            codes.map(move |code| (code.to_owned(), digits))
        })
        .collect();

    let letters = || 'A'..='Z';
    let codes = letters()
        .flat_map(|a| letters().flat_map(move |b| letters().map(move |c| format!("{a}{b}{c}"))));
    let digits = |code: &str| iso_currency::Currency::from_code(code)?.exponent();
    let expected: Vec<(String, u16)> = codes
        .filter_map(|code| digits(&code).map(|digits| (code, digits)))
        .filter(|(_, digits)| *digits != 2)
        .collect();

    let mut told = told;
    told.sort();
    assert!(expected.len() > 20, "{expected:?}");
    assert_eq!(told, expected);
}
