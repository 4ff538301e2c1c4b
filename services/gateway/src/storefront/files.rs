//! The list of the storefront's files.

use axum::body::Bytes;

use super::page::assemble;

/// A file of the storefront, as it is in the source tree.
pub(super) struct File {
    /// The path at which it is served.
    pub(super) path: &'static str,
    name: &'static str,
    bytes: &'static [u8],
}

impl File {
    /// Returns its content as it is served: a page is set into the common frame.
    pub(super) fn content(&self) -> Bytes {
        match self.page() {
            Some(page) => assemble(self.path, page).into(),
            None => Bytes::from_static(self.bytes),
        }
    }

    /// Returns its text if it is a page.
    pub(super) fn page(&self) -> Option<&'static str> {
        let is_page = self.name.ends_with(".html");
        is_page.then(|| str::from_utf8(self.bytes).expect("pages are text"))
    }

    /// Returns its media type, by its name.
    pub(super) fn content_type(&self) -> &'static str {
        match self.name.rsplit_once('.') {
            Some((_, "html")) => "text/html; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            Some((_, "woff2")) => "font/woff2",
            _ => "application/octet-stream",
        }
    }
}

macro_rules! files {
    ($($path:literal => $name:literal,)*) => {
        &[$(File { path: $path, name: $name, bytes: include_bytes!(concat!("../../storefront/", $name)) },)*]
    };
}

/// The error page for unknown addresses.
pub(super) const MISSING: File = File {
    path: "",
    name: "missing.html",
    bytes: include_bytes!("../../storefront/missing.html"),
};

/// Every file of the storefront that has an address.
pub(super) const FILES: &[File] = files! {
    "/" => "index.html",
    "/live" => "live.html",
    "/orders" => "orders.html",
    "/admin" => "admin.html",
    "/files" => "files.html",
    "/docs" => "docs.html",
    "/verify" => "verify.html",
    "/forgot" => "forgot.html",
    "/reset" => "reset.html",
    "/products/{id}" => "product.html",
    "/favicon.svg" => "favicon.svg",
    "/assets/base.css" => "assets/base.css",
    "/assets/basket.css" => "assets/basket.css",
    "/assets/board.css" => "assets/board.css",
    "/assets/docs.css" => "assets/docs.css",
    "/assets/files.css" => "assets/files.css",
    "/assets/frame.css" => "assets/frame.css",
    "/assets/gauge.css" => "assets/gauge.css",
    "/assets/orders.css" => "assets/orders.css",
    "/assets/shop.css" => "assets/shop.css",
    "/assets/tokens.css" => "assets/tokens.css",
    "/assets/newsreader.woff2" => "assets/newsreader.woff2",
    "/assets/account.js" => "assets/account.js",
    "/assets/admin.js" => "assets/admin.js",
    "/assets/api.js" => "assets/api.js",
    "/assets/basket.js" => "assets/basket.js",
    "/assets/board.js" => "assets/board.js",
    "/assets/card.js" => "assets/card.js",
    "/assets/catalogue.js" => "assets/catalogue.js",
    "/assets/chart.js" => "assets/chart.js",
    "/assets/clock.js" => "assets/clock.js",
    "/assets/counts.js" => "assets/counts.js",
    "/assets/customer.js" => "assets/customer.js",
    "/assets/delivery.js" => "assets/delivery.js",
    "/assets/dialog.js" => "assets/dialog.js",
    "/assets/docs.js" => "assets/docs.js",
    "/assets/dom.js" => "assets/dom.js",
    "/assets/drawings.js" => "assets/drawings.js",
    "/assets/factor.js" => "assets/factor.js",
    "/assets/file.js" => "assets/file.js",
    "/assets/files.js" => "assets/files.js",
    "/assets/form.js" => "assets/form.js",
    "/assets/forgot.js" => "assets/forgot.js",
    "/assets/format.js" => "assets/format.js",
    "/assets/gauge.js" => "assets/gauge.js",
    "/assets/live.js" => "assets/live.js",
    "/assets/masthead.js" => "assets/masthead.js",
    "/assets/operation.js" => "assets/operation.js",
    "/assets/orders.js" => "assets/orders.js",
    "/assets/pay.js" => "assets/pay.js",
    "/assets/product.js" => "assets/product.js",
    "/assets/receipt.js" => "assets/receipt.js",
    "/assets/reset.js" => "assets/reset.js",
    "/assets/schema.js" => "assets/schema.js",
    "/assets/shop.js" => "assets/shop.js",
    "/assets/token.js" => "assets/token.js",
    "/assets/verify.js" => "assets/verify.js",
    "/assets/visitors.js" => "assets/visitors.js",
    "/assets/windows.js" => "assets/windows.js",
};
