//! WAL-G's archives encrypted with OpenPGP: real WAL, real compressors, and messages and keys of the real gpg.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use walproof::archive::directory::Directory;
use walproof::archive::{Archive, LayoutChoice, ReadError, Secrets};

use crate::support::tools;

const RECIPIENT: &str = "wal@example.org";

/// gpg with a key ring of its own.
struct Gpg {
    home: TempDir,
    passphrase: &'static str,
}

impl Gpg {
    /// Makes a key: "default" is RSA, "future-default" of elliptic curves.
    fn with_key(algorithm: &str, passphrase: &'static str) -> Self {
        // The agent's socket lies here, and its path may not be long.
        let home = tempfile::Builder::new().prefix("walproof-gpg-").tempdir_in("/tmp").unwrap();
        let made = Self { home, passphrase };
        tools::run(made.command().args(["--quick-generate-key", RECIPIENT, algorithm, "default", "never"]));
        made
    }

    fn command(&self) -> Command {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--trust-model", "always"]);
        gpg.args(["--passphrase", self.passphrase, "--homedir"]).arg(self.home.path());
        gpg
    }

    fn private_key(&self, armour: bool) -> Vec<u8> {
        let mut export = self.command();
        export.args(armour.then_some("--armor")).arg("--export-secret-keys");
        tools::run(&mut export).stdout
    }

    fn encrypt(&self, options: &[&str], from: &Path, to: &Path) {
        let mut encrypt = self.command();
        encrypt.args(options).args(["--encrypt", "--recipient", RECIPIENT, "--output"]).arg(to).arg(from);
        tools::run(&mut encrypt);
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let mut stop = Command::new("gpgconf");
        let _ = stop.arg("--homedir").arg(self.home.path()).args(["--kill", "gpg-agent"]).status();
    }
}

fn demo() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/demo");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file() && path.file_name().unwrap().len() >= 16);
    files.sort();
    files
}

/// The demo archive as WAL-G stores it: compressed by `program`, then encrypted.
fn write_archive(gpg: &Gpg, root: &Path, suffix: &str, program: &str, options: &[&str]) {
    let wal = root.join("wal_005");
    fs::create_dir_all(&wal).unwrap();
    for file in demo() {
        let packed = root.join("packed");
        fs::write(&packed, tools::run(Command::new(program).arg("-c").arg(&file)).stdout).unwrap();
        let name = format!("{}.{suffix}", file.file_name().unwrap().to_str().unwrap());
        gpg.encrypt(options, &packed, &wal.join(name));
        fs::remove_file(packed).unwrap();
    }
}

fn read_all(root: &Path, secrets: Secrets) -> Vec<Result<Vec<u8>, ReadError>> {
    let store = Box::new(Directory::open(root).unwrap());
    let archive = Archive::of_store("test", store, LayoutChoice::Auto, secrets).unwrap();
    let inventory = archive.inventory().unwrap();
    inventory.entries.iter().map(|entry| archive.read_small(entry, 64 << 20)).collect()
}

#[test]
fn what_gpg_encrypted_opens_with_the_private_key_alone() {
    let expected: Vec<Vec<u8>> = demo().iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(expected.len() > 5);
    for (algorithm, passphrase, armour, suffix, program, options) in [
        ("default", "", true, "lz4", "lz4", &[][..]),
        ("future-default", "correct horse", false, "br", "brotli", &["--compress-algo", "none"]),
    ] {
        let gpg = Gpg::with_key(algorithm, passphrase);
        let root = tempfile::tempdir().unwrap();
        write_archive(&gpg, root.path(), suffix, program, options);
        let key = gpg.private_key(armour);
        let secrets = Secrets::default().with_pgp_key(&key, Some(passphrase));
        let debug = format!("{secrets:?}");
        assert!(!debug.contains("correct") && debug.len() < 200, "{debug}");
        let mut found: Vec<Vec<u8>> =
            read_all(root.path(), secrets).into_iter().map(Result::unwrap).collect();
        found.sort();
        let mut sorted = expected.clone();
        sorted.sort();
        assert!(found == sorted, "{algorithm}");
        expect_refusals(&key, passphrase, root.path());
        expect_verified(&key, passphrase, root.path());
    }
}

/// No key, another's key, a wrong passphrase and damaged messages are told, and give no WAL.
fn expect_refusals(key: &[u8], passphrase: &str, root: &Path) {
    let told = |secrets: Secrets| match read_all(root, secrets).swap_remove(0) {
        Err(error @ ReadError::Undecodable { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let refused = told(Secrets::default());
    assert!(refused.contains("private key is needed, in WALG_PGP_KEY"), "{refused}");
    let stranger = Gpg::with_key("default", "");
    let refused = told(Secrets::default().with_pgp_key(&stranger.private_key(true), None));
    assert!(refused.contains("the key in WALG_PGP_KEY does not open it"), "{refused}");
    if !passphrase.is_empty() {
        let refused = told(Secrets::default().with_pgp_key(key, Some("wrong horse")));
        assert!(refused.contains("WALG_PGP_KEY_PASSPHRASE") && !refused.contains("horse"), "{refused}");
    }
    let refused = told(Secrets::default().with_pgp_key(b"nonsense", None));
    assert!(refused.contains("cannot be used"), "{refused}");
    let file = fs::read_dir(root.join("wal_005")).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    let whole = fs::read(&file).unwrap();
    let middle = whole.len() / 2;
    let mut flipped = whole.clone();
    flipped[middle] ^= 1;
    for damaged in [&whole[..middle], &whole[..whole.len() - 1], &flipped] {
        fs::write(&file, damaged).unwrap();
        told(Secrets::default().with_pgp_key(key, Some(passphrase)));
    }
    fs::write(&file, whole).unwrap();
}

/// The program finds the key where WAL-G would.
fn expect_verified(key: &[u8], passphrase: &str, root: &Path) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), key).unwrap();
    let verify = |variables: &[(&str, &str)]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_walproof"));
        program.arg("verify").arg(root).args(["--format", "json", "--no-catalog"]);
        let output = program.envs(variables.iter().copied()).output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        (answer["verdict"].as_str().unwrap().to_owned(), output.status.code().unwrap())
    };
    let path = file.path().to_str().unwrap();
    let good = ("ok".to_owned(), 0);
    let passphrase = ("WALG_PGP_KEY_PASSPHRASE", passphrase);
    assert_eq!(verify(&[("WALG_PGP_KEY_PATH", path), passphrase]), good);
    if let Ok(text) = std::str::from_utf8(key) {
        assert_eq!(verify(&[("WALG_PGP_KEY", &text.replace('\n', "\\n")), passphrase]), good);
    }
    assert_eq!(verify(&[]).1, 1);
}
