//! The profile files of AWS's own tools: `~/.aws/credentials` and `~/.aws/config`.

use super::connect::Variables;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the files say for one profile. Never printed.
#[derive(Default)]
pub(super) struct Profile {
    values: HashMap<String, String>,
}

impl Profile {
    /// Reads the profile that `AWS_PROFILE` names, or `default`. Files that are not there say nothing.
    pub(super) fn of(variables: &Variables) -> Self {
        let named = variables.get("AWS_PROFILE").or_else(|| variables.get("AWS_DEFAULT_PROFILE"));
        let name = named.unwrap_or("default");
        let mut profile = Self::default();
        // The first value that is found counts, so the credentials file goes first.
        let files = [("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")];
        for file in files.into_iter().filter_map(|(variable, usual)| path(variables, variable, usual)) {
            profile.read(&fs::read_to_string(file).unwrap_or_default(), name);
        }
        profile
    }

    /// Key id and secret key, if both are there.
    pub(super) fn keys(&self) -> Option<(&str, &str)> {
        Some((self.value("aws_access_key_id")?, self.value("aws_secret_access_key")?))
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    fn read(&mut self, text: &str, name: &str) {
        let mut is_ours = false;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let section = section.trim();
                is_ours = section.strip_prefix("profile ").map_or(section, str::trim) == name;
            } else if let Some((key, value)) = line.split_once('=')
                && is_ours
                && !line.starts_with(['#', ';'])
            {
                self.values.entry(key.trim().to_ascii_lowercase()).or_insert_with(|| value.trim().to_owned());
            }
        }
    }
}

fn path(variables: &Variables, name: &str, usual: &str) -> Option<PathBuf> {
    match variables.get(name) {
        Some(file) => Some(file.into()),
        None => Some(Path::new(variables.get("HOME")?).join(".aws").join(usual)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_its_own_section_of_either_file() {
        let mut profile = Profile::default();
        profile.read("[other]\naws_access_key_id=A\n[backup]\naws_access_key_id = B\n# x = y\n", "backup");
        profile.read(
            "[profile backup]\nregion=eu-west-1\naws_access_key_id=C\naws_secret_access_key=D=\n",
            "backup",
        );
        assert_eq!(profile.keys(), Some(("B", "D=")));
        assert_eq!(profile.value("region"), Some("eu-west-1"));
        assert_eq!(profile.value("x"), None);
    }
}
