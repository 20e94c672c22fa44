//! The file itself: opening, its version, what can be wrong with it.

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// "walp": what tells our SQLite files from others.
const APPLICATION_ID: i32 = 0x7761_6C70;
/// Raised when what is kept changes its meaning. Every other version is read by nobody but its own program.
const VERSION: i32 = 11;
/// How long one run waits for another to write.
const BUSY_TIMEOUT: Duration = Duration::from_mins(1);
/// Where SQLite does not wait itself.
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

const SCHEMA: &str = "
    CREATE TABLE document (name TEXT PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER,
        ctime_ns INTEGER,
        device INTEGER,
        inode INTEGER,
        etag TEXT,
        rests_on BLOB NOT NULL,
        start_lsn INTEGER NOT NULL,
        end_lsn INTEGER NOT NULL,
        system_id INTEGER,
        segment_size INTEGER,
        magic INTEGER,
        commits INTEGER NOT NULL,
        aborts INTEGER NOT NULL,
        zone BLOB NOT NULL,
        gone INTEGER NOT NULL DEFAULT 0,
        crc INTEGER NOT NULL
    );
    CREATE TABLE block (
        file INTEGER PRIMARY KEY,
        facts_crc INTEGER NOT NULL,
        ends_crc INTEGER NOT NULL,
        rows_crc INTEGER NOT NULL,
        facts BLOB NOT NULL,
        ends BLOB NOT NULL,
        extras BLOB NOT NULL,
        activity BLOB NOT NULL,
        names BLOB NOT NULL
    );
    CREATE TABLE zone (id INTEGER PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL);
";

