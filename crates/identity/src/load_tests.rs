use std::io::Write;

use super::*;

const ACCOUNT: &str = "1234567890123456";

fn env(pairs: &[(&str, &str)]) -> Result<Roots, LoadError> {
    let map: HashMap<String, String> =
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Roots::from_env(|name| map.get(name).cloned())
}

fn key_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn two_keys_of_one_account_come_from_the_environment() {
    let roots = env(&[
        ("VECTORBUCKET_ACCOUNT_ID", ACCOUNT),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_ID", "old"),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", "secret-one"),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_ID_2", "new"),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET_2", "secret-two"),
    ])
    .unwrap();
    assert_eq!(roots.lookup("old").unwrap().secret.expose(), "secret-one");
    assert_eq!(roots.lookup("new").unwrap().account.as_str(), ACCOUNT);
    assert!(roots.lookup("other").is_none());
    assert!(roots.has_account(&AccountId::parse(ACCOUNT).unwrap()));
    assert_eq!(roots.iter().count(), 2);
}

#[test]
fn nothing_configured_is_empty() {
    assert!(env(&[]).unwrap().is_empty());
    assert!(env(&[("VECTORBUCKET_ROOT_ACCESS_KEY_ID", "")]).unwrap().is_empty());
}

#[test]
fn half_configured_is_refused() {
    let cases: &[&[(&str, &str)]] = &[
        &[("VECTORBUCKET_ROOT_ACCESS_KEY_ID", "k")],
        &[("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", "secret-one")],
        &[
            ("VECTORBUCKET_ROOT_ACCESS_KEY_ID", "k"),
            ("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", "secret-one"),
        ],
        &[
            ("VECTORBUCKET_ACCOUNT_ID", "12"),
            ("VECTORBUCKET_ROOT_ACCESS_KEY_ID", "k"),
            ("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", "secret-one"),
        ],
    ];
    for case in cases {
        let error = env(case).unwrap_err();
        assert!(matches!(error, LoadError::Setting(_)), "{error}");
        assert!(!error.to_string().contains("secret-one"), "{error}");
    }
}

#[test]
fn a_file_holds_several_accounts() {
    let file = key_file(
        "[[account]]\nid = \"1234567890123456\"\nkeys = [{ id = \"a\", secret = \"secret-aa\" }]\n\
         [[account]]\nid = \"6543210987654321\"\nkeys = [{ id = \"b\", secret = \"secret-bb\" }]\n",
    );
    let roots = Roots::from_file(file.path()).unwrap();
    assert_eq!(roots.lookup("b").unwrap().account.as_str(), "6543210987654321");
    let path = file.path().to_str().unwrap();
    let both = env(&[
        ("VECTORBUCKET_ROOT_CREDENTIALS_FILE", path),
        ("VECTORBUCKET_ACCOUNT_ID", ACCOUNT),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_ID", "c"),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", "secret-cc"),
    ])
    .unwrap();
    assert_eq!(both.iter().count(), 3);
}

#[test]
fn repeated_ids_and_third_keys_are_refused() {
    let twice = "[[account]]\nid = \"1234567890123456\"\nkeys = [{ id = \"a\", secret = \"secret-aa\" }, \
                 { id = \"a\", secret = \"secret-ab\" }]";
    assert!(Roots::from_toml(twice).unwrap_err().to_string().contains("twice"));
    let three = "[[account]]\nid = \"1234567890123456\"\nkeys = [{ id = \"a\", secret = \"secret-aa\" }, \
                 { id = \"b\", secret = \"secret-ab\" }, { id = \"c\", secret = \"secret-ac\" }]";
    assert!(Roots::from_toml(three).unwrap_err().to_string().contains("more than two"));
}

#[test]
fn malformed_files_never_show_their_secrets() {
    let bad = [
        "secret = topsecret",
        "[[account]]\nid = \"1\"\nkeys = [{ id = \"a\", secrt = \"topsecret\" }]",
        "[[account]]\nid = \"1234567890123456\"\nkeys = [{ id = \"a\", secret = \"topsecret with space\" }]",
    ];
    for text in bad {
        let error = Roots::from_toml(text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("topsecret"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn exposed_files_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let file = key_file("");
    for mode in [0o644, 0o640, 0o620, 0o601] {
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Roots::from_file(file.path()), Err(LoadError::Exposed(_))), "{mode:o}");
    }
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(Roots::from_file(file.path()).unwrap().is_empty());
    assert!(matches!(Roots::from_file(Path::new("/nonexistent/x")), Err(LoadError::File(..))));
}

#[test]
fn a_secret_can_come_from_its_own_file() {
    let file = key_file("secret-from-file\n");
    let pairs = [
        ("VECTORBUCKET_ACCOUNT_ID", ACCOUNT),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_ID", "k"),
        ("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET_FILE", file.path().to_str().unwrap()),
    ];
    assert_eq!(env(&pairs).unwrap().lookup("k").unwrap().secret.expose(), "secret-from-file");
    let both = [&pairs[..], &[("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", "secret-one")]].concat();
    assert!(env(&both).is_err());
}
