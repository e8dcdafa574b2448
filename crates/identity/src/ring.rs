//! The key ring: the operator's keys that secrets and session tokens are sealed with.
//!
//! ```text
//! VECTORBUCKET_KEY_RING            the ring itself
//! VECTORBUCKET_KEY_RING_FILE       path of a file that holds it, readable by its owner only
//! VECTORBUCKET_KEY_RING_COMMAND    a program and its arguments, split at spaces; prints the ring
//! ```
//!
//! A ring is entries `id:key`, separated by white space or commas; `#` begins a comment. A key is
//! 32 random bytes in base64. The first entry seals; all of them open. To rotate, put a new entry
//! in front on every node, re-seal everything, and take the old entry out.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::LoadError;
use crate::load::{read_secret_file, setting};
use crate::seal::{RingKey, is_ring_key_id};
use crate::source::{printed_by, secret_text};

const KEYS_MAX: usize = 16;

/// The operator's keys. Clones share them; `Debug` shows their ids only.
#[derive(Clone)]
pub struct KeyRing(Arc<[RingKey]>);

impl KeyRing {
    /// Reads the ring that the environment names, if any.
    ///
    /// # Errors
    ///
    /// More than one of the variables is set, or what is said at [`Self::parse`].
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, LoadError> {
        let text = secret_text(variable, "VECTORBUCKET_KEY_RING")?;
        text.map(|text| Self::parse(&text)).transpose()
    }

    /// Reads a ring from a file; refuses one that its group or others can access.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is exposed, or what is said at [`Self::parse`].
    pub fn from_file(path: &Path) -> Result<Self, LoadError> {
        Self::parse(&Zeroizing::new(read_secret_file(path)?))
    }

    /// Runs a program (not a shell) that prints a ring within 30 seconds.
    ///
    /// # Errors
    ///
    /// It cannot be started, fails, takes longer, or prints what [`Self::parse`] refuses.
    pub fn from_command(command: &str) -> Result<Self, LoadError> {
        Self::parse(&printed_by("VECTORBUCKET_KEY_RING", command)?)
    }

    /// Reads a ring.
    ///
    /// # Errors
    ///
    /// No entry, or more than 16; an entry that is malformed (it is named by its place, and never
    /// shown); an id twice.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let entries = lines.flat_map(|line| line.split([' ', '\t', ',', '\r']));
        let entries = entries.filter(|entry| !entry.is_empty());
        let mut keys: Vec<RingKey> = Vec::new();
        for (place, entry) in entries.enumerate() {
            let key = parse_entry(entry).ok_or_else(|| malformed(place))?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(setting(format!("the key ring holds {} twice", key.id)));
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(setting("the key ring is empty")),
            1..=KEYS_MAX => Ok(Self(keys.into())),
            _ => Err(setting(format!("the key ring holds more than {KEYS_MAX} keys"))),
        }
    }

    /// The text of a new entry, for an operator to put in front of the ring. It is a secret.
    ///
    /// `None` if the id is not 1 to 32 characters of `0-9A-Za-z . _ -`.
    pub fn generate_entry(id: &str, random: &dyn crate::Random) -> Option<Zeroizing<String>> {
        let mut key = Zeroizing::new([0; 32]);
        random.fill(&mut *key);
        let entry = || Zeroizing::new(format!("{id}:{}", STANDARD.encode(*key)));
        is_ring_key_id(id.as_bytes()).then(entry)
    }

    /// The id of the key that seals.
    pub fn current(&self) -> &str {
        &self.newest().id
    }

    /// The ids of all keys, the one that seals first.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|key| &*key.id)
    }

    pub(crate) fn newest(&self) -> &RingKey {
        self.0.first().expect("a ring holds a key")
    }

    pub(crate) fn keys(&self) -> &[RingKey] {
        &self.0
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyRing").field(&self.ids().collect::<Vec<_>>()).finish()
    }
}

fn malformed(place: usize) -> LoadError {
    let place = place + 1;
    setting(format!("entry {place} of the key ring is not an id, a colon and 32 bytes in base64"))
}

fn parse_entry(entry: &str) -> Option<RingKey> {
    let (id, key) = entry.split_once(':')?;
    let key = Zeroizing::new(STANDARD.decode(key).ok()?);
    let key: &[u8; 32] = key.as_slice().try_into().ok()?;
    is_ring_key_id(id.as_bytes()).then(|| RingKey::new(id, key))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn env(pairs: &[(&str, &str)]) -> Result<Option<KeyRing>, LoadError> {
        KeyRing::from_env(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn rings_come_from_one_place() {
        assert!(env(&[]).unwrap().is_none());
        let entry = format!("one:{KEY}");
        let inline = env(&[("VECTORBUCKET_KEY_RING", &entry)]).unwrap().unwrap();
        assert_eq!(inline.current(), "one");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "# the newest first\ntwo:{KEY}  # since May\r\n{entry}").unwrap();
        let path = file.path().to_str().unwrap();
        let from_file = env(&[("VECTORBUCKET_KEY_RING_FILE", path)]).unwrap().unwrap();
        assert_eq!(from_file.ids().collect::<Vec<_>>(), ["two", "one"]);
        assert!(
            env(&[("VECTORBUCKET_KEY_RING", &entry), ("VECTORBUCKET_KEY_RING_FILE", path)])
                .is_err()
        );
    }

    #[cfg(unix)]
    #[test]
    fn exposed_files_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(KeyRing::from_file(file.path()), Err(LoadError::Exposed(_))));
    }

    #[cfg(unix)]
    #[test]
    fn commands_print_rings() {
        let ring = KeyRing::from_command(&format!("echo one:{KEY}")).unwrap();
        assert_eq!(ring.current(), "one");
        for bad in ["", "false", "/nonexistent/program", "echo nothing"] {
            assert!(KeyRing::from_command(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn malformed_rings_are_refused_and_never_shown() {
        let twice = format!("a:{KEY},a:{KEY}");
        let many = (0..17).map(|n| format!("k{n}:{KEY} ")).collect::<String>();
        let short = "a:AAECAwQFBgcICQoLDA0ODw==";
        let cases = ["", "# nothing", KEY, short, &format!("a/b:{KEY}"), &twice, &many, &KEY[1..]];
        for case in cases {
            let error = KeyRing::parse(case).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("AAECAw") && !shown.contains("Dw=="), "{shown}");
        }
    }

    #[test]
    fn generated_entries_are_read_and_debug_shows_ids_only() {
        let entry = KeyRing::generate_entry("2026-11", &crate::SystemRandom).unwrap();
        let ring = KeyRing::parse(&entry).unwrap();
        assert_eq!(format!("{ring:?}"), "KeyRing([\"2026-11\"])");
        assert!(KeyRing::generate_entry("a b", &crate::SystemRandom).is_none());
    }
}
