//! The backup: a dump, tables, uploads, and the mailbox's position on the topic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use events::ORDERS;
use record_log::{Offset, RecordLog};

use super::tables::Tables;
use super::world::World;
use super::{Result, Times, database};
use crate::counterparts::{Counterpart, run_silently};
use crate::end_to_end::EndToEndError;
use crate::orders_as_sql;

/// The group under which notifications stores its positions.
const MAILBOX: &str = "notifications";
/// The prefix of tables that need no backup, because the orders are counted again.
const COUNTED: &str = "analytics-";
const UPLOADS: [&str; 2] = ["uploads", "thumbnails"];

/// A folder with the data, and the positions that belong to it.
pub(super) struct Backup {
    folder: PathBuf,
    mailbox: Vec<(u32, Offset)>,
}

impl Backup {
    /// Takes a backup while the platform serves. The position is read before its table, so that no
    /// record between them is missed.
    pub(super) fn take(
        world: &World,
        log: &dyn RecordLog,
        folder: PathBuf,
        times: &mut Times,
    ) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let mailbox = log
            .committed(MAILBOX, ORDERS)
            .map_err(EndToEndError::from)?;
        let backup = Self { folder, mailbox };
        times.step("backup of SQL: mariadb-dump", || {
            database::dump(world.address(Counterpart::Mariadb), &backup.sql())
        })?;

        times.step("backup of tables: a scan each", || {
            let tables = Tables::at(world.address(Counterpart::Dynamodb))?;
            tables
                .export(&backup.tables(), |name| !name.starts_with(COUNTED))
                .map(drop)
        })?;

        times.step("backup of uploads: a copy", || {
            copy_uploads(&world.objects(), &backup.folder)
        })?;

        Ok(backup)
    }

    /// Restores the backup into empty stores, before anything uses them.
    pub(super) fn restore(
        &self,
        world: &World,
        log: &dyn RecordLog,
        times: &mut Times,
    ) -> Result<()> {
        let sql = world.address(Counterpart::Mariadb);
        times.step("SQL from its dump", || database::run(sql, &self.sql()))?;
        times.step("tables from their export", || {
            Tables::at(world.address(Counterpart::Dynamodb))?
                .import(&self.tables())
                .map(drop)
        })?;

        times.step("uploads", || copy_uploads(&self.folder, &world.objects()))?;
        times.step("orders since the backup, from the topic into SQL", || {
            let statements = self.folder.join("orders.sql");
            fs::write(
                &statements,
                orders_as_sql::of(log).map_err(EndToEndError::from)?,
            )?;
            database::run(sql, &statements)
        })?;

        times.step("the mailbox back to where its table is", || {
            Ok(log
                .commit(MAILBOX, ORDERS, &self.mailbox)
                .map_err(EndToEndError::from)?)
        })?;

        times.step("order-analytics start-over", || world.start_over())
    }

    fn sql(&self) -> PathBuf {
        self.folder.join("shop.sql")
    }

    fn tables(&self) -> PathBuf {
        self.folder.join("tables")
    }
}

/// Copies everything but checkpoints.
fn copy_uploads(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for folder in UPLOADS
        .map(|name| from.join(name))
        .iter()
        .filter(|folder| folder.exists())
    {
        let mut copy = Command::new("cp");
        copy.arg("--recursive").arg(folder).arg(to);
        run_silently("cp", copy).map_err(EndToEndError::from)?;
    }

    Ok(())
}
