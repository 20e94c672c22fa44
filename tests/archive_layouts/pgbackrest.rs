//! Repositories that pgBackRest itself wrote, with each of its compressions and encrypted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use walproof::archive::directory::Directory;
use walproof::archive::{Archive, BackupKind, Layout, LayoutChoice, ReadError, Scratch};

use crate::original::{Original, contents, in_store, verify};
use crate::support::{account, tools, workload};

const PASSPHRASE: &str = "correct horse = battery staple";

/// A configuration of its own for each repository.
fn configure(original: &Original, name: &str, options: &str) -> PathBuf {
    let repository = original.path(name);
    account::create_directory(&repository, 0o755);
    let data = original.server.data();
    let text = format!(
        "[global]\nrepo1-path={}\nlog-level-file=off\nlock-path={}\nspool-path={}\n{options}\n\
         [main]\npg1-path={}\npg1-socket-path={}\npg1-user=postgres\n",
        repository.display(),
        repository.join("lock").display(),
        repository.join("spool").display(),
        data.display(),
        data.parent().unwrap().display(),
    );
    let file = original.path(&format!("{name}.conf"));
    fs::write(&file, text).unwrap();
    file
}

fn pgbackrest(configuration: &Path, arguments: &[&str]) {
    let mut command = account::command(Path::new("/usr/bin/pgbackrest"));
    command.arg(format!("--config={}", configuration.display()));
    command.arg("--stanza=main").args(arguments);
    tools::run(&mut command);
}

#[test]
fn repositories_of_every_compression_hold_the_same_wal() {
    let original = Original::start();
    original.work();
    for (name, options) in [
        ("none", "compress-type=none"),
        ("gz", "compress-type=gz"),
        ("lz4", "compress-type=lz4"),
        ("zst", "compress-type=zst"),
        ("bz2", "compress-type=bz2"),
    ] {
        let configuration = configure(&original, name, options);
        pgbackrest(&configuration, &["stanza-create"]);
        for file in original.files() {
            pgbackrest(&configuration, &["archive-push", file.to_str().unwrap()]);
        }
        original.expect_same(&original.path(name), Layout::PgBackRest);
    }
    wrong_sha1_is_told(&original.path("zst"));
}

