//! The headers that the gateway forwards, and the headers that describe a request's origin. Pure.
//!
//! Headers between two neighbours (RFC 9110, 7.6.1) are never forwarded. A statement about the
//! client's address is accepted only from a trusted proxy; any other is replaced.

use std::net::IpAddr;

use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, LOCATION, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::PREFIX;
use crate::client::Peer;
use crate::forwarded::{CLIENT_ADDRESS, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};

static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes the headers that concern one connection only: the standard ones and those that
/// `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();

    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Prepares a client's headers for the upstream: removes the hop-by-hop ones and sets the request's
/// true origin.
///
/// `Host` and `Content-Length` are left to the HTTP client, which sets both.
pub fn prepare_request(headers: &mut HeaderMap, peer: Option<Peer>) {
    strip_hop_by_hop(headers);
    let host = headers.remove(HOST);
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    headers.remove(CLIENT_ADDRESS);

    if !peer.is_some_and(|peer| peer.is_trusted) {
        for claim in [
            X_FORWARDED_FOR,
            X_FORWARDED_HOST,
            X_FORWARDED_PROTO,
            FORWARDED,
        ] {
            headers.remove(claim);
        }
    }

    if let (Some(host), false) = (host, headers.contains_key(X_FORWARDED_HOST)) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }

    if let Some(peer) = peer {
        append_address(headers, peer.address);
        let client = HeaderValue::try_from(peer.client.to_string());
        headers.insert(
            CLIENT_ADDRESS,
            client.expect("an address is visible characters"),
        );
    }
}

/// Prepares an upstream's headers for the client: removes the hop-by-hop ones and rewrites
/// locations to the gateway's paths.
pub fn prepare_answer(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    let location = headers.get(LOCATION).map(HeaderValue::as_bytes);
    if let Some(path) =
        location.filter(|place| place.starts_with(b"/") && !place.starts_with(b"//"))
    {
        let place = HeaderValue::from_bytes(&[PREFIX.as_bytes(), path].concat());
        headers.insert(
            LOCATION,
            place.expect("a path before a header value is one"),
        );
    }
}

fn append_address(headers: &mut HeaderMap, address: IpAddr) {
    let mut chain = String::new();
    for earlier in headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
    {
        chain.extend([earlier, ", "]);
    }

    chain.push_str(&address.to_string());
    let chain =
        HeaderValue::try_from(chain).expect("a list of visible characters is a header value");
    headers.insert(X_FORWARDED_FOR, chain);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn peer(is_trusted: bool) -> Option<Peer> {
        Some(Peer {
            address: IpAddr::from([192, 0, 2, 7]),
            is_trusted,
            client: IpAddr::from(if is_trusted {
                [203, 0, 113, 9]
            } else {
                [192, 0, 2, 7]
            }),
        })
    }

    #[test]
    fn headers_of_the_hop_and_those_in_connection_are_removed() {
        let mut map = headers(&[
            ("connection", "close, x-secret"),
            ("x-secret", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("accept", "*/*"),
        ]);
        strip_hop_by_hop(&mut map);

        assert_eq!(map, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn a_place_at_the_upstream_is_told_as_clients_find_it() {
        for (told, known) in [
            ("/users/7", "/api/users/7"),
            (
                "https://shop.example/users/7",
                "https://shop.example/users/7",
            ),
            ("//shop.example/users/7", "//shop.example/users/7"),
            ("7", "7"),
        ] {
            let mut map = headers(&[("location", told), ("connection", "close")]);
            prepare_answer(&mut map);
            assert_eq!(map, headers(&[("location", known)]));
        }
    }

    #[test]
    fn a_strangers_claims_about_itself_are_replaced() {
        let mut map = headers(&[
            ("host", "shop.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=10.0.0.1"),
            ("tidemark-client-address", "10.0.0.1"),
        ]);
        prepare_request(&mut map, peer(false));

        let expected = headers(&[
            ("tidemark-client-address", "192.0.2.7"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example"),
        ]);
        assert_eq!(map, expected);
    }

    #[test]
    fn a_trusted_proxys_claims_are_kept_and_its_address_is_added() {
        let mut map = headers(&[
            ("host", "gateway:5000"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
            ("tidemark-client-address", "10.0.0.1"),
        ]);
        prepare_request(&mut map, peer(true));

        let expected = headers(&[
            ("tidemark-client-address", "203.0.113.9"),
            ("x-forwarded-for", "203.0.113.9, 192.0.2.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example"),
        ]);
        assert_eq!(map, expected);
    }
}
