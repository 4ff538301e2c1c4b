//! Scales pictures down. Pure.

use image::{DynamicImage, Rgba, RgbaImage};

/// Scales the picture to sides of at most `side` pixels. Returns a smaller picture unchanged.
pub(super) fn of(picture: DynamicImage, side: u32) -> DynamicImage {
    if picture.width().max(picture.height()) <= side {
        return picture;
    }
    if !picture.color().has_alpha() {
        return picture.thumbnail(side, side);
    }

    averaged(&picture.into_rgba8(), side).into()
}

/// Averages the pixels that each pixel of the result represents, weighted by their opacity. A
/// transparent pixel also has a colour, usually black, which must not darken the visible pixels beside
/// it.
fn averaged(picture: &RgbaImage, side: u32) -> RgbaImage {
    let (width, height) = picture.dimensions();
    let longest = u64::from(width.max(height));
    let scaled = |length: u32| {
        (u64::from(length) * u64::from(side))
            .div_ceil(longest)
            .max(1) as u32
    };
    let columns = scaled(width);
    let rows = scaled(height);

    RgbaImage::from_fn(columns, rows, |x, y| {
        let across = share(x, columns, width);
        let down = share(y, rows, height);
        let pixels = down.flat_map(|y| across.clone().map(move |x| *picture.get_pixel(x, y)));
        average(pixels)
    })
}

/// Returns the range of pixels, on a side of `length`, that pixel `at` of `count` represents. It is
/// never empty.
fn share(at: u32, count: u32, length: u32) -> std::ops::Range<u32> {
    let edge = |at: u32| (u64::from(at) * u64::from(length) / u64::from(count)) as u32;
    edge(at)..edge(at + 1).max(edge(at) + 1)
}

fn average(pixels: impl Iterator<Item = Rgba<u8>>) -> Rgba<u8> {
    let mut count = 0_u64;
    let mut opacity = 0_u64;
    let mut colours = [0_u64; 3];

    for Rgba([red, green, blue, alpha]) in pixels {
        let alpha = u64::from(alpha);
        count += 1;
        opacity += alpha;
        for (sum, colour) in colours.iter_mut().zip([red, green, blue]) {
            *sum += u64::from(colour) * alpha;
        }
    }

    let rounded = |sum: u64, weight: u64| ((sum + weight / 2) / weight.max(1)) as u8;
    let [red, green, blue] = colours.map(|sum| rounded(sum, opacity));
    Rgba([red, green, blue, rounded(opacity, count)])
}
