//! The suite. One server serves all of it, because starting one takes seconds.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use walproof::archive::store::{Descent, Sink};
use walproof::archive::{Deletion, Object, Store, StoreError};

use crate::fixtures::{Fixture, for_each};

/// Bytes that are nobody else's.
fn content(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251 + seed * 7) % 256).unwrap()).collect()
}

fn list_all(store: &dyn Store) -> Vec<Object> {
    let listed = store.list(&|_| Descent::Whole).unwrap();
    let mut files: Vec<Object> = listed.into_iter().filter(|object| !object.is_directory()).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn paths(objects: &[Object]) -> Vec<&str> {
    objects.iter().map(|object| object.path.to_str().unwrap()).collect()
}

fn read_all(store: &dyn Store, object: &Object) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let sink: Sink<'_> = &mut |piece| {
        bytes.extend_from_slice(piece);
        ControlFlow::Continue(())
    };
    store.read(object, &mut Vec::new(), sink)?;
    Ok(bytes)
}

#[test]
#[expect(clippy::print_stderr, reason = "shown when a check fails: which one of which store it was")]
fn every_store_passes_the_suite() {
    for_each(|fixture| {
        for (name, check) in [
            ("listing", lists_what_is_there as fn(&dyn Fixture)),
            ("reading", reads_objects_of_every_size),
            ("changes", notices_what_changed_since_the_listing),
            ("prefetch", gives_the_same_bytes_whatever_was_planned),
            ("removal", removes_only_what_is_as_it_was),
            ("trash", moves_and_never_replaces),
        ] {
            eprintln!("{}: {name}", fixture.name());
            check(fixture);
        }
    });
}

fn lists_what_is_there(fixture: &dyn Fixture) {
    for key in ["l/a/1", "l/a/2", "l/a/deep/3", "l/b/4", "l/5", "other/6"] {
        fixture.put(key, key.as_bytes());
    }
    let store = fixture.store("l");
    let listed = list_all(store.as_ref());
    assert_eq!(paths(&listed), ["5", "a/1", "a/2", "a/deep/3", "b/4"]);
    assert!(
        listed.iter().all(|object| object.identity.size == object.path.to_str().unwrap().len() as u64 + 2)
    );

    let only_a = store.list(&|folder: &Path| match folder.to_str().unwrap() {
        "" => Descent::Level,
        "a" => Descent::Whole,
        _ => Descent::Skip,
    });
    let only_a = only_a.unwrap();
    let mut files: Vec<&str> = only_a
        .iter()
        .filter(|object| !object.is_directory())
        .map(|object| object.path.to_str().unwrap())
        .collect();
    files.sort_unstable();
    assert_eq!(files, ["5", "a/1", "a/2", "a/deep/3"]);
    assert!(store.list(&|_| Descent::Skip).unwrap().is_empty());

    let children = |store: &dyn Store, folder: &str| -> BTreeMap<String, bool> {
        let found = store.children(Path::new(folder), 100).unwrap();
        found.into_iter().map(|child| (child.name, child.is_folder)).collect()
    };
    let expected = [("5".to_owned(), false), ("a".to_owned(), true), ("b".to_owned(), true)].into();
    assert_eq!(children(store.as_ref(), ""), expected);
    assert_eq!(children(store.as_ref(), "../other"), [("6".to_owned(), false)].into());
    assert!(children(store.as_ref(), "nowhere").is_empty());
    assert_eq!(store.names().last().unwrap(), "l");
    let above = fixture.store("l/a").raised(1).unwrap();
    assert_eq!(children(above.as_ref(), ""), expected);
    assert_eq!(list_all(above.as_ref()), listed);

    let mut found = store.find(Path::new("a/2")).unwrap().unwrap();
    // The head of an answer tells the time in whole seconds.
    let seconds = |object: &Object| object.identity.modified_ns.map(|time| time / 1_000_000_000);
    assert_eq!(seconds(&found), seconds(&listed[2]));
    found.identity.modified_ns = listed[2].identity.modified_ns;
    assert_eq!(found, listed[2]);
    assert_eq!(store.find(Path::new("a/none")).unwrap(), None);
    assert_eq!(store.deletion(&listed[0]).unwrap(), Deletion::Final);
}

fn reads_objects_of_every_size(fixture: &dyn Fixture) {
    let sizes = [0, 1, 65_521, 262_144, 262_145, 16 << 20, (33 << 20) + 5];
    for (seed, size) in sizes.into_iter().enumerate() {
        fixture.put(&format!("r/{seed}"), &content(seed, size));
    }
    let store = fixture.store("r");
    let listed = list_all(store.as_ref());
    assert_eq!(listed.len(), sizes.len());
    for (seed, object) in listed.iter().enumerate() {
        assert_eq!(object.identity.size, sizes[seed] as u64);
        assert!(read_all(store.as_ref(), object).unwrap() == content(seed, sizes[seed]), "{seed}");
        let mut pieces = 0;
        let enough: Sink<'_> = &mut |_| {
            pieces += 1;
            ControlFlow::Break(())
        };
        store.read(object, &mut Vec::new(), enough).unwrap();
        assert_eq!(pieces, usize::from(sizes[seed] > 0));
    }
}

