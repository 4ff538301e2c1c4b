//! Tests of `bench report`: the page has the figures of its results and no others, whatever the results contain.

use std::fs;
use std::path::Path;
use std::process::Command;

use bench::machine::Circumstances;
use bench::report::page::Content;
use bench::results::{Measure, Results, Table};
use quick_xml::Reader;
use quick_xml::events::Event;

/// The text of each element, by its path of names.
type Texts = Vec<(String, String)>;

/// Parses the page, which is well-formed, and returns its texts.
fn texts(html: &str) -> Texts {
    let (_, xml) = html.split_once("<!DOCTYPE html>").unwrap();
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;

    let mut path: Vec<String> = Vec::new();
    let mut texts = Texts::new();
    let mut text = String::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                tag.attributes()
                    .for_each(|attribute| drop(attribute.unwrap()));
                texts.push((path.join("/"), std::mem::take(&mut text)));
                path.push(String::from_utf8(tag.name().as_ref().to_vec()).unwrap());
            }
            Event::Text(more) => text += &more.decode().unwrap(),
            Event::GeneralRef(name) => text += &format!("&{};", name.decode().unwrap()),
            Event::End(_) => {
                texts.push((path.join("/"), std::mem::take(&mut text)));
                path.pop();
            }
            Event::Eof => break,
            _ => {}
        }
    }

    assert!(path.is_empty(), "not closed: {path:?}");
    texts.retain(|(_, text)| !text.trim().is_empty());
    texts
}

fn of<'a>(texts: &'a Texts, element: &str) -> Vec<&'a str> {
    let of_element = texts.iter().filter(|(path, _)| path.ends_with(element));
    of_element.map(|(_, text)| text.as_str()).collect()
}

/// Returns results of a throughput with these samples of one program, and of a peer.
fn results(samples: &[f64], workers: f64) -> Results {
    let measures = [
        Measure::rate("orders a second", "thousand/s"),
        Measure::new("memory", "MiB"),
    ];
    let mut table = Table::new("Programs", &measures);
    for sample in samples {
        table.add("ours", &[("workers", workers)], &[*sample, 77.0]);
        table.add("peer", &[("workers", workers)], &[sample / 4.0, 311.0]);
    }

    let circumstances = Circumstances {
        processor: "a processor".to_owned(),
        cores: Some(16),
        memory: "24 GiB".to_owned(),
        kernel: "Linux 6".to_owned(),
        load: Some(0.25),
        commit: "abcdef1".to_owned(),
        build: "release".to_owned(),
        ..Circumstances::default()
    };
    Results {
        format: 1,
        command: "throughput".to_owned(),
        circumstances,
        tables: vec![table],
        ..Results::default()
    }
}

fn content(results: impl IntoIterator<Item = Results>) -> Content {
    Content {
        results: results.into_iter().collect(),
        unread: Vec::new(),
    }
}

#[test]
fn figures_of_the_page_are_those_of_the_results() {
    let page = texts(&content([results(&[1_234.0, 1_111.0, 1_412.0], 2.0)]).html());
    let expected = [
        "1,234 (1,111–1,412)",
        "77 (77–77)",
        "308 (278–353)",
        "311 (311–311)",
    ];
    assert_eq!(
        of(&page, "tbody/tr/td")[6..],
        expected,
        "after six circumstances"
    );
    assert_eq!(
        of(&page, "svg/text"),
        ["ours", "1,234", "peer", "308", "ours", "77", "peer", "311"]
    );

    let other = texts(&content([results(&[987.0], 2.0)]).html());
    assert_eq!(of(&other, "tbody/tr/td")[6..], ["987", "77", "247", "311"]);
    assert!(other.iter().all(|(_, text)| !text.contains("1,234")));
}

#[test]
fn a_page_without_samples_has_no_figures() {
    let mut empty = results(&[], 2.0);
    empty.circumstances = Circumstances::default();
    for content in [content([empty]), content([]), content([Results::default()])] {
        let html = content.html();
        let page = texts(&html);
        let shown = page.iter().filter(|(path, _)| path.contains("body"));
        let figures: Vec<_> = shown
            .filter(|(_, text)| text.contains(|c: char| c.is_ascii_digit()))
            .collect();
        assert!(figures.is_empty(), "{figures:?}");
        assert!(html.contains("class=\"alarm\""), "{html}");
    }
}

