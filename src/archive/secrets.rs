//! Where passphrases and keys are looked for: pgBackRest's environment variables and configuration files, WAL-G's
//! environment variables.

use super::cipher::Passphrase;
use super::open_pgp::PgpKeys;
use super::sodium::StreamKey;
use std::env;
use std::fs;
use std::path::PathBuf;

/// Passphrases that may open an encrypted repository. Never printed.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    pub(super) repository: Vec<Passphrase>,
    pub(super) stream: Option<StreamKey>,
    /// Private keys, or why what was named gives none.
    pub(super) open_pgp: Option<Result<PgpKeys, String>>,
}

impl Secrets {
    /// Passphrases given by a caller.
    pub fn new(passphrases: impl IntoIterator<Item = String>) -> Self {
        let repository = passphrases.into_iter().map(Passphrase::new).collect();
        Self { repository, ..Self::default() }
    }

    /// What `PGBACKREST_REPO1_CIPHER_PASS` (and those of other repositories) and pgBackRest's configuration
    /// say. Each is tried, so it does not matter which repository is which.
    pub fn from_environment() -> Self {
        let is_ours = |name: &str| name.starts_with("PGBACKREST_REPO") && name.ends_with("_CIPHER_PASS");
        let set = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut found: Vec<String> = set.filter(|(name, _)| is_ours(name)).map(|(_, value)| value).collect();
        for file in configuration_files() {
            found.extend(fs::read_to_string(file).iter().flat_map(|text| passphrases_in(text)));
        }
        Self { stream: stream_key(), open_pgp: pgp_keys(), ..Self::new(found) }
    }

    /// The same with WAL-G's key for libsodium, given as it would stand in the environment.
    #[must_use]
    pub fn with_libsodium_key(self, key: &str, transform: Option<&str>) -> Self {
        Self { stream: StreamKey::new(key, transform), ..self }
    }

    /// The same with a private key for OpenPGP, armoured or binary.
    #[must_use]
    pub fn with_pgp_key(self, key: &[u8], passphrase: Option<&str>) -> Self {
        Self { open_pgp: Some(PgpKeys::new(key, passphrase)), ..self }
    }
}

/// What `WALG_LIBSODIUM_KEY` or `WALG_LIBSODIUM_KEY_PATH` says, by `WALG_LIBSODIUM_KEY_TRANSFORM`.
fn stream_key() -> Option<StreamKey> {
    let from_file = || fs::read_to_string(env::var_os("WALG_LIBSODIUM_KEY_PATH")?).ok();
    let text = env::var("WALG_LIBSODIUM_KEY").ok().or_else(from_file)?;
    let transform = env::var("WALG_LIBSODIUM_KEY_TRANSFORM").ok();
    StreamKey::new(&text, transform.as_deref())
}

/// What `WALG_PGP_KEY` or `WALG_PGP_KEY_PATH` says, opened with `WALG_PGP_KEY_PASSPHRASE`.
fn pgp_keys() -> Option<Result<PgpKeys, String>> {
    let passphrase = env::var("WALG_PGP_KEY_PASSPHRASE").ok();
    let keys = |text: &[u8]| PgpKeys::new(text, passphrase.as_deref());
    if let Ok(text) = env::var("WALG_PGP_KEY") {
        return Some(keys(text.as_bytes()));
    }
    let file = env::var_os("WALG_PGP_KEY_PATH")?;
    Some(fs::read(file).map_err(|error| error.to_string()).and_then(|text| keys(&text)))
}

/// pgBackRest's configuration files, in the places where it looks.
fn configuration_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = match env::var_os("PGBACKREST_CONFIG") {
        Some(file) => vec![file.into()],
        None => vec!["/etc/pgbackrest/pgbackrest.conf".into(), "/etc/pgbackrest.conf".into()],
    };
    let included =
        env::var_os("PGBACKREST_CONFIG_INCLUDE_PATH").unwrap_or_else(|| "/etc/pgbackrest/conf.d".into());
    let parts = fs::read_dir(included).into_iter().flatten().flatten().map(|entry| entry.path());
    files.extend(parts.filter(|path| path.extension().is_some_and(|extension| extension == "conf")));
    files
}

/// The values of `repoN-cipher-pass` in a configuration file.
fn passphrases_in(text: &str) -> Vec<String> {
    let value = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let number = key.trim().strip_prefix("repo")?.strip_suffix("-cipher-pass")?;
        number.bytes().all(|b| b.is_ascii_digit()).then(|| value.trim().to_owned())
    };
    text.lines().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_passphrase_of_each_repository() {
        let text = "[global]\nrepo1-path=/var/lib/pgbackrest\nrepo1-cipher-pass=a=b\nrepo2-cipher-pass = c\n#repo3\n";
        assert_eq!(passphrases_in(text), ["a=b", "c"]);
    }
}
