//! From a URL's scheme and bucket, and the environment, to a client.
//!
//! | URL | read from the environment |
//! |---|---|
//! | `s3://bucket/prefix` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_ENDPOINT`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_S3_FORCE_PATH_STYLE`, `AWS_PROFILE` and its files, `AWS_CA_BUNDLE`, `WALG_S3_CA_CERT_FILE`, web identity, container and instance roles |
//! | `gs://bucket/prefix` | `GOOGLE_APPLICATION_CREDENTIALS`, `GOOGLE_SERVICE_ACCOUNT` … |
//! | `az://container/prefix`, `azure://…` | `AZURE_STORAGE_ACCOUNT_NAME` or `AZURE_STORAGE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_KEY` or `AZURE_STORAGE_ACCESS_KEY`, `AZURE_STORAGE_SAS_TOKEN` … |

use super::complaint;
use super::credentials::Profile;
use super::service::Backend;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use std::collections::HashMap;
use std::fs;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What S3's own servers take a request without a region for.
const DEFAULT_REGION: &str = "us-east-1";

/// Environment variables, the process's own or a caller's. Never printed: some are secrets.
pub(super) struct Variables(HashMap<String, String>);

impl Variables {
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A variable that says yes or no.
    fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// Variables with a client's `prefix` whose names are keys of its configuration.
    fn keys<K: FromStr>(&self, prefix: &str) -> Vec<(K, &str)> {
        let ours = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.as_str())))
            .collect()
    }
}

/// A client for `bucket`, or what is wrong in one clause.
pub(super) fn connect(scheme: &str, bucket: &str, variables: &Variables) -> Result<Arc<dyn Backend>, String> {
    if bucket.is_empty() {
        return Err("names no bucket".to_owned());
    }
    // The TLS library wants one of its cryptography providers named; another part of the program may have.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match scheme {
        "s3" | "s3a" => s3(bucket, variables),
        "gs" | "gcs" => google(bucket, variables),
        "az" | "azure" | "abfs" | "abfss" => azure(bucket, variables),
        _ => Err("is no URL of a kind known here: file, s3, gs or az".to_owned()),
    }
}

fn s3(bucket: &str, variables: &Variables) -> Result<Arc<dyn Backend>, String> {
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_retry(retries());
    for (key, value) in variables.keys::<AmazonS3ConfigKey>("AWS_") {
        if key != AmazonS3ConfigKey::Bucket {
            builder = builder.with_config(key, value);
        }
    }
    let profile = Profile::of(variables);
    if builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_none()
        && let Some((id, secret)) = profile.keys()
    {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        if let Some(token) = profile.value("aws_session_token") {
            builder = builder.with_token(token);
        }
    }
    let has_region = [AmazonS3ConfigKey::Region, AmazonS3ConfigKey::DefaultRegion]
        .iter()
        .any(|key| builder.get_config_value(key).is_some());
    if !has_region {
        builder = builder.with_region(profile.value("region").unwrap_or(DEFAULT_REGION));
    }
    let given = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key))
        .or_else(|| profile.value("endpoint_url").map(str::to_owned));
    let mut options = client_options(variables, &["AWS_CA_BUNDLE", "WALG_S3_CA_CERT_FILE"])?;
    if let Some(endpoint) = given {
        let endpoint = if endpoint.contains("://") { endpoint } else { format!("https://{endpoint}") };
        options = options.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_config(AmazonS3ConfigKey::Endpoint, endpoint);
    }
    if let Some(path_style) = variables.flag("AWS_S3_FORCE_PATH_STYLE") {
        builder = builder.with_virtual_hosted_style_request(!path_style);
    }
    finish(builder.with_client_options(options).build())
}

fn google(bucket: &str, variables: &Variables) -> Result<Arc<dyn Backend>, String> {
    let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket).with_retry(retries());
    for (key, value) in variables.keys::<GoogleConfigKey>("GOOGLE_") {
        if key != GoogleConfigKey::Bucket {
            builder = builder.with_config(key, value);
        }
    }
    finish(builder.with_client_options(client_options(variables, &[])?).build())
}

fn azure(container: &str, variables: &Variables) -> Result<Arc<dyn Backend>, String> {
    let mut builder = MicrosoftAzureBuilder::new().with_container_name(container).with_retry(retries());
    for (key, value) in variables.keys::<AzureConfigKey>("AZURE_") {
        if key != AzureConfigKey::ContainerName {
            builder = builder.with_config(key, value);
        }
    }
    // The names that WAL-G and Azure's own tools use.
    for (key, variable) in [
        (AzureConfigKey::AccountName, "AZURE_STORAGE_ACCOUNT"),
        (AzureConfigKey::AccessKey, "AZURE_STORAGE_ACCESS_KEY"),
        (AzureConfigKey::AccessKey, "AZURE_STORAGE_KEY"),
        (AzureConfigKey::SasKey, "AZURE_STORAGE_SAS_TOKEN"),
    ] {
        if builder.get_config_value(&key).is_none()
            && let Some(value) = variables.get(variable)
        {
            builder = builder.with_config(key, value);
        }
    }
    finish(builder.with_client_options(client_options(variables, &[])?).build())
}

fn finish<B: Backend>(built: object_store::Result<B>) -> Result<Arc<dyn Backend>, String> {
    match built {
        Ok(backend) => Ok(Arc::new(backend)),
        Err(failure) => Err(complaint::text(&failure)),
    }
}

/// How often the client repeats a request that the service refused for the moment (503, 429) or that got no
/// answer, with growing pauses: for about ten seconds, then the archive cannot be looked at.
fn retries() -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(200),
        max_backoff: Duration::from_secs(10),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 6, retry_timeout: Duration::from_mins(1) }
}

/// Time limits, and the certificates in the files that the variables `named` name.
fn client_options(variables: &Variables, named: &[&str]) -> Result<ClientOptions, String> {
    let mut options = ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(10))
        .with_read_timeout(Duration::from_secs(30))
        .with_timeout(Duration::from_mins(10));
    for file in named.iter().filter_map(|name| variables.get(name)) {
        let bundle =
            fs::read(file).map_err(|error| format!("the certificates in {file} cannot be read: {error}"))?;
        let certificates = Certificate::from_pem_bundle(&bundle)
            .map_err(|error| format!("{file} holds no certificates: {}", complaint::text(&error)))?;
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}