#[test]
fn each_plot_has_a_name_and_a_table_and_each_reference_its_target() {
    let several = [1.0, 2.0, 4.0].map(|workers| results(&[100.0 * workers], workers));
    let html = content(several).html();
    assert!(html.matches("<svg viewBox=\"0 0 420").count() >= 7);
    assert_eq!(
        html.matches("role=\"img\"").count(),
        html.matches("<desc id=").count()
    );

    let attributes = |name: &str| -> Vec<String> {
        let before = format!(" {name}=\"");
        let values = html.split(before.as_str()).skip(1);
        values
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect()
    };
    let ids = attributes("id");
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");

    let links = attributes("href")
        .into_iter()
        .map(|link| link.trim_start_matches('#').to_owned());
    let labels = attributes("aria-labelledby");
    let labels = labels
        .iter()
        .flat_map(|label| label.split(' '))
        .map(str::to_owned);
    for target in links.chain(labels) {
        assert!(ids.contains(&target), "{target}");
    }
    assert!(
        !html.contains("<script") && !html.contains("http"),
        "self-contained"
    );
}

#[test]
fn names_with_markup_are_text() {
    let evil = "<script>alert(1)</script>&amp;\"'\u{0}\u{1b}[31m|`";
    let mut odd = results(&[3.0, 5.0], 2.0);
    odd.command = evil.to_owned();
    odd.arguments = vec![evil.to_owned()];
    odd.failure = Some(evil.to_owned());
    odd.circumstances.processor = evil.to_owned();
    odd.circumstances.commit = evil.to_owned();
    odd.circumstances.versions = [(evil.to_owned(), evil.to_owned())].into();
    odd.tables[0].title = evil.to_owned();
    odd.tables[0].measures[1].name = evil.to_owned();
    odd.tables[0].measures[1].unit = evil.to_owned();
    odd.tables[0].rows[0].name = evil.repeat(20);
    odd.tables[0].rows[0].settings = [("workers".to_owned(), 1.0), (evil.to_owned(), 7.0)].into();

    let mut content = content([odd, results(&[4.0], 3.0)]);
    content.unread.push(evil.to_owned());
    let html = content.html();
    texts(&html);
    assert!(!html.contains("<script") && !html.contains('\u{1b}') && !html.contains('\u{0}'));

    // Every second piece between signs of code is text.
    let markdown = content.markdown().replace("\\<", "").replace("\\`", "");
    let markup = markdown
        .split('`')
        .step_by(2)
        .find(|text| text.contains('<'));
    assert_eq!(markup, None);
}

#[test]
fn odd_numbers_leave_a_page_that_can_be_read() {
    let odd = [
        0.0,
        -0.0,
        -5.0,
        1e300,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::NAN,
        f64::INFINITY,
    ];
    for one in odd {
        for other in odd {
            let mut results = results(&[one, other], 2.0);
            results.took_s = Some(one);
            results.load_after = Some(other);
            results.circumstances.load = Some(one);
            let more = self::results(&[other], one);

            let html = content([results, more]).html();
            texts(&html);
            let drawn = html
                .split("<svg")
                .skip(1)
                .map(|rest| rest.split("</svg>").next().unwrap());
            for plot in drawn {
                assert!(
                    !plot.contains("NaN") && !plot.contains("inf"),
                    "{one} {other}: {plot}"
                );
            }
        }
    }
}

#[test]
fn files_keep_what_was_measured_and_lose_what_is_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.json");
    let whole = results(&[1.5, f64::NAN, 2.5], 2.0);
    whole.write(&file).unwrap();

    let read = Results::read(&file).unwrap();
    let table = &read.tables[0];
    assert_eq!(table.rows[0].of(&table.measures[0]), [1.5, 2.5]);
    assert_eq!(table.rows[0].of(&table.measures[1]), [77.0, 77.0, 77.0]);
    let cells = texts(&content([read]).html());
    assert!(
        of(&cells, "tbody/tr/td").contains(&"2 (1.50–2.50; of 2)"),
        "{cells:?}"
    );
}

