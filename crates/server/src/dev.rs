//! `serve --dev`: credentials made once, and the lines that connect a client.
//!
//! The data folder keeps files that only their owner can read: `dev-credentials.toml`, which the
//! client commands read with `--client-config`, `dev.env`, for a shell, and `dev-key-ring`, so that
//! users and sessions can be tried. A secret is printed to a terminal only; anything else may be a
//! log. The ring is printed nowhere.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use vb_api::oss::signature::{Credentials, SignInput, presign};
use vb_identity::{KeyRing, SystemRandom};

use crate::clock::unix_seconds;
use crate::config::{Config, Secret, StoreUrl};
use crate::failure::Failure;
use crate::server::Handle;

/// The account of a service that was told none.
const ACCOUNT_ID: &str = "1234567890123456";

/// How long the printed URL is valid: the longest the wire allows.
const URL_SECONDS: u32 = 7 * 24 * 3600;

/// What `--dev` made or found.
pub(crate) struct Dev {
    folder: PathBuf,
    credentials: Credentials,
    account: String,
    terminal: bool,
}

/// Fills in root credentials, from the data folder's file or newly made, unless some are set.
///
/// # Errors
/// An address other than loopback; TLS; a folder or file that cannot be written or read.
pub(crate) fn prepare(config: &mut Config) -> Result<Dev, Failure> {
    if !config.listen.ip().is_loopback() || !config.admin_listen.ip().is_loopback() {
        return Err(Failure::Configuration(
            "--dev serves on loopback only; leave --dev out and set credentials to serve others"
                .into(),
        ));
    }
    if config.tls.certificate_file.is_some() {
        return Err(Failure::Configuration(
            "--dev speaks plain HTTP; leave --dev or tls.certificate_file out".into(),
        ));
    }
    let folder = match &config.store {
        StoreUrl::Local(dir) => dir.clone(),
        StoreUrl::Memory | StoreUrl::Remote(_) => PathBuf::from("./data"),
    };
    std::fs::create_dir_all(&folder).map_err(|e| no_folder(&folder, &e))?;
    if config.root_access_key_id.is_empty() {
        let found = read(&folder.join(CREDENTIALS_FILE))?;
        found.unwrap_or_else(generated).fill(config);
    }
    if !has_ring(config) {
        config.key_ring_file = Some(ring_file(&folder)?);
    }
    let credentials = Credentials {
        access_key_id: config.root_access_key_id.clone(),
        secret: config.root_access_key_secret.reveal().to_owned(),
        token: None,
    };
    let account = config.account_id.clone();
    Ok(Dev { folder, credentials, account, terminal: std::io::stdout().is_terminal() })
}

/// Whether the configuration names a key ring.
fn has_ring(config: &Config) -> bool {
    !config.key_ring.reveal().is_empty()
        || config.key_ring_file.is_some()
        || !config.key_ring_command.is_empty()
}

/// The folder's key ring, made if there is none. It is never replaced: what is sealed with it would
/// be lost.
fn ring_file(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join(RING_FILE);
    if !path.exists() {
        let entry = KeyRing::generate_entry("dev", &SystemRandom).expect("the id is by the rule");
        let text = format!("# Made by `vectorbucket serve --dev`.\n{}\n", &**entry);
        write_private(&path, &text)?;
    }
    Ok(path)
}

const RING_FILE: &str = "dev-key-ring";
const CREDENTIALS_FILE: &str = "dev-credentials.toml";
const SHELL_FILE: &str = "dev.env";

/// The credentials of a data folder.
struct Made {
    account: String,
    access_key_id: String,
    secret: String,
}

impl Made {
    fn fill(self, config: &mut Config) {
        if config.account_id.is_empty() {
            config.account_id = self.account;
        }
        config.root_access_key_id = self.access_key_id;
        config.root_access_key_secret = Secret::new(self.secret);
    }
}

fn generated() -> Made {
    let mut random = [0; 39];
    getrandom::fill(&mut random).expect("the operating system has a random source");
    // Ids have letters and digits only; 15 bytes make 20 characters of base64, 24 make 32.
    let id = URL_SAFE_NO_PAD.encode(&random[..15]).replace(['-', '_'], "0");
    let secret = URL_SAFE_NO_PAD.encode(&random[15..]);
    Made { account: ACCOUNT_ID.to_owned(), access_key_id: format!("VBDEV{id}"), secret }
}

