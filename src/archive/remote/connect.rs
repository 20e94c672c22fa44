//! From a URL's scheme and bucket, and the environment, to a client.
//!
//! | URL | read from the environment |
//! |---|---|
//! | `s3://bucket/prefix` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_DEFAULT_REGION`, `AWS_ENDPOINT`, `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_S3_FORCE_PATH_STYLE`, `AWS_PROFILE` and its files, `AWS_CA_BUNDLE`, `WALG_S3_CA_CERT_FILE`, web identity, container and instance roles |
//! | `gs://bucket/prefix` | `GOOGLE_APPLICATION_CREDENTIALS` (or what `gcloud auth application-default login` left), `GOOGLE_SERVICE_ACCOUNT`, `GOOGLE_BASE_URL`, `STORAGE_EMULATOR_HOST` … |
//! | `az://container/prefix`, `azure://…` | `AZURE_STORAGE_CONNECTION_STRING`, `AZURE_STORAGE_ACCOUNT_NAME` or `AZURE_STORAGE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_ACCESS_KEY` or `AZURE_STORAGE_KEY`, `AZURE_STORAGE_SAS_TOKEN`, `AZURE_ENDPOINT` … |

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

/// Whose protocol a store speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Protocol {
    S3,
    Google,
    Azure,
}

impl Protocol {
    /// The service that a URL's scheme names.
    pub(super) fn of_scheme(scheme: &str) -> Result<Self, String> {
        match scheme {
            "s3" | "s3a" => Ok(Self::S3),
            "gs" | "gcs" => Ok(Self::Google),
            "az" | "azure" | "abfs" | "abfss" => Ok(Self::Azure),
            _ => Err("is no URL of a kind known here: file, s3, gs or az".to_owned()),
        }
    }
}

/// A client for `bucket`, or what is wrong in one clause.
pub(super) fn connect(
    protocol: Protocol,
    bucket: &str,
    variables: &Variables,
) -> Result<Arc<dyn Backend>, String> {
    if bucket.is_empty() {
        return Err("names no bucket".to_owned());
    }
    // The TLS library wants one of its cryptography providers named; another part of the program may have.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match protocol {
        Protocol::S3 => s3(bucket, variables),
        Protocol::Google => google(bucket, variables),
        Protocol::Azure => azure(bucket, variables),
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
        let endpoint = with_scheme(&endpoint, "https");
        options = options.with_allow_http(is_plain_http(&endpoint));
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
    let emulator = variables.get("STORAGE_EMULATOR_HOST").map(|host| with_scheme(host, "http"));
    let mut base = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    if let (None, Some(emulator)) = (&base, emulator) {
        // As Google's own clients do: an emulator asks nobody who he is.
        builder = builder.with_base_url(&emulator).with_skip_signature(true);
        base = Some(emulator);
    }
    let options =
        client_options(variables, &[])?.with_allow_http(base.is_some_and(|base| is_plain_http(&base)));
    finish(builder.with_client_options(options).build())
}

fn azure(container: &str, variables: &Variables) -> Result<Arc<dyn Backend>, String> {
    let mut builder = MicrosoftAzureBuilder::new().with_container_name(container).with_retry(retries());
    for (key, value) in variables.keys::<AzureConfigKey>("AZURE_") {
        if key != AzureConfigKey::ContainerName {
            builder = builder.with_config(key, value);
        }
    }
    let connection = variables.get("AZURE_STORAGE_CONNECTION_STRING").map(ConnectionString::parse);
    for (key, value) in connection.unwrap_or_default().0 {
        builder = builder.with_config(key, value);
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
    let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
    let options = client_options(variables, &[])?
        .with_allow_http(endpoint.is_some_and(|endpoint| is_plain_http(&endpoint)));
    finish(builder.with_client_options(options).build())
}

/// Azure's `AZURE_STORAGE_CONNECTION_STRING`, as keys of the client.
#[derive(Default)]
struct ConnectionString(Vec<(AzureConfigKey, String)>);

impl ConnectionString {
    fn parse(text: &str) -> Self {
        let value = |name: &str| {
            let parts = text.split(';').filter_map(|part| part.split_once('='));
            let mut named = parts.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
            named.next().map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
        };
        let account = value("AccountName");
        let endpoint = value("BlobEndpoint").map(|url| url.trim_end_matches('/').to_owned()).or_else(|| {
            let protocol = value("DefaultEndpointsProtocol").unwrap_or_else(|| "https".to_owned());
            Some(format!("{protocol}://{}.blob.{}", account.as_ref()?, value("EndpointSuffix")?))
        });
        // A service's address begins with the account.
        let of_endpoint = || {
            let host = endpoint.as_ref()?.split_once("://")?.1;
            host.split_once(".blob.").map(|(account, _)| account.to_owned())
        };
        let keys = [
            (AzureConfigKey::AccountName, account.clone().or_else(of_endpoint)),
            (AzureConfigKey::AccessKey, value("AccountKey")),
            (AzureConfigKey::SasKey, value("SharedAccessSignature")),
            (AzureConfigKey::Endpoint, endpoint.clone()),
        ];
        Self(keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }
}

fn with_scheme(endpoint: &str, scheme: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("{scheme}://{endpoint}") }
}

/// Whether a user's own endpoint asks for no encryption: only then is that allowed.
fn is_plain_http(endpoint: &str) -> bool {
    endpoint.starts_with("http://")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<(AzureConfigKey, String)> {
        ConnectionString::parse(text).0
    }

    #[test]
    fn a_connection_string_says_account_key_and_endpoint() {
        let usual =
            "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5==;EndpointSuffix=core.windows.net";
        let expected = [
            (AzureConfigKey::AccountName, "a".to_owned()),
            (AzureConfigKey::AccessKey, "a2V5==".to_owned()),
            (AzureConfigKey::Endpoint, "https://a.blob.core.windows.net".to_owned()),
        ];
        assert_eq!(keys(usual), expected);
        let shared = "BlobEndpoint=https://b.blob.core.windows.net/;SharedAccessSignature=sv=2021&sig=x%3D";
        let expected = [
            (AzureConfigKey::AccountName, "b".to_owned()),
            (AzureConfigKey::SasKey, "sv=2021&sig=x%3D".to_owned()),
            (AzureConfigKey::Endpoint, "https://b.blob.core.windows.net".to_owned()),
        ];
        assert_eq!(keys(shared), expected);
        assert_eq!(keys("nonsense;AccountName="), []);
    }
}