#[test]
fn files_without_fields_are_read_and_other_files_are_named() {
    for text in [
        r#"{"format": 1, "command": "throughput"}"#,
        r#"{"format": 1, "command": "x", "tables": [{"title": "t"}], "unheard": {"of": [1]}}"#,
        r#"{"format": 0, "command": "x", "tables": [{"title": "t", "measures": [{"name": "m"}], "rows": [{"name": "r"}]}]}"#,
        r#"{"format": 1, "command": "x", "circumstances": {}, "tables": [{"title": "t", "rows": [{"name": "r", "samples": {"gone": [1, null]}}]}]}"#,
    ] {
        let read = Results::parse(text, "file").unwrap();
        texts(&content([read]).html());
    }

    for (text, reason) in [
        ("", "not a file of figures"),
        ("{}", "missing field `format`"),
        ("[1]", "not a file of figures"),
        (r#"{"format": 2, "command": 7}"#, "format 2 is later than 1"),
        (r#"{"format": "1", "command": "x"}"#, "invalid type"),
        (
            r#"{"format": 1, "command": "x", "took_s": NaN}"#,
            "expected value",
        ),
        (
            r#"{"format": 1, "command": "x", "tables": [{"rows": []}]}"#,
            "missing field `title`",
        ),
        (
            r#"{"format": 1, "command": "x", "took_s": 1e999}"#,
            "out of range",
        ),
    ] {
        let error = Results::parse(text, "some.json").unwrap_err().to_string();
        assert!(
            error.starts_with("some.json: ") && error.contains(reason),
            "{text}: {error}"
        );
    }
}

#[test]
fn runs_of_a_command_are_joined_by_program_and_settings() {
    let mut all = results(&[10.0], 2.0);
    all.join(results(&[30.0], 2.0));
    all.join(results(&[50.0], 4.0));
    let table = &all.tables[0];
    let samples: Vec<&[f64]> = table
        .rows
        .iter()
        .map(|row| row.of(&table.measures[0]))
        .collect();
    assert_eq!(samples, [&[10.0, 30.0][..], &[2.5, 7.5], &[50.0], &[12.5]]);
}

#[test]
fn rates_are_joined_into_a_model_only_within_one_commit() {
    let sizes = || [1.0, 2.0, 4.0, 8.0].map(|workers| results(&[100.0 * workers], workers));
    let html = content(sizes()).html();
    assert!(
        html.contains("ours: Linear; fitted to 4 sizes, residual 0 %")
            || html.contains("residual 0.0 %"),
        "{html}"
    );
    assert!(html.contains("predicts 3,200"), "{html}");

    let mut others = sizes();
    for (number, results) in others.iter_mut().enumerate() {
        results.circumstances.commit = format!("commit{number}");
    }
    let html = content(others).html();
    assert!(
        !html.contains("fitted") && html.contains("Several circumstances"),
        "{html}"
    );

    let mut small = sizes();
    small
        .iter_mut()
        .for_each(|results| results.circumstances.cores = Some(2));
    let html = content(small).html();
    assert!(
        html.contains("2 sizes exceed the machine&#39;s cores"),
        "{html}"
    );
    assert!(!html.contains("predicts"), "{html}");
}

/// Runs the harness, and returns its exit code and what it printed.
fn bench(arguments: &[&str], folder: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .current_dir(folder)
        // No comparison that needs a server can start.
        .env("TIDEMARK_CACHE", "/dev/null/nowhere")
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[test]
fn a_failed_comparison_is_named_on_the_page_and_fails_the_report() {
    let folder = tempfile::tempdir().unwrap();
    let stage = "budgets --work decode --passes 1";
    let line = [
        "report", "--runs", "2", "--out", "out", "--run", stage, "--run", "idle",
    ];
    let (code, printed) = bench(&line, folder.path());
    assert_eq!(code, Some(1), "{printed}");
    assert!(
        printed.contains("2 of 2") && printed.contains("1 of 2 results"),
        "{printed}"
    );

    let page = fs::read_to_string(folder.path().join("out/report.html")).unwrap();
    let alarms = of(&texts(&page), "p").join("\n");
    assert!(alarms.contains("/dev/null/nowhere"), "{alarms}");
    assert!(
        page.contains("bench budgets --work decode --passes 1"),
        "{page}"
    );

    // The kept results make the same page, and one that is broken is named beside them.
    let kept = ["01-budgets.json", "02-idle.json"].map(|name| format!("out/{name}"));
    fs::write(folder.path().join("broken.json"), "{").unwrap();
    let line = [
        "report",
        "--out",
        "again",
        "--from",
        &kept[0],
        &kept[1],
        "broken.json",
    ];
    let (code, printed) = bench(&line, folder.path());
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("2 of 3 results"), "{printed}");
    let again = fs::read_to_string(folder.path().join("again/report.html")).unwrap();
    assert!(
        again.contains("broken.json") && again.contains("/dev/null/nowhere"),
        "{again}"
    );

    let (code, printed) = bench(&["report", "--from", &kept[0]], folder.path());
    assert_eq!(code, Some(0), "{printed}");
}

#[test]
fn a_comparison_that_cannot_run_is_refused_before_any_runs() {
    let folder = tempfile::tempdir().unwrap();
    for (run, reason) in [
        ("exact", "`exact` writes no figures; these do: "),
        ("idle,thruput", "`thruput` writes no figures"),
        ("idle --no-such-flag", "unexpected argument"),
        ("throughput --runs 0", "invalid value '0'"),
        (",", "no command is named"),
        ("report --from x", "`report` writes no figures"),
    ] {
        let (code, printed) = bench(&["report", "--run", run], folder.path());
        assert!(
            code == Some(1) && printed.contains(reason),
            "{run}: {printed}"
        );
    }
    for line in [&["report"][..], &["report", "--run", "idle", "--from", "x"]] {
        let (code, printed) = bench(line, folder.path());
        assert_eq!(code, Some(2), "{printed}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