/// The credentials file, `None` when there is none yet.
fn read(path: &Path) -> Result<Option<Made>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot("read", path, &e)),
    };
    let table = text.parse::<toml::Table>().ok();
    let field = |name: &str| Some(table.as_ref()?.get(name)?.as_str()?.to_owned());
    let made = || {
        Some(Made {
            account: field("account_id")?,
            access_key_id: field("access_key_id")?,
            secret: field("access_key_secret")?,
        })
    };
    made().map(Some).ok_or_else(|| {
        Failure::Credentials(format!(
            "{} is not what --dev wrote; delete it to have new credentials made",
            path.display()
        ))
    })
}

fn no_folder(folder: &Path, error: &std::io::Error) -> Failure {
    let folder = folder.display();
    Failure::Store(format!(
        "cannot make the folder {folder}: {error}; give one that you may write to with --store"
    ))
}

fn cannot(verb: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::Credentials(format!("cannot {verb} {}: {error}", path.display()))
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let temporary = path.with_extension("new");
    let write = || {
        // A file left over from a crash may have another mode.
        let _ = std::fs::remove_file(&temporary);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().map_err(|e| cannot("write", path, &e))
}

impl Dev {
    /// Writes both files for the address that is served.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(crate) fn publish(&self, config: &Config, handle: &Handle) -> Result<(), Failure> {
        let (url, admin) = (url(handle), handle.admin_addr());
        let Credentials { access_key_id, secret, .. } = &self.credentials;
        let (region, account) = (&config.region, &self.account);
        let toml = format!(
            "# Made by `vectorbucket serve --dev`; read by `--client-config`.\n\
             endpoint = \"{url}\"\nadmin_endpoint = \"http://{admin}\"\nregion = \"{region}\"\naccount_id = \"{account}\"\n\
             access_key_id = \"{access_key_id}\"\naccess_key_secret = \"{secret}\"\n"
        );
        let shell = format!(
            "# Made by `vectorbucket serve --dev`.\nexport VECTORBUCKET_URL={url}\n\
             export VECTORBUCKET_ADMIN_URL=http://{admin}\n\
             export VECTORBUCKET_REGION={region}\nexport VECTORBUCKET_ACCOUNT_ID={account}\n\
             export OSS_ACCESS_KEY_ID={access_key_id}\nexport OSS_ACCESS_KEY_SECRET={secret}\n"
        );
        write_private(&self.folder.join(CREDENTIALS_FILE), &toml)?;
        write_private(&self.folder.join(SHELL_FILE), &shell)
    }

    /// The lines that connect Python, Go, curl and the client commands.
    pub(crate) fn how_to_connect(&self, config: &Config, handle: &Handle) -> String {
        let (url, admin) = (url(handle), handle.admin_addr());
        let port = handle.addr().port();
        let (region, account) = (&config.region, &self.account);
        let shell = self.folder.join(SHELL_FILE);
        let mut text = String::new();
        let _ = write!(
            text,
            r#"
vectorbucket is ready
    data   {url}
    admin  http://{admin}/healthz /readyz /metrics
    store  {store}
    keys   {keys}

In another terminal, first:
{path}    . {shell}

Client commands:
    vectorbucket vectors-api put-vector-bucket --bucket my-vectors
    vectorbucket vectors-api list-vector-buckets
    vectorbucket admin user create alice

curl:
    {curl}

Python (pip install alibabacloud-oss-v2):
    import alibabacloud_oss_v2 as oss, alibabacloud_oss_v2.vectors as vectors
    cfg = oss.config.load_default()
    cfg.credentials_provider = oss.credentials.EnvironmentVariableCredentialsProvider()
    cfg.region, cfg.account_id = "{region}", "{account}"
    cfg.endpoint = "http://localhost:{port}"
    cfg.proxy_host = {{"http": "{url}"}}
    client = vectors.Client(cfg)

Go (go get github.com/aliyun/alibabacloud-oss-go-sdk-v2):
    cfg := oss.LoadDefaultConfig().
        WithCredentialsProvider(credentials.NewEnvironmentVariableCredentialsProvider()).
        WithRegion("{region}").WithAccountId("{account}").
        WithEndpoint("{url}")
    client := vectors.NewVectorsClient(cfg)

"#,
            store = store_name(&config.store),
            keys = self.keys(),
            path = path_line(),
            shell = shell.display(),
            curl = self.curl(&url, region),
        );
        text
    }

    fn keys(&self) -> String {
        let id = &self.credentials.access_key_id;
        let file = self.folder.join(CREDENTIALS_FILE);
        if self.terminal {
            format!("{id} {}  (kept in {})", self.credentials.secret, file.display())
        } else {
            format!("in {}", file.display())
        }
    }

    /// A line that works as printed; the signed URL is a credential, so only a terminal sees it.
    fn curl(&self, url: &str, region: &str) -> String {
        if !self.terminal {
            return "sh -c \"$(vectorbucket sign list-vector-buckets)\"".to_owned();
        }
        let input = SignInput {
            method: "GET",
            region,
            resource: None,
            query: "",
            headers: &HeaderMap::new(),
            additional: &[],
            at: unix_seconds(),
        };
        let query = presign(&self.credentials, &input, URL_SECONDS);
        format!("curl '{url}/?{query}'   # lists buckets, valid for 7 days")
    }
}

