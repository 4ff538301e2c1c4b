//! Which files there are.

/// A file of the storefront, as it is in the source tree.
pub(super) struct File {
    /// Where it is served.
    pub(super) path: &'static str,
    name: &'static str,
    pub(super) bytes: &'static [u8],
}

impl File {
    /// Its media type, by its name.
    pub(super) fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            _ => "application/octet-stream",
        }
    }
}

macro_rules! files {
    ($($path:literal => $name:literal,)*) => {
        &[$(File { path: $path, name: $name, bytes: include_bytes!(concat!("../../storefront/", $name)) },)*]
    };
}

/// Every file of the storefront.
pub(super) const FILES: &[File] = files! {
    "/" => "index.html",
};
