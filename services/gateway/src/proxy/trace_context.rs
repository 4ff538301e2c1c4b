//! W3C Trace Context, level 1: a request that carries a valid `traceparent` keeps it, any other
//! gets one. Pure but for the random ids.
//!
//! If a collector is configured, the headers already name a span of the gateway. Otherwise the
//! parent is forwarded unchanged, as the recommendation requires of a component that only passes a
//! trace on.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use uuid::fmt::Simple;

/// Trace id, parent id and flags.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Vendor data; meaningless without a valid `traceparent`.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Makes the headers contain exactly one valid `traceparent`.
pub fn ensure(headers: &mut HeaderMap) {
    let mut given = headers.get_all(TRACEPARENT).iter();
    if let (Some(parent), None) = (given.next(), given.next())
        && is_valid(parent.as_bytes())
    {
        return;
    }

    headers.remove(TRACESTATE);
    headers.insert(TRACEPARENT, fresh());
}

fn fresh() -> HeaderValue {
    let mut trace = [0; Simple::LENGTH];
    let mut span = [0; Simple::LENGTH];
    let trace = Uuid::new_v4().simple().encode_lower(&mut trace);
    let span = Uuid::new_v4().simple().encode_lower(&mut span);
    let text = ["00-", trace, "-", &span[..16], "-01"].concat();
    HeaderValue::try_from(text).expect("hexadecimal digits and dashes are a header value")
}

/// Returns whether a value is `version-trace-parent-flags` in lower-case hexadecimal, with ids that
/// are not zero and another version than `ff`. A later version may have more fields after a dash.
fn is_valid(parent: &[u8]) -> bool {
    let (known, rest) = parent.split_at(parent.len().min(55));
    let dashes_stand = known.len() == 55 && [2, 35, 52].iter().all(|&at| known[at] == b'-');
    if !dashes_stand {
        return false;
    }

    let version = &known[..2];
    let trace = &known[3..35];
    let span = &known[36..52];
    let flags = &known[53..];

    let is_hex = |field: &[u8]| {
        field
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };

    let is_zero = |field: &[u8]| field.iter().all(|&byte| byte == b'0');
    let ends_well = rest.is_empty() || (version != b"00" && rest[0] == b'-');
    [version, trace, span, flags].into_iter().all(is_hex)
        && version != b"ff"
        && !is_zero(trace)
        && !is_zero(span)
        && ends_well
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_parent_is_passed_on_as_it_came() {
        let mut headers = HeaderMap::from_iter([
            (TRACEPARENT, HeaderValue::from_static(GIVEN)),
            (TRACESTATE, HeaderValue::from_static("congo=t61rcWkgMzE")),
        ]);
        let before = headers.clone();
        ensure(&mut headers);

        assert_eq!(headers, before);
    }

    #[test]
    fn a_missing_or_broken_parent_is_replaced_and_its_state_dropped() {
        for broken in [
            "",
            "00",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            let mut headers = HeaderMap::from_iter([
                (TRACEPARENT, HeaderValue::from_static(broken)),
                (TRACESTATE, HeaderValue::from_static("a=b")),
            ]);
            ensure(&mut headers);

            assert!(is_valid(headers[TRACEPARENT].as_bytes()), "{broken}");
            assert_ne!(headers[TRACEPARENT], broken);
            assert!(!headers.contains_key(TRACESTATE), "{broken}");
        }
    }

    #[test]
    fn two_parents_are_no_parent() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(GIVEN));
        headers.append(TRACEPARENT, HeaderValue::from_static(GIVEN));
        ensure(&mut headers);
        assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
        assert_ne!(headers[TRACEPARENT], GIVEN);
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert!(is_valid(
            b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what"
        ));
        assert!(!is_valid(
            b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01what"
        ));
    }
}