/// The line that makes the bare name `vectorbucket` work, unless it works already.
fn path_line() -> String {
    let Ok(own) = std::env::current_exe() else { return String::new() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    match own.parent() {
        Some(folder) if !std::env::split_paths(&path).any(|entry| entry == folder) => {
            format!("    export PATH=\"{}:$PATH\"\n", folder.display())
        }
        _ => String::new(),
    }
}

fn url(handle: &Handle) -> String {
    format!("http://{}", handle.addr())
}

fn store_name(store: &StoreUrl) -> String {
    match store {
        StoreUrl::Local(path) => path.display().to_string(),
        StoreUrl::Memory => "memory: (nothing survives the process)".to_owned(),
        StoreUrl::Remote(options) => options.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn config(folder: &Path) -> Config {
        Config { store: StoreUrl::Local(folder.to_owned()), ..Config::default() }
    }

    #[test]
    fn credentials_are_made_once_and_only_for_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = config(folder.path());
        let dev = prepare(&mut first).unwrap();
        let path = folder.path().join(CREDENTIALS_FILE);
        let text = format!(
            "account_id = '{}'\naccess_key_id = '{}'\naccess_key_secret = '{}'",
            dev.account, dev.credentials.access_key_id, dev.credentials.secret
        );
        write_private(&path, &text).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut second = config(folder.path());
        prepare(&mut second).unwrap();
        assert_eq!(second.root_access_key_id, first.root_access_key_id);
        assert!(second.root_access_key_secret == first.root_access_key_secret);
        assert!(crate::open::credentials(&second).is_ok());
        let ring = folder.path().join(RING_FILE);
        assert_eq!(std::fs::metadata(&ring).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(second.key_ring_file.as_ref(), Some(&ring));
        assert!(crate::open::key_ring(&second).unwrap().is_some());
        std::fs::write(&path, "something else").unwrap();
        let refused = prepare(&mut config(folder.path())).err().map(|f| f.to_string());
        assert!(refused.unwrap().contains("delete it"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_the_stores_failure() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let failure = prepare(&mut config(&file)).err().unwrap();
        assert_eq!(failure.code(), 5);
        assert!(failure.to_string().contains("--store"), "{failure}");
    }

    #[test]
    fn the_programs_folder_is_offered_for_the_path() {
        let folder = std::env::current_exe().unwrap().parent().unwrap().display().to_string();
        // No PATH has a test's folder.
        assert_eq!(path_line(), format!("    export PATH=\"{folder}:$PATH\"\n"));
    }

    #[test]
    fn dev_stays_on_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.insecure_http = true;
        config.listen = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        assert!(matches!(prepare(&mut config), Err(Failure::Configuration(_))));
    }

    #[test]
    fn configured_credentials_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.account_id = "1111222233334444".into();
        config.root_access_key_id = "MINE".into();
        config.root_access_key_secret = Secret::new("mine-secret");
        config.key_ring = Secret::new("mine");
        let dev = prepare(&mut config).unwrap();
        assert!(config.key_ring_file.is_none());
        assert_eq!(
            (dev.account.as_str(), dev.credentials.access_key_id.as_str()),
            ("1111222233334444", "MINE")
        );
    }
}