/// After `stanza-upgrade` a repository holds two clusters whose segments have the same names.
#[test]
fn an_upgraded_stanza_keeps_its_clusters_apart() {
    let (old, new) = (Original::start_version(14), Original::start());
    old.work();
    new.work();
    let configuration = configure(&old, "upgraded", "compress-type=gz");
    pgbackrest(&configuration, &["stanza-create"]);
    for file in old.files() {
        pgbackrest(&configuration, &["archive-push", file.to_str().unwrap()]);
    }
    let text = fs::read_to_string(&configuration).unwrap();
    let folder = |original: &Original| original.server.data().parent().unwrap().display().to_string();
    fs::write(&configuration, text.replace(&folder(&old), &folder(&new))).unwrap();
    pgbackrest(&configuration, &["stanza-upgrade"]);
    for file in new.files() {
        pgbackrest(&configuration, &["archive-push", file.to_str().unwrap()]);
    }
    let repository = old.path("upgraded");
    let archive = Archive::open(repository.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let inventory = archive.inventory().unwrap();
    assert_eq!(inventory.groups, ["14-1", "15-2"]);
    for (group, original) in [("14-1", &old), ("15-2", &new)] {
        original.expect_same_contents(archive.part(group), Layout::PgBackRest);
    }
    new.expect_same_contents(archive, Layout::PgBackRest);
    // Each archive id is an archive of its own, and together they are no damage.
    new.expect_same(&repository.join("archive/main/15-2"), Layout::PgBackRest);
    let (whole, newest) = (verify(&repository), verify(new.server.archive()));
    assert_eq!(whole["verdict"], "ok", "{whole:#}");
    assert_eq!(whole["system_identifier"], newest["system_identifier"]);
    assert_eq!(whole["timelines"], newest["timelines"]);
}

/// A segment whose content is not what its name says, though it decompresses well.
fn wrong_sha1_is_told(repository: &Path) {
    let archive = Archive::open(repository.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let inventory = archive.inventory().unwrap();
    let victim = inventory.entries.iter().find(|entry| entry.stored_name().contains(".zst")).unwrap();
    let path = repository.join(&victim.object.path);
    let mut plain = zstd::decode_all(fs::File::open(&path).unwrap()).unwrap();
    plain[100_000] ^= 1;
    fs::write(&path, zstd::encode_all(plain.as_slice(), 3).unwrap()).unwrap();
    let inventory = archive.inventory().unwrap();
    let victim = inventory.entries.iter().find(|entry| entry.name == victim.name).unwrap();
    let read = archive.read(victim, &mut Scratch::default(), &mut |_| std::ops::ControlFlow::Continue(()));
    assert!(matches!(read, Err(ReadError::Checksum { .. })), "{read:?}");
}

#[test]
fn the_server_archives_and_a_backup_is_listed() {
    let original = Original::start();
    let configuration = configure(&original, "live", "compress-type=lz4");
    pgbackrest(&configuration, &["stanza-create"]);
    let push = format!("pgbackrest --config={} --stanza=main archive-push %p", configuration.display());
    original.archive_also_by(&push);
    original.server.archive_everything();
    pgbackrest(&configuration, &["backup", "--type=full", "--start-fast"]);
    original.work();
    let repository = original.path("live");
    let archive = Archive::open(repository.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let inventory = archive.inventory().unwrap();
    assert_eq!(inventory.groups, ["15-1"]);
    let kinds: Vec<BackupKind> = inventory.backups.iter().map(|backup| backup.kind).collect();
    assert_eq!(kinds, [BackupKind::PgBackRestInfo]);
    let info = archive.read_object(&inventory.backups[0].object, 1 << 20).unwrap();
    assert!(String::from_utf8(info).unwrap().contains("\"backup-type\":\"full\""));
    // Segments from before the stanza's first push are in the plain archive alone.
    let (found, expected) = (contents(&archive), original.contents());
    assert!(found.len() > 3);
    assert!(found.iter().all(|(name, bytes)| expected.get(name) == Some(bytes)));
    assert!(found.keys().any(|name| name.contains(".backup")));
}

#[test]
fn an_encrypted_repository_opens_with_its_passphrase_alone() {
    let original = Original::start();
    original.work();
    let options = format!("compress-type=zst\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass={PASSPHRASE}");
    let configuration = configure(&original, "secret", &options);
    pgbackrest(&configuration, &["stanza-create"]);
    for file in original.files() {
        pgbackrest(&configuration, &["archive-push", file.to_str().unwrap()]);
    }
    pgbackrest(&configuration, &["backup", "--type=full", "--no-online", "--force"]);
    let repository = original.path("secret");
    let store = || Directory::open(&repository).unwrap();
    let archive = in_store(store(), &["another", PASSPHRASE]).unwrap();
    let info = archive.read_object(&archive.inventory().unwrap().backups[0].object, 1 << 20).unwrap();
    assert!(info.starts_with(b"["));
    original.expect_same_contents(archive, Layout::PgBackRest);

    for passphrases in [&[][..], &["wrong"]] {
        let closed = in_store(store(), passphrases).unwrap();
        let inventory = closed.inventory().unwrap();
        for entry in &inventory.entries {
            let read = closed.read(entry, &mut Scratch::default(), &mut |_| panic!("no byte is known"));
            let text = read.unwrap_err().to_string();
            assert!(text.contains("encrypted") && text.contains("PGBACKREST_REPO1_CIPHER_PASS"), "{text}");
            assert!(!text.contains(PASSPHRASE), "{text}");
        }
    }
    // The program itself takes it from the environment, or from the configuration.
    for (variable, value) in
        [("PGBACKREST_REPO1_CIPHER_PASS", PASSPHRASE), ("PGBACKREST_CONFIG", configuration.to_str().unwrap())]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
        command.arg("verify").arg(&repository).args(["--format", "json"]).env(variable, value);
        let output = tools::run(&mut command);
        assert!(String::from_utf8(output.stdout).unwrap().contains("\"verdict\""));
    }
    let passphrase = ("PGBACKREST_REPO1_CIPHER_PASS".to_owned(), PASSPHRASE.to_owned());
    original.expect_same_answers(repository.to_str().unwrap(), &[passphrase]);
}

/// pgBackRest keeps more backups than it keeps WAL for: of the older ones each keeps its own WAL alone. What is missing
/// between them is no loss; what is missing anywhere else is one.
#[test]
fn gaps_that_its_own_expiry_leaves_are_no_loss() {
    let original = Original::start();
    let options = "compress-type=none\nrepo1-retention-full=3\nrepo1-retention-archive=1";
    let configuration = configure(&original, "expired", options);
    pgbackrest(&configuration, &["stanza-create"]);
    let push = format!("pgbackrest --config={} --stanza=main archive-push %p", configuration.display());
    original.archive_also_by(&push);
    workload::shop(&original.server);
    original.server.archive_everything();
    for seed in 0..3 {
        pgbackrest(&configuration, &["backup", "--type=full", "--start-fast"]);
        for _ in 0..3 {
            workload::trade(&original.server, seed, 50);
            original.server.archive_everything();
        }
    }
    let repository = original.path("expired");
    let answer = verify(&repository);
    assert_eq!((&answer["verdict"], &answer["segments"]["missing"]), (&"ok".into(), &0.into()), "{answer:#}");
    let gaps = |answer: &serde_json::Value| -> Vec<serde_json::Value> {
        let findings = answer["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["code"] == "segment-missing").cloned().collect()
    };
    // Between the first backup and the second, and between that and the third.
    let expected = gaps(&answer);
    assert_eq!(expected.len(), 2, "{answer:#}");
    assert!(expected.iter().all(|gap| gap["severity"] == "info"), "{answer:#}");
    assert!(expected.iter().all(|gap| gap["message"].as_str().unwrap().contains("retention keeps backup")));

    let archive = Archive::open(repository.to_str().unwrap(), LayoutChoice::Auto).unwrap();
    let segments: Vec<PathBuf> = archive
        .inventory()
        .unwrap()
        .entries
        .iter()
        .filter(|entry| entry.name.to_string().len() == 24)
        .map(|entry| repository.join(&entry.object.path))
        .collect();
    // One that follows an island is no longer where that tool begins again; one of the last backup's is a hole.
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        u64::from_str_radix(&name[16..24], 16).unwrap()
    };
    let behind_gap =
        segments.windows(2).rposition(|pair| number(&pair[1]) > number(&pair[0]) + 1).unwrap() + 1;
    for victim in [behind_gap, behind_gap + 2] {
        let (path, aside) = (&segments[victim], original.path("aside"));
        fs::rename(path, &aside).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_walproof"));
        let output = command.arg("verify").arg(&repository).args(["--format", "json"]).output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(gaps(&answer).iter().any(|gap| gap["severity"] == "error"), "{}: {answer:#}", path.display());
        fs::rename(&aside, path).unwrap();
    }
}
