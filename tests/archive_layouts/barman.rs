//! Barman's own archive, compressed and not, and the one that its cloud tools write into a bucket.

use std::fs;
use std::path::Path;

use walproof::archive::remote::Remote;
use walproof::archive::{Archive, BackupKind, Layout, LayoutChoice};

use crate::original::{Original, in_store};
use crate::support::{account, bucket::Bucket, s3::S3, tools};

fn barman(configuration: &Path, arguments: &[&str]) {
    let mut command = account::command(Path::new("/usr/bin/barman"));
    command.arg("-c").arg(configuration).args(arguments);
    tools::run(&mut command);
}

#[test]
fn barman_keeps_the_same_wal_with_and_without_compression() {
    for compression in ["", "gzip", "bzip2"] {
        let original = Original::start();
        let home = original.path("barman");
        account::create_directory(&home, 0o755);
        let socket = original.server.data().parent().unwrap().display().to_string();
        let mut text = format!(
            "[barman]\nbarman_home = {0}\nbarman_user = postgres\nlog_file = {0}/log\nlog_level = INFO\n\
             configuration_files_directory = {0}/none\n[main]\ndescription = main\narchiver = on\n\
             backup_method = postgres\npath_prefix = /usr/lib/postgresql/15/bin\n\
             conninfo = host={socket} user=postgres dbname=postgres\n\
             streaming_conninfo = host={socket} user=postgres dbname=postgres\n",
            home.display()
        );
        if !compression.is_empty() {
            text.push_str("compression = ");
            text.push_str(compression);
        }
        let configuration = original.path("barman.conf");
        fs::write(&configuration, text).unwrap();
        // Its first check makes its directories, and complains that nothing is archived yet.
        let mut check = account::command(Path::new("/usr/bin/barman"));
        check.arg("-c").arg(&configuration).args(["check", "main"]).output().unwrap();
        let incoming = home.join("main/incoming");
        original.archive_also_by(&format!("cp %p {}/%f", incoming.display()));
        original.server.archive_everything();
        barman(&configuration, &["archive-wal", "main"]);
        barman(&configuration, &["backup", "main"]);
        original.work();
        barman(&configuration, &["archive-wal", "main"]);
        forget_before_first_backup(&original);
        for at in ["", "main", "main/wals"] {
            original.expect_same(&home.join(at), Layout::Barman);
        }
        let archive = Archive::open(home.to_str().unwrap(), LayoutChoice::Auto).unwrap();
        let backups = archive.inventory().unwrap().backups;
        assert_eq!(backups.iter().map(|backup| backup.kind).collect::<Vec<_>>(), [BackupKind::BarmanInfo]);
        let info = String::from_utf8(archive.read_object(&backups[0].object, 1 << 20).unwrap()).unwrap();
        assert!(info.contains("status=DONE") || info.contains("status=WAITING_FOR_WALS"), "{info}");
        // The list may be lost, or lie: the folders are believed.
        fs::write(home.join("main/wals/xlog.db"), "000000010000000000000099\t1\t1.0\tNone\n").unwrap();
        original.expect_same(&home, Layout::Barman);
        fs::remove_file(home.join("main/wals/xlog.db")).unwrap();
        original.expect_same(&home, Layout::Barman);
    }
}

/// Barman throws away WAL that is older than its oldest backup; so must the archive that it is compared with.
fn forget_before_first_backup(original: &Original) {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files = original.files();
    let first = files.iter().map(|path| name(path)).find(|name| name.ends_with(".backup")).unwrap();
    for file in files.iter().filter(|path| *name(path) < first[..24]) {
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn barman_cloud_writes_into_a_bucket() {
    let original = Original::start();
    original.work();
    let server = S3::start();
    for (name, option) in [("none", None), ("gz", Some("--gzip")), ("bz2", Some("--bzip2"))] {
        let variables = server.variables();
        let endpoint = &variables.iter().find(|(name, _)| name == "AWS_ENDPOINT").unwrap().1;
        for file in original.files() {
            let mut command = account::command(Path::new("/usr/bin/barman-cloud-wal-archive"));
            command.envs(variables.iter().cloned()).env("AWS_DEFAULT_REGION", "us-east-1");
            command.arg(format!("--endpoint-url={endpoint}")).args(option);
            command.arg(server.url(name)).arg("main").arg(&file);
            tools::run(&mut command);
        }
        for at in ["", "/main", "/main/wals"] {
            let store = Remote::open(&server.url(&format!("{name}{at}")), server.variables()).unwrap();
            original.expect_same_contents(in_store(store, &[]).unwrap(), Layout::BarmanCloud);
        }
        original.expect_same_answers(&server.url(name), &server.variables());
    }
}
