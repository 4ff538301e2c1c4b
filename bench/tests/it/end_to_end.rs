//! Tests the real platform on its embedded stores: orders placed at the gateway come back as
//! counts.

use std::io::Write;

use bench::binaries;
use bench::end_to_end::{Customers, EndToEndError};
use bench::platform::{self, Platform, Settings};

#[test]
fn orders_placed_at_the_gateway_are_counted_per_user_and_minute() -> Result<(), EndToEndError> {
    if let Err(error) = binaries::find("platform") {
        writeln!(std::io::stderr(), "SKIPPED: {error}")?;
        return Ok(());
    }

    let folder = tempfile::tempdir()?;
    let platform = Platform::start(Settings {
        data: None,
        port_base: platform::free_port_base()?,
        arguments: Vec::new(),
        log: folder.path().join("platform.log"),
    })?;
    let mut customers = Customers::sign_up(platform.shop())?;
    customers.order_each(platform.shop(), 2)?;
    customers.wait_until_counted(platform.shop())?;
    platform.stop()?;

    Ok(())
}
