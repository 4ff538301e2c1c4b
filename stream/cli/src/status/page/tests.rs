//! Tests of the status page.

use super::*;

/// Returns the status of a job that has run for a minute.
fn status() -> Status {
    Status {
        now_ms: 1_795_341_660_000,
        attempt: Some(7),
        is_running: true,
        began_at_ms: Some(1_795_341_600_000),
        watermark_ms: Some(1_795_341_540_000),
        watermark_delay_ms: Some(120_000),
        partitions: vec![PartitionStatus {
            next_offset: 1_234_567,
            newest_event_ms: Some(1_795_341_599_000),
            ..PartitionStatus::default()
        }],
        workers: vec![WorkerStatus {
            watermark_ms: Some(1_795_341_540_000),
            ..WorkerStatus::default()
        }],
        troubles: vec![Trouble {
            at_ms: 1_795_341_601_000,
            message: "\"broker\" <b>away</b> & 'gone'".to_owned(),
        }],
        ..Status::of("<job>")
    }
}

#[test]
fn the_page_shows_the_state_of_the_job() {
    let page = render(&status(), &History::default());
    for text in [
        "attempt 7, running for 1m",
        "1\u{202f}234\u{202f}567",
        "2026-11-22T09:59:00.000Z",
        "<b>2m</b>",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

#[test]
fn the_partition_that_sets_event_time_is_marked_and_side_outputs_have_reasons() {
    let partition = |partition, holds_back, is_idle| PartitionStatus {
        partition,
        watermark_ms: Some(1_795_341_540_000 + u64::from(partition)),
        holds_back,
        is_idle,
        ..PartitionStatus::default()
    };
    let rejected = SideOutputStatus {
        at_ms: 1_795_341_600_000,
        topic: "orders-dead-letters".to_owned(),
        partition: "3".to_owned(),
        offset: 17,
        reason: "missing field <id>".to_owned(),
    };
    let status = Status {
        partitions: vec![
            partition(0, true, false),
            partition(1, false, true),
            partition(2, false, false),
        ],
        side_outputs: vec![rejected],
        ..status()
    };

    let page = render(&status, &History::default());
    for text in [
        "<td>2026-11-22T09:59:00.000Z <b class=\"held\">sets the job's</b></td>",
        "<td>2026-11-22T09:59:00.001Z idle</td>",
        "<td>2026-11-22T09:59:00.002Z</td>",
        "<td>orders-dead-letters</td><td>3@17</td><td>missing field &lt;id&gt;</td>",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
}

#[test]
fn whatever_others_wrote_is_text_and_no_markup() {
    let page = render(&status(), &History::default());
    assert!(page.contains("<title>&lt;job&gt;</title>") && !page.contains("<job>"));
    assert!(page.contains("&quot;broker&quot; &lt;b&gt;away&lt;/b&gt; &amp; &#39;gone&#39;"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn a_job_that_has_not_begun_has_a_page_too() {
    let page = render(&Status::of("counts"), &History::default());
    assert!(
        page.contains("no attempt has begun") && page.contains("nothing has been read yet"),
        "{page}"
    );
}

#[test]
fn a_partition_is_never_read_beyond_its_end() {
    let partition = |next_offset, end_offset| PartitionStatus {
        next_offset,
        end_offset,
        ..PartitionStatus::default()
    };
    assert_eq!(known_end(&partition(11, Some(9))), Some(11));
    assert_eq!(known_end(&partition(5, Some(9))), Some(9));
    assert_eq!(known_end(&partition(5, None)), None);
}
