//! What pg_waldump calls each operation of each resource manager.
//!
//! PostgreSQL: the `…_identify` functions in `src/backend/access/rmgrdesc/*.c`, 9.5 to 19.

use crate::wal::Major;
use crate::wal::record::ResourceManager;

/// The name of the operation in `xl_info`; `None` where the version knows none.
pub fn operation(manager: ResourceManager, info: u8, major: Major) -> Option<&'static str> {
    let info = info & 0xF0;
    match manager.0 {
        0 => xlog(info, major),
        1 => transaction(info & 0x70, major),
        2 => pick(info, &[(0x10, "CREATE"), (0x20, "TRUNCATE")]),
        3 => nth(info, &["ZEROPAGE", "TRUNCATE"]),
        4 if major >= Major::V15 => nth(info, &["CREATE_FILE_COPY", "CREATE_WAL_LOG", "DROP"]),
        4 | 5 => nth(info, &["CREATE", "DROP"]),
        6 => nth(info, &["ZERO_OFF_PAGE", "ZERO_MEM_PAGE", "CREATE_ID", "TRUNCATE_ID"]),
        7 => nth(info, &["UPDATE"]),
        8 => nth(info, &["LOCK", "RUNNING_XACTS", "INVALIDATIONS"]),
        9 => heap2(info, major),
        10 => heap(info),
        11 => btree(info, major),
        12 => nth(info, &HASH),
        13 => nth(info, &GIN),
        14 => pick(info, &GIST),
        15 => nth(info, &["LOG"]),
        16 => nth(info, &SPGIST),
        17 => pick(info, &BRIN),
        18 => nth(info, &["ZEROPAGE", "TRUNCATE", "SETTS"]),
        19 => nth(info, &["SET", "DROP"]),
        20 => Some("Generic"),
        21 => nth(info, &["MESSAGE"]),
        22 => nth(info, &["CHECKSUMS"]),
        _ => None,
    }
}

const HASH: [&str; 13] = [
    "INIT_META_PAGE",
    "INIT_BITMAP_PAGE",
    "INSERT",
    "ADD_OVFL_PAGE",
    "SPLIT_ALLOCATE_PAGE",
    "SPLIT_PAGE",
    "SPLIT_COMPLETE",
    "MOVE_PAGE_CONTENTS",
    "SQUEEZE_PAGE",
    "DELETE",
    "SPLIT_CLEANUP",
    "UPDATE_META_PAGE",
    "VACUUM_ONE_PAGE",
];
const GIN: [&str; 10] = [
    "CREATE_INDEX",
    "CREATE_PTREE",
    "INSERT",
    "SPLIT",
    "VACUUM_PAGE",
    "DELETE_PAGE",
    "UPDATE_META_PAGE",
    "INSERT_LISTPAGE",
    "DELETE_LISTPAGE",
    "VACUUM_DATA_LEAF_PAGE",
];
const GIST: [(u8, &str); 7] = [
    (0x00, "PAGE_UPDATE"),
    (0x10, "DELETE"),
    (0x20, "PAGE_REUSE"),
    (0x30, "PAGE_SPLIT"),
    (0x50, "CREATE_INDEX"),
    (0x60, "PAGE_DELETE"),
    (0x70, "ASSIGN_LSN"),
];
const SPGIST: [&str; 9] = [
    "CREATE_INDEX",
    "ADD_LEAF",
    "MOVE_LEAFS",
    "ADD_NODE",
    "SPLIT_TUPLE",
    "PICKSPLIT",
    "VACUUM_LEAF",
    "VACUUM_ROOT",
    "VACUUM_REDIRECT",
];
const BRIN: [(u8, &str); 8] = [
    (0x00, "CREATE_INDEX"),
    (0x10, "INSERT"),
    (0x90, "INSERT+INIT"),
    (0x20, "UPDATE"),
    (0xA0, "UPDATE+INIT"),
    (0x30, "SAMEPAGE_UPDATE"),
    (0x40, "REVMAP_EXTEND"),
    (0x50, "DESUMMARIZE"),
];

