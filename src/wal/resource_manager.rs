//! Resource managers: what kind of change a record is.
//!
//! PostgreSQL: `src/include/access/rmgrlist.h`, 9.5 to 19. A number keeps its meaning.

/// A resource manager's number (`RmgrId`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourceManager(pub u8);

/// Names as pg_waldump prints them, by number (`rmgrlist.h`).
const RESOURCE_MANAGER_NAMES: [&str; 23] = [
    "XLOG",
    "Transaction",
    "Storage",
    "CLOG",
    "Database",
    "Tablespace",
    "MultiXact",
    "RelMap",
    "Standby",
    "Heap2",
    "Heap",
    "Btree",
    "Hash",
    "Gin",
    "Gist",
    "Sequence",
    "SPGist",
    "BRIN",
    "CommitTs",
    "ReplicationOrigin",
    "Generic",
    "LogicalMessage",
    "XLOG2",
];

#[expect(missing_docs, reason = "each is the resource manager it is named for")]
impl ResourceManager {
    pub const XLOG: Self = Self(0);
    pub const TRANSACTION: Self = Self(1);
    pub const STORAGE: Self = Self(2);
    pub const DATABASE: Self = Self(4);
    pub const TABLESPACE: Self = Self(5);
    pub const RELMAP: Self = Self(7);
    pub const STANDBY: Self = Self(8);
    pub const HEAP2: Self = Self(9);
    pub const HEAP: Self = Self(10);
    pub const HASH: Self = Self(12);
    pub const GIN: Self = Self(13);
    pub const GIST: Self = Self(14);
    pub const SEQUENCE: Self = Self(15);
    pub const SPGIST: Self = Self(16);
    pub const BRIN: Self = Self(17);
    pub const GENERIC: Self = Self(20);

    /// The name that pg_waldump prints for a built-in one.
    pub fn name(self) -> Option<&'static str> {
        RESOURCE_MANAGER_NAMES.get(usize::from(self.0)).copied()
    }
}