/// The catalog could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Its bytes are not what was written.
    #[error("the catalog {} is damaged ({detail}): run `walproof index` with --rebuild", path.display())]
    Damaged {
        /// The catalog.
        path: PathBuf,
        /// How that was seen.
        detail: String,
    },
    /// A later program wrote it.
    #[error(
        "the catalog {} has version {found}, and this program knows {known}: use the newer program, or run \
         `walproof index` with --rebuild", path.display()
    )]
    Version {
        /// The catalog.
        path: PathBuf,
        /// Its version.
        found: i32,
        /// Ours.
        known: i32,
    },
    /// It is some other program's file.
    #[error("{} is not a catalog of walproof's", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no catalog {}: run `walproof index` first", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It does not hold what was asked of it.
    #[error("the catalog {} does not hold {what}: run `walproof index` first", path.display())]
    Lacks {
        /// The catalog.
        path: PathBuf,
        /// What it lacks.
        what: String,
    },
    /// It could not be read or written.
    #[error("cannot use the catalog {}: {detail}", path.display())]
    Unusable {
        /// The catalog.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

/// An open catalog.
#[derive(Debug)]
pub struct Catalog {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

impl Catalog {
    /// Opens the catalog at `path`, which is made if it is not there.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let failed = |error: std::io::Error| CatalogError::Unusable {
                path: path.to_owned(),
                detail: format!("cannot make its directory: {error}"),
            };
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut catalog = Self::connect(path, flags)?;
        if catalog.is_new()? {
            catalog.create()?;
        }
        catalog.check_version()?;
        Ok(catalog)
    }

    /// Opens the catalog at `path` to read from it alone.
    pub fn open_to_read(path: &Path) -> Result<Self, CatalogError> {
        if !path.exists() {
            return Err(CatalogError::Missing { path: path.to_owned() });
        }
        let catalog = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let checked = match catalog.is_new() {
            Ok(true) => return Err(CatalogError::Missing { path: path.to_owned() }),
            Ok(false) => catalog.check_version(),
            Err(error) => Err(error),
        };
        match checked {
            // On a medium that cannot be written at all, nobody else writes it either.
            Err(CatalogError::Unusable { .. }) => {
                let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
                let uri = format!("file:{}?immutable=1", escaped(&whole));
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
                let catalog = Self::connect_to(path, Path::new(&uri), flags)?;
                catalog.check_version()?;
                Ok(catalog)
            }
            checked => checked.map(|()| catalog),
        }
    }

    /// Opens an empty catalog at `path`. What was there is gone; a file that is no sound catalog is put aside under
    /// another name.
    pub fn rebuild(path: &Path) -> Result<Self, CatalogError> {
        match Self::open(path) {
            Ok(mut catalog) => {
                if catalog.is_sound() && catalog.clear().is_ok() {
                    return Ok(catalog);
                }
            }
            Err(error @ CatalogError::Unusable { .. }) => return Err(error),
            Err(_) => {}
        }
        set_aside(path).map_err(|error| CatalogError::Unusable {
            path: path.to_owned(),
            detail: format!("cannot put the old one aside: {error}"),
        })?;
        Self::open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that its file takes once it is closed, and what SQLite keeps beside it until then is written into it.
    ///
    /// # Errors
    /// The catalog cannot be read.
    pub fn size(&self) -> Result<u64, CatalogError> {
        let number = |name| self.pragma(name).map(i64::from).map(i64::unsigned_abs);
        Ok(number("page_count")? * number("page_size")?)
    }

    /// What `error` says about this catalog.
    pub(super) fn failed(&self, error: &rusqlite::Error) -> CatalogError {
        describe(&self.path, error)
    }

    pub(super) fn damaged(&self, detail: impl Into<String>) -> CatalogError {
        CatalogError::Damaged { path: self.path.clone(), detail: detail.into() }
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, CatalogError> {
        Self::connect_to(path, path, flags)
    }

    fn connect_to(path: &Path, address: &Path, flags: OpenFlags) -> Result<Self, CatalogError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(address, flags).map_err(|error| describe(path, &error))?;
        let catalog = Self { path: path.to_owned(), connection };
        catalog.connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| catalog.failed(&error))?;
        Ok(catalog)
    }

    fn pragma(&self, name: &str) -> Result<i32, CatalogError> {
        let value = self.connection.pragma_query_value(None, name, |row| row.get(0));
        value.map_err(|error| self.failed(&error))
    }

    /// Nothing was ever written to it.
    fn is_new(&self) -> Result<bool, CatalogError> {
        let count = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 =
            self.connection.query_row(count, [], |row| row.get(0)).map_err(|error| self.failed(&error))?;
        Ok(tables == 0 && self.pragma("application_id")? == 0 && self.pragma("user_version")? == 0)
    }

    fn check_version(&self) -> Result<(), CatalogError> {
        if self.pragma("application_id")? != APPLICATION_ID {
            return Err(CatalogError::Foreign { path: self.path.clone() });
        }
        match self.pragma("user_version")? {
            VERSION => Ok(()),
            found => Err(CatalogError::Version { path: self.path.clone(), found, known: VERSION }),
        }
    }

    fn create(&mut self) -> Result<(), CatalogError> {
        // Readers are not stopped by a writer, and a run that is killed leaves the last whole batch.
        self.keep_a_log()
            .and_then(|()| self.connection.pragma_update(None, "synchronous", "NORMAL"))
            .map_err(|error| self.failed(&error))?;
        let path = self.path.clone();
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let made = begun.and_then(|transaction| {
            // Another run may have been faster.
            let tables: i64 =
                transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables == 0 {
                transaction.execute_batch(SCHEMA)?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", VERSION)?;
            }
            transaction.commit()
        });
        made.map_err(|error| describe(&path, &error))
    }

    /// Turns SQLite's write-ahead log on. While another run does the same SQLite gives up at once, whatever the time that
    /// it may wait for locks otherwise.
    fn keep_a_log(&self) -> rusqlite::Result<()> {
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            match self.connection.pragma_update(None, "journal_mode", "WAL") {
                Err(error) if is_busy(&error) && Instant::now() < until => thread::sleep(BETWEEN_TRIES),
                other => return other,
            }
        }
    }

    fn is_sound(&self) -> bool {
        let answer =
            self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
        answer.is_ok_and(|answer| answer == "ok")
    }

    fn clear(&mut self) -> rusqlite::Result<()> {
        let clear = "DELETE FROM zone; DELETE FROM block; DELETE FROM file; DELETE FROM document;";
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(clear)?;
        transaction.commit()
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

/// What SQLite's error means for the catalog at `path`.
fn describe(path: &Path, error: &rusqlite::Error) -> CatalogError {
    let path = path.to_owned();
    let detail = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => CatalogError::Damaged { path, detail },
        Some(ErrorCode::DatabaseBusy) => {
            CatalogError::Unusable { path, detail: "another run keeps it locked".to_owned() }
        }
        // A column or a table that must be there is not.
        Some(ErrorCode::Unknown | ErrorCode::TypeMismatch) => CatalogError::Damaged { path, detail },
        Some(_) => CatalogError::Unusable { path, detail },
        None => CatalogError::Damaged { path, detail },
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Gives a file that is no sound catalog another name, and takes away what SQLite kept beside it.
fn set_aside(path: &Path) -> std::io::Result<()> {
    let absent_is_fine = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    for suffix in ["-wal", "-shm", "-journal"] {
        absent_is_fine(fs::remove_file(with_suffix(path, suffix)))?;
    }
    absent_is_fine(fs::rename(path, with_suffix(path, ".damaged")))
}

/// The path as part of SQLite's `file:` address.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