/// The name at the place that the high half of `info` counts.
fn nth(info: u8, names: &[&'static str]) -> Option<&'static str> {
    names.get(usize::from(info >> 4)).copied()
}

fn pick(info: u8, names: &[(u8, &'static str)]) -> Option<&'static str> {
    names.iter().find(|(of, _)| *of == info).map(|(_, name)| *name)
}

fn xlog(info: u8, major: Major) -> Option<&'static str> {
    let names = [
        "CHECKPOINT_SHUTDOWN",
        "CHECKPOINT_ONLINE",
        "NOOP",
        "NEXTOID",
        "SWITCH",
        "BACKUP_END",
        "PARAMETER_CHANGE",
        "RESTORE_POINT",
        "FPW_CHANGE",
        "END_OF_RECOVERY",
        "FPI_FOR_HINT",
        "FPI",
        if major >= Major::V19 { "ASSIGN_LSN" } else { "FPI_MULTI" },
        "OVERWRITE_CONTRECORD",
        "CHECKPOINT_REDO",
        "LOGICAL_DECODING_STATUS_CHANGE",
    ];
    let known = match info {
        0xC0 => major <= Major::V11 || major >= Major::V19,
        0xE0 => major >= Major::V17,
        0xF0 => major >= Major::V19,
        _ => true,
    };
    nth(info, &names).filter(|_| known)
}

fn transaction(info: u8, major: Major) -> Option<&'static str> {
    let names =
        ["COMMIT", "PREPARE", "ABORT", "COMMIT_PREPARED", "ABORT_PREPARED", "ASSIGNMENT", "INVALIDATION"];
    nth(info, &names).filter(|_| info < 0x60 || major >= Major::V14)
}

fn heap2(info: u8, major: Major) -> Option<&'static str> {
    let three = match major {
        Major::V9_5 | Major::V9_6 | Major::V10 | Major::V11 | Major::V12 | Major::V13 => {
            ["CLEAN", "FREEZE_PAGE", "CLEANUP_INFO"]
        }
        Major::V14 | Major::V15 | Major::V16 => ["PRUNE", "VACUUM", "FREEZE_PAGE"],
        _ => ["PRUNE_ON_ACCESS", "PRUNE_VACUUM_SCAN", "PRUNE_VACUUM_CLEANUP"],
    };
    match info {
        0x10..=0x30 => three.get(usize::from(info >> 4) - 1).copied(),
        _ => pick(
            info,
            &[
                (0x00, "REWRITE"),
                (0x40, "VISIBLE"),
                (0x50, "MULTI_INSERT"),
                (0xD0, "MULTI_INSERT+INIT"),
                (0x60, "LOCK_UPDATED"),
                (0x70, "NEW_CID"),
            ],
        ),
    }
}

fn heap(info: u8) -> Option<&'static str> {
    match info {
        0x80 => Some("INSERT+INIT"),
        0xA0 => Some("UPDATE+INIT"),
        0xC0 => Some("HOT_UPDATE+INIT"),
        _ => nth(
            info,
            &["INSERT", "DELETE", "UPDATE", "TRUNCATE", "HOT_UPDATE", "HEAP_CONFIRM", "LOCK", "INPLACE"],
        ),
    }
}

fn btree(info: u8, major: Major) -> Option<&'static str> {
    let two = match major {
        Major::V9_5 | Major::V9_6 | Major::V10 => ["SPLIT_L_ROOT", "SPLIT_R_ROOT"],
        Major::V11 | Major::V12 => ["SPLIT_L_HIGHKEY", "SPLIT_R_HIGHKEY"],
        _ => ["INSERT_POST", "DEDUP"],
    };
    let names = [
        "INSERT_LEAF",
        "INSERT_UPPER",
        "INSERT_META",
        "SPLIT_L",
        "SPLIT_R",
        two[0],
        two[1],
        "DELETE",
        "UNLINK_PAGE",
        "UNLINK_PAGE_META",
        "NEWROOT",
        "MARK_PAGE_HALFDEAD",
        "VACUUM",
        "REUSE_PAGE",
        "META_CLEANUP",
    ];
    nth(info, &names)
}