fn notices_what_changed_since_the_listing(fixture: &dyn Fixture) {
    for (key, length) in
        [("c/grown", 100_000), ("c/rewritten", 100_000), ("c/shrunk", 40 << 20), ("c/vanished", 10)]
    {
        fixture.put(key, &content(1, length));
    }
    let store = fixture.store("c");
    let listed = list_all(store.as_ref());
    fixture.put("c/grown", &content(1, 100_001));
    fixture.put("c/rewritten", &content(2, 100_000));
    fixture.put("c/shrunk", &content(1, 39 << 20));
    fixture.take("c/vanished");
    let outcome = |index: usize| read_all(store.as_ref(), &listed[index]);
    assert!(matches!(outcome(0), Err(StoreError::Changed { .. })), "{}", fixture.name());
    assert!(matches!(outcome(2), Err(StoreError::Changed { .. })), "{}", fixture.name());
    assert_eq!(matches!(outcome(1), Err(StoreError::Changed { .. })), fixture.tells_versions());
    assert!(matches!(outcome(3), Err(StoreError::Read { .. })), "{}", fixture.name());
}

fn gives_the_same_bytes_whatever_was_planned(fixture: &dyn Fixture) {
    for seed in 0..40 {
        fixture.put(&format!("p/{seed:02}"), &content(seed, 100_000 + seed * 70_000));
    }
    let store = fixture.store("p");
    let listed = list_all(store.as_ref());
    let expect = |index: usize| {
        let bytes = read_all(store.as_ref(), &listed[index]).unwrap();
        assert!(bytes == content(index, 100_000 + index * 70_000), "{index}");
    };
    let all: Vec<&Object> = listed.iter().collect();
    store.prefetch(&all);
    (0..40).for_each(expect);
    // Backwards, so that nearly nothing is where the plan has it; twice; and with another plan half-way.
    store.prefetch(&all);
    (0..40).rev().for_each(expect);
    (10..20).for_each(expect);
    store.prefetch(&all[20..]);
    (15..40).for_each(expect);
    store.prefetch(&all);
    store.prefetch(&[]);
    (0..5).for_each(expect);
    // Several readers at once, as a scan has.
    store.prefetch(&all);
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if index >= 40 {
                        return;
                    }
                    expect(index);
                }
            });
        }
    });
}

fn removes_only_what_is_as_it_was(fixture: &dyn Fixture) {
    for key in ["d/1", "d/2", "d/3", "d/4", "d/sub/5"] {
        fixture.put(key, b"some bytes");
    }
    let store = fixture.store("d");
    let listed = list_all(store.as_ref());
    fixture.put("d/2", b"other bytes, and more of them");
    fixture.take("d/3");
    let wanted: Vec<&Object> = [0, 1, 2, 4].into_iter().map(|index| &listed[index]).collect();
    let mut outcomes = Vec::new();
    store.remove(&wanted, &mut |index, outcome| {
        outcomes.push((index, outcome));
        ControlFlow::Continue(())
    });
    assert_eq!(outcomes.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(outcomes[0].1.is_ok() && outcomes[3].1.is_ok(), "{}", fixture.name());
    assert!(matches!(outcomes[1].1, Err(StoreError::Changed { .. })), "{}", fixture.name());
    assert!(outcomes[2].1.is_err(), "{}", fixture.name());
    assert_eq!(paths(&list_all(store.as_ref())), ["2", "4"]);
}

fn moves_and_never_replaces(fixture: &dyn Fixture) {
    for key in ["t/1", "t/sub/2"] {
        fixture.put(key, b"some bytes");
    }
    let store = fixture.store("t");
    let listed = list_all(store.as_ref());
    let trash = match store.local_root() {
        Some(root) => root.parent().unwrap().join("trash"),
        None => "../trash".into(),
    };
    for object in &listed {
        store.move_to(object, &trash).unwrap();
    }
    assert!(list_all(store.as_ref()).is_empty());
    let moved = list_all(fixture.store("trash").as_ref());
    assert_eq!(paths(&moved), ["1", "sub/2"]);
    assert_eq!(read_all(fixture.store("trash").as_ref(), &moved[0]).unwrap(), b"some bytes");
    fixture.put("t/1", b"once more");
    let again = list_all(store.as_ref());
    let refused = store.move_to(&again[0], &trash);
    let is_told = matches!(refused, Err(StoreError::Remove { .. } | StoreError::Trash { .. }));
    assert!(is_told, "{}: {refused:?}", fixture.name());
    assert_eq!(paths(&list_all(store.as_ref())), ["1"]);
}
