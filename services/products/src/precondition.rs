//! Entity tags (RFC 9110, 8.8.3): the version of a product's description in quotation marks, and the
//! preconditions of requests that use them. A sale does not change the tag.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use chassis::{Problem, Result};

/// The version that a client requires for its write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum IfMatch {
    /// Any version: the header is absent or contains `*`.
    Anything,
    /// One of these tags.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Parses the header `If-Match`.
    ///
    /// # Errors
    /// Returns a 400 if the header is not text.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        Ok(match tags(headers, &header::IF_MATCH)? {
            Some(tags) if !tags.iter().any(|tag| tag == "*") => Self::Tags(tags),
            _ => Self::Anything,
        })
    }

    /// Checks `version` against the tags.
    ///
    /// # Errors
    /// Returns a 412 if it is none of them.
    pub fn check(&self, version: u64) -> Result<()> {
        match self {
            Self::Tags(tags) if !tags.contains(&text(version)) => Err(changed()),
            _ => Ok(()),
        }
    }
}

/// Returns whether the client already has `version`, by `If-None-Match`. Tags are compared weakly.
///
/// # Errors
/// Returns a 400 if the header is not text.
pub fn is_known(headers: &HeaderMap, version: u64) -> Result<bool> {
    let wanted = text(version);
    let tags = tags(headers, &header::IF_NONE_MATCH)?.unwrap_or_default();
    Ok(tags
        .iter()
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == wanted))
}

/// Checks that `If-None-Match` does not exclude the product's version from the client's write.
///
/// # Errors
/// Returns a 412 if it does, and a 400 if the header is not text.
pub fn require_unknown(headers: &HeaderMap, version: u64) -> Result<()> {
    if !is_known(headers, version)? {
        return Ok(());
    }
    let detail = format!("the product is at version {version}, which If-None-Match excludes");
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail).field("If-None-Match"))
}

/// Checks that the client has sent `If-None-Match: *`: it writes only if no product exists.
///
/// # Errors
/// Returns a 428 if the header is absent or different, and a 400 if it is not text.
pub fn require_none(headers: &HeaderMap) -> Result<()> {
    let tags = tags(headers, &header::IF_NONE_MATCH)?.unwrap_or_default();
    if tags == ["*"] {
        return Ok(());
    }
    let detail = "a product can be added here, not replaced: send If-None-Match: *";
    Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail).field("If-None-Match"))
}

/// A 412: a product exists where the client required none.
pub fn exists() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "there is already a product with this id",
    )
    .field("If-None-Match")
}

/// Returns the entity tag of a version.
pub fn tag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&text(version)).expect("digits between quotation marks")
}

/// A 412: the version that the client decided on is outdated.
pub fn changed() -> Problem {
    let detail = "the product has changed since the version named in If-Match; read it again";
    Problem::new(StatusCode::PRECONDITION_FAILED, detail).field("If-Match")
}

fn text(version: u64) -> String {
    format!("\"{version}\"")
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Vec<String>>> {
    let mut tags = None;
    for value in headers.get_all(name) {
        let complaint = || {
            Problem::bad_request("the header is not a list of entity tags").field(name.to_string())
        };

        let listed = value
            .to_str()
            .map_err(|_| complaint())?
            .split(',')
            .map(|tag| tag.trim().to_owned());
        tags.get_or_insert_with(Vec::new).extend(listed);
    }

    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn status(value: &'static str) -> Option<StatusCode> {
        let wanted = IfMatch::of(&headers(header::IF_MATCH, value)).unwrap();
        wanted.check(7).err().map(|problem| problem.status())
    }

    #[test]
    fn if_match_takes_the_version_a_list_or_a_star() {
        assert_eq!(IfMatch::of(&HeaderMap::new()).unwrap(), IfMatch::Anything);
        assert_eq!(
            [status("\"7\""), status("\"6\", \"7\""), status("*")],
            [None, None, None]
        );

        let refused = Some(StatusCode::PRECONDITION_FAILED);
        assert_eq!(
            [status("\"6\""), status("7"), status("W/\"7\"")],
            [refused, refused, refused]
        );
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let known = |value| is_known(&headers(header::IF_NONE_MATCH, value), 7).unwrap();
        assert_eq!(
            [known("W/\"7\""), known("\"7\""), known("*"), known("\"8\"")],
            [true, true, true, false]
        );
    }
}
